//! Which tokens are only steps on the way to others, and what is left without them?
//!
//! Byte pair encoding that takes merges back (Chizhov, Arnett, Korotkova, Yamshchikov 2024). After a merge of `l` and `r`,
//! made n times, each of them that now stands f times is *removed* if n / (f + n) is above a threshold: it occurred inside
//! the new token and hardly elsewhere. What is left of it is split into the tokens it was made of, as far as those are
//! there. A removed token comes back when a later merge spells it.
//!
//! Text is encoded by the same events, merges and splits, in the order in which they happened. Counts may rise here, so
//! this has a loop of its own beside `queue`: every pair and every token knows its slots, what came up with a count that
//! is wrong goes back. O(log n) for each symbol that a merge ends or a split begins; at most [`MERGES_PER_TOKEN`] merges
//! for each token asked for, as low thresholds can take back what they merge for ever.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_vocab::{AddedToken, TokenId};

use super::inventory::{Inventory, MAX_TOKEN_BYTES, check_vocab_size};
use super::source::WordSource;
use super::symbols::BOUNDARY;
use super::{Merge, Progress, Stage, StageOptions, TrainError, TrainErrorKind};
use crate::spec::{Pretokenizer, TokenizerSpec};

/// A training ends after so many merges for each token that it was asked for.
pub const MERGES_PER_TOKEN: usize = 4;

/// What happened in a training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All occurrences of two tokens side by side became one.
    Merge(Merge),
    /// All occurrences of a token became others.
    Split {
        /// The token.
        token: TokenId,
        /// What it became.
        parts: Vec<TokenId>,
    },
}

/// The tokens that are left, those that are not, and how both came to be. Removed tokens have the last ids.
#[derive(Clone, Debug)]
pub struct Picky {
    /// Texts with the first ids.
    pub special_tokens: Vec<String>,
    /// Token strings by id, empty for special tokens.
    pub tokens: Vec<Box<[u8]>>,
    /// How many tokens are left, special tokens included.
    pub n_kept: usize,
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// By removed token: what it is split into in the end.
    pub splits: Vec<Vec<TokenId>>,
}

const NONE: u32 = u32::MAX;
const COUNT_LIMIT: i64 = 1 << 60;

#[derive(Debug, Default)]
struct Pair {
    left: TokenId,
    right: TokenId,
    count: i64,
    slots: Vec<u32>,
    may_join: bool,
}

/// Count, ids and place of a pair: the largest comes up first.
type Waiting = (i64, Reverse<(TokenId, TokenId)>, u32);

struct Corpus {
    symbols: Vec<TokenId>,
    before: Vec<u32>,
    behind: Vec<u32>,
    word_of: Vec<u32>,
    word_counts: Vec<i64>,
}

struct Training<'a> {
    inventory: Inventory,
    options: &'a StageOptions,
    corpus: Corpus,
    pairs: Vec<Pair>,
    by_parts: FxHashMap<(TokenId, TokenId), u32>,
    queue: BinaryHeap<Waiting>,
    /// By token: how often it stands in the corpus, where it stood, whether it is left, and its first two parts.
    counts: Vec<i64>,
    slots: Vec<Vec<u32>>,
    is_left: Vec<bool>,
    parts: Vec<Option<(TokenId, TokenId)>>,
    events: Vec<Event>,
    begun: Vec<u32>,
}

/// Trains on words by the rules of `options`; `threshold` lies between 0 and 1, and 1 removes nothing.
///
/// # Errors
/// As [`train`](super::train()).
pub fn train_picky(
    special_tokens: &[String],
    words: &dyn WordSource,
    options: &StageOptions,
    threshold: f64,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Picky, TrainError> {
    options.veto.check()?;
    check_vocab_size(options.vocab_size, 256, special_tokens.len())?;
    let inventory = Inventory::new(special_tokens, |_| true)?;
    let corpus = Corpus::new(words, inventory.byte_ids())?;
    let mut training = Training::new(inventory, options, corpus)?;
    let mut n_left = training.inventory.len();
    let min_count = i64::try_from(options.min_frequency).unwrap_or(i64::MAX).max(1);
    let mut n_merges = 0;
    while n_left < options.vocab_size && n_merges < MERGES_PER_TOKEN * options.vocab_size {
        if n_merges % 64 == 0 {
            let (n_done, n_total) = (n_left as u64, options.vocab_size as u64);
            let n_pairs = training.pairs.len() as u64;
            let now =
                Progress { kind: Stage::Merge, stage: 0, n_done, n_total, n_pairs, merges: &[], counts: &[] };
            if progress(now).is_break() {
                return Err(TrainErrorKind::Interrupted.into());
            }
        }
        let Some(at) = training.next_pair().filter(|&at| training.pairs[at as usize].count >= min_count)
        else {
            break;
        };
        n_merges += 1;
        let (left, right, n_merged, is_back) = training.merge(at)?;
        n_left += usize::from(is_back);
        let both = [left, right];
        for token in &both[..1 + usize::from(left != right)] {
            let n_elsewhere = training.counts[*token as usize];
            let share = n_merged as f64 / (n_elsewhere + n_merged) as f64;
            let is_made =
                *token as usize >= special_tokens.len() && training.parts[*token as usize].is_some();
            if is_made && share > threshold {
                training.remove(*token)?;
                n_left -= 1;
            }
        }
    }
    Ok(training.finish(special_tokens))
}

impl Corpus {
    fn new(words: &dyn WordSource, byte_ids: &[TokenId; 256]) -> Result<Self, TrainError> {
        let mut this = Self {
            symbols: Vec::new(),
            before: Vec::new(),
            behind: Vec::new(),
            word_of: Vec::new(),
            word_counts: Vec::new(),
        };
        let mut n_symbols_counted = 0i64;
        words.for_each(&mut |word, count| {
            let first = this.symbols.len() as u64;
            let (n_symbols, limit) = (first + word.len() as u64, u64::from(NONE) - 1);
            if n_symbols > limit {
                return Err(TrainErrorKind::CorpusTooLarge { n_symbols, limit }.into());
            }
            let count = i64::try_from(count).map_err(|_| TrainErrorKind::CountOverflow)?;
            let added = count.checked_mul(word.len() as i64).and_then(|n| n_symbols_counted.checked_add(n));
            n_symbols_counted = added.filter(|&n| n < COUNT_LIMIT).ok_or(TrainErrorKind::CountOverflow)?;
            for (index, &byte) in word.iter().enumerate() {
                let slot = this.symbols.len() as u32;
                this.symbols.push(byte_ids[byte as usize]);
                this.before.push(if index == 0 { NONE } else { slot - 1 });
                this.behind.push(if index + 1 == word.len() { NONE } else { slot + 1 });
                this.word_of.push(this.word_counts.len() as u32);
            }
            this.word_counts.push(count);
            Ok(())
        })?;
        Ok(this)
    }

    fn count(&self, slot: u32) -> i64 {
        self.word_counts[self.word_of[slot as usize] as usize]
    }

    /// The two tokens that begin at a slot.
    fn pair(&self, slot: u32) -> Option<(TokenId, TokenId)> {
        let (symbol, next) = (self.symbols[slot as usize], self.behind[slot as usize]);
        (symbol != BOUNDARY && next != NONE).then(|| (symbol, self.symbols[next as usize]))
    }
}

impl<'a> Training<'a> {
    fn new(inventory: Inventory, options: &'a StageOptions, corpus: Corpus) -> Result<Self, TrainError> {
        let n = inventory.len();
        let mut this = Self {
            inventory,
            options,
            corpus,
            pairs: Vec::new(),
            by_parts: FxHashMap::default(),
            queue: BinaryHeap::new(),
            counts: vec![0; n],
            slots: vec![Vec::new(); n],
            is_left: vec![true; n],
            parts: vec![None; n],
            events: Vec::new(),
            begun: Vec::new(),
        };
        for slot in 0..this.corpus.symbols.len() as u32 {
            this.counts[this.corpus.symbols[slot as usize] as usize] += this.corpus.count(slot);
            this.begin(slot);
        }
        this.queue_begun();
        Ok(this)
    }

    fn may_join(&self, left: TokenId, right: TokenId) -> bool {
        let token = [self.inventory.bytes(left), self.inventory.bytes(right)].concat();
        let is_short = token.len() <= 2 || token.len() < self.options.max_token_length;
        is_short && !self.options.veto.refuses(&token)
    }

    /// A pair begins at `slot`, if there is one.
    fn begin(&mut self, slot: u32) {
        let Some((left, right)) = self.corpus.pair(slot) else { return };
        let at = match self.by_parts.get(&(left, right)) {
            Some(&at) => at,
            None => {
                let at = self.pairs.len() as u32;
                let may_join = self.may_join(left, right);
                self.pairs.push(Pair { left, right, may_join, ..Pair::default() });
                self.by_parts.insert((left, right), at);
                at
            }
        };
        let count = self.corpus.count(slot);
        let pair = &mut self.pairs[at as usize];
        if pair.may_join {
            pair.count += count;
            pair.slots.push(slot);
            self.begun.push(at);
        }
    }

    /// The pair at `slot`, if there is one, ends.
    fn end(&mut self, slot: u32) {
        let count = self.corpus.count(slot);
        if let Some(&at) = self.corpus.pair(slot).and_then(|pair| self.by_parts.get(&pair)) {
            let pair = &mut self.pairs[at as usize];
            pair.count -= if pair.may_join { count } else { 0 };
        }
    }

    fn queue_begun(&mut self) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.sort_unstable();
        begun.dedup();
        self.queue.extend(begun.iter().map(|&at| {
            let pair = &self.pairs[at as usize];
            (pair.count, Reverse((pair.left, pair.right)), at)
        }));
        begun.clear();
        self.begun = begun;
    }

    fn next_pair(&mut self) -> Option<u32> {
        loop {
            let (count, order, at) = self.queue.pop()?;
            let now = self.pairs[at as usize].count;
            if now == count && count > 0 {
                return Some(at);
            }
            if now > 0 && now < count {
                self.queue.push((now, order, at));
            }
        }
    }

    /// Merges a pair; its parts, how often, and whether there is one token more.
    fn merge(&mut self, at: u32) -> Result<(TokenId, TokenId, i64, bool), TrainError> {
        let Pair { left, right, .. } = self.pairs[at as usize];
        let mut slots = std::mem::take(&mut self.pairs[at as usize].slots);
        let token = [self.inventory.bytes(left), self.inventory.bytes(right)].concat();
        let merged = self.inventory.id_or_insert(&token);
        if self.inventory.n_bytes() > MAX_TOKEN_BYTES {
            let (n_bytes, limit) = (self.inventory.n_bytes() as u64, MAX_TOKEN_BYTES as u64);
            let n_merges = self.events.len();
            return Err(TrainErrorKind::TokensTooLong { n_bytes, limit, n_merges }.into());
        }
        if merged as usize == self.counts.len() {
            self.counts.push(0);
            self.slots.push(Vec::new());
            self.is_left.push(false);
            self.parts.push(None);
        }
        // A string that a special token spells has its id, which a merge may make.
        let parts = &mut self.parts[merged as usize];
        parts.get_or_insert((left, right));
        let is_back = !std::mem::replace(&mut self.is_left[merged as usize], true);
        self.events.push(Event::Merge(Merge { left, right, result: merged }));
        slots.sort_unstable();
        let mut n_merged = 0;
        for slot in slots {
            if self.corpus.pair(slot) != Some((left, right)) {
                continue;
            }
            let next = self.corpus.behind[slot as usize];
            let (before, behind) = (self.corpus.before[slot as usize], self.corpus.behind[next as usize]);
            if before != NONE {
                self.end(before);
            }
            self.end(slot);
            self.end(next);
            self.corpus.symbols[slot as usize] = merged;
            self.corpus.symbols[next as usize] = BOUNDARY;
            self.corpus.behind[slot as usize] = behind;
            if behind != NONE {
                self.corpus.before[behind as usize] = slot;
            }
            self.slots[merged as usize].push(slot);
            n_merged += self.corpus.count(slot);
            self.begin(slot);
            if before != NONE {
                self.begin(before);
            }
        }
        self.counts[left as usize] -= n_merged;
        self.counts[right as usize] -= n_merged;
        self.counts[merged as usize] += n_merged;
        self.queue_begun();
        Ok((left, right, n_merged, is_back))
    }

    /// The tokens that are left of which a token was made.
    fn walk(&self, token: TokenId, out: &mut Vec<TokenId>) {
        let mut stack = vec![token];
        while let Some(token) = stack.pop() {
            match self.parts[token as usize] {
                Some((left, right)) if !self.is_left[token as usize] => stack.extend([right, left]),
                _ => out.push(token),
            }
        }
    }

    /// Splits what is left of a token.
    fn remove(&mut self, token: TokenId) -> Result<(), TrainError> {
        self.is_left[token as usize] = false;
        let mut parts = Vec::new();
        self.walk(token, &mut parts);
        let mut slots = std::mem::take(&mut self.slots[token as usize]);
        slots.sort_unstable();
        slots.dedup();
        for first in slots {
            if self.corpus.symbols[first as usize] != token {
                continue;
            }
            let (before, behind) = (self.corpus.before[first as usize], self.corpus.behind[first as usize]);
            if before != NONE {
                self.end(before);
            }
            self.end(first);
            let (mut slot, mut last) = (first, before);
            for &part in &parts {
                self.corpus.symbols[slot as usize] = part;
                self.corpus.before[slot as usize] = last;
                if last != NONE {
                    self.corpus.behind[last as usize] = slot;
                }
                // A byte takes one slot; the slots of a longer token lie behind its first.
                self.slots[part as usize].push(slot);
                last = slot;
                slot += self.inventory.bytes(part).len() as u32;
            }
            self.corpus.behind[last as usize] = behind;
            if behind != NONE {
                self.corpus.before[behind as usize] = last;
            }
            let count = self.corpus.count(first);
            self.counts[token as usize] -= count;
            let mut slot = if before == NONE { first } else { before };
            while slot != behind {
                self.begin(slot);
                slot = self.corpus.behind[slot as usize];
            }
            parts.iter().for_each(|&part| self.counts[part as usize] += count);
        }
        self.events.push(Event::Split { token, parts });
        self.queue_begun();
        Ok(())
    }

    /// Gives those that are left the first ids, in the order in which they were made.
    fn finish(self, special_tokens: &[String]) -> Picky {
        let n = self.inventory.len() as TokenId;
        let is_first = |id: TokenId| self.is_left[id as usize];
        let order: Vec<TokenId> =
            (0..n).filter(|&id| is_first(id)).chain((0..n).filter(|&id| !is_first(id))).collect();
        let mut new_ids = vec![0; n as usize];
        for (new, &old) in (0..).zip(&order) {
            new_ids[old as usize] = new;
        }
        let id = |old: &TokenId| new_ids[*old as usize];
        let n_kept = order.iter().filter(|&&id| is_first(id)).count();
        let split = |&token: &TokenId| {
            let mut parts = Vec::new();
            self.walk(token, &mut parts);
            parts.iter().map(id).collect()
        };
        let renamed = |event: &Event| match event {
            Event::Merge(merge) => Event::Merge(Merge {
                left: id(&merge.left),
                right: id(&merge.right),
                result: id(&merge.result),
            }),
            Event::Split { token, parts } => {
                Event::Split { token: id(token), parts: parts.iter().map(id).collect() }
            }
        };
        Picky {
            special_tokens: special_tokens.to_vec(),
            tokens: order.iter().map(|&id| self.inventory.bytes(id).into()).collect(),
            n_kept,
            splits: order[n_kept..].iter().map(split).collect(),
            events: self.events.iter().map(renamed).collect(),
        }
    }
}

impl Picky {
    /// The merges that encoding needs, each at its first place.
    pub fn merges(&self) -> Vec<Merge> {
        let mut seen = FxHashSet::default();
        let merges = self.events.iter().filter_map(|event| match event {
            Event::Merge(merge) => Some(*merge),
            Event::Split { .. } => None,
        });
        merges.filter(|merge| seen.insert((merge.left, merge.right))).collect()
    }

    /// The events as rows: `0, left, right, result` for a merge, `1, token, part, ...` for a split.
    pub fn rows(&self) -> (Vec<u32>, Vec<i64>) {
        let (mut values, mut offsets) = (Vec::new(), vec![0]);
        for event in &self.events {
            match event {
                Event::Merge(merge) => values.extend([0, merge.left, merge.right, merge.result]),
                Event::Split { token, parts } => {
                    values.extend([1, *token]);
                    values.extend(parts);
                }
            }
            offsets.push(values.len() as i64);
        }
        (values, offsets)
    }

    /// The tokenizer that knows all merges: byte pair encoding without splits.
    pub fn spec(&self, pretokenizers: Vec<Pretokenizer>) -> TokenizerSpec {
        let added = |(id, content): (u32, &String)| AddedToken {
            id,
            content: content.clone(),
            special: true,
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        let merges = self.merges();
        let made: FxHashSet<TokenId> = merges.iter().map(|merge| merge.result).collect();
        let is_model = |id: TokenId| id as usize >= self.special_tokens.len() || made.contains(&id);
        let tokens = (0..).zip(&self.tokens).filter(|(id, _)| is_model(*id));
        TokenizerSpec {
            tokens: tokens.map(|(id, bytes)| (id, bytes.clone())).collect(),
            merges,
            added_tokens: (0..).zip(&self.special_tokens).map(added).collect(),
            pretokenizers,
            ..TokenizerSpec::default()
        }
    }
}

//! Which tokens does this one batch ask for?
//!
//! The tokens of a batch are merged further, for the batch alone: the most frequent pair of neighbours that may be joined,
//! again and again; of equally frequent ones that which stands first in the batch (Feher, Vulić, Minixhofer 2024). Tokens
//! are strings: a merge that spells a token of the tokenizer gives that token.
//!
//! Counts are kept up to date instead of being made anew. Every pair knows its slots in a heap; a pair waits in one queue
//! under a count and a first slot that may be out of date but never too low, and goes back when it comes up with them
//! wrong. O(n log n) for n tokens of the batch, and one look at the bytes of each distinct pair, whose number of bytes is
//! bounded: whatever the batch, nothing is scanned again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_vocab::TokenId;

use super::{TrainError, TrainErrorKind};
use crate::Tokenizer;
use crate::bpe::BpeScratch;

/// Which tokens of a batch may be joined. None that is added to a tokenizer (special tokens), ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Those that are one pretoken together.
    Pretokens,
    /// Those that hold no white space between them.
    Words,
    /// The same, but punctuation is not joined to a word, except a hyphen.
    HyphenWords,
    /// All.
    Sentences,
}

/// How far a batch is merged.
#[derive(Clone, Debug)]
pub struct DynamicOptions {
    /// What may be joined.
    pub boundary: Boundary,
    /// The most merges.
    pub n_merges: usize,
    /// No more merges once the batch has so few tokens.
    pub enough_tokens: usize,
    /// No token is longer.
    pub max_token_bytes: usize,
    /// Ids in a row of the surface matrix.
    pub max_surface: usize,
}

/// A batch after merging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The tokens of all sequences as places in the local vocabulary.
    pub ids: Vec<u32>,
    /// Sequence `i` is `ids[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
    /// By place in the local vocabulary: the id that the tokenizer has for it, or -1.
    pub base_ids: Vec<i64>,
    /// The bytes of the local vocabulary.
    pub bytes: Vec<u8>,
    /// Local token `i` is `bytes[byte_offsets[i]..byte_offsets[i + 1]]`.
    pub byte_offsets: Vec<i64>,
    /// By local token `max_surface` ids of the tokenizer that spell it; 0 behind them.
    pub surface: Vec<u32>,
    /// How many of them there are.
    pub surface_lengths: Vec<i32>,
    /// By token before merging: its token after it, as a place in `ids`.
    pub segments: Vec<i64>,
    /// The tokens of the batch before any merge and after each.
    pub n_tokens: Vec<i64>,
}

const NONE: u32 = u32::MAX;

/// What stands in a slot.
struct Kind {
    base: Option<TokenId>,
    bytes: Box<[u8]>,
    is_added: bool,
    is_punctuation: bool,
}

/// Two kinds side by side.
struct Pair {
    left: u32,
    right: u32,
    count: u64,
    /// Where it stands, and perhaps where it stood.
    slots: BinaryHeap<Reverse<u32>>,
    may_join: bool,
}

/// Count, first slot and place of a pair.
type Waiting = (u64, Reverse<u32>, u32);

struct Batch<'a> {
    tokenizer: &'a Tokenizer,
    boundary: Boundary,
    max_token_bytes: usize,
    kinds: Vec<Kind>,
    by_base: FxHashMap<TokenId, u32>,
    by_bytes: FxHashMap<Box<[u8]>, u32>,
    added: FxHashSet<TokenId>,
    /// By slot: the kind, `NONE` where the token before took it in; the slots before and behind.
    symbols: Vec<u32>,
    before: Vec<u32>,
    behind: Vec<u32>,
    pairs: Vec<Pair>,
    by_kinds: FxHashMap<(u32, u32), u32>,
    queue: BinaryHeap<Waiting>,
}

/// Merges the tokens of a batch: sequence `i` is `ids[offsets[i]..offsets[i + 1]]`.
///
/// # Errors
/// [`TrainErrorKind::Offsets`], [`TrainErrorKind::UnknownToken`], [`TrainErrorKind::CorpusTooLarge`], and what
/// pretokenizing the text of a pair says.
pub fn merge_batch(
    tokenizer: &Tokenizer,
    ids: &[TokenId],
    offsets: &[i64],
    options: &DynamicOptions,
) -> Result<Dynamic, TrainError> {
    let rises = offsets.windows(2).all(|ends| ends[0] <= ends[1]);
    if !rises || offsets.first() != Some(&0) || offsets.last() != Some(&(ids.len() as i64)) {
        return Err(TrainErrorKind::Offsets { n_ids: ids.len() }.into());
    }
    let mut batch = Batch::new(tokenizer, ids, offsets, options)?;
    let mut n_left = ids.len();
    let mut n_tokens = vec![n_left as i64];
    while n_tokens.len() <= options.n_merges && n_left > options.enough_tokens {
        let Some(at) = batch.next_pair() else { break };
        n_left -= batch.merge(at)?;
        n_tokens.push(n_left as i64);
    }
    Ok(batch.finish(offsets, options.max_surface, n_tokens))
}

impl<'a> Batch<'a> {
    fn new(
        tokenizer: &'a Tokenizer,
        ids: &[TokenId],
        offsets: &[i64],
        options: &DynamicOptions,
    ) -> Result<Self, TrainError> {
        let (n_symbols, limit) = (ids.len() as u64, u64::from(NONE) - 1);
        if n_symbols > limit {
            return Err(TrainErrorKind::CorpusTooLarge { n_symbols, limit }.into());
        }
        let mut this = Self {
            tokenizer,
            boundary: options.boundary,
            max_token_bytes: options.max_token_bytes,
            kinds: Vec::new(),
            by_base: FxHashMap::default(),
            by_bytes: FxHashMap::default(),
            added: tokenizer.spec().added_tokens.iter().map(|token| token.id).collect(),
            symbols: Vec::with_capacity(ids.len()),
            before: (0..ids.len() as u32).map(|slot| slot.wrapping_sub(1)).collect(),
            behind: (1..=ids.len() as u32).collect(),
            pairs: Vec::new(),
            by_kinds: FxHashMap::default(),
            queue: BinaryHeap::new(),
        };
        for (index, &id) in ids.iter().enumerate() {
            let kind = this.kind_of_base(id).ok_or(TrainErrorKind::UnknownToken { id, index })?;
            this.symbols.push(kind);
        }
        for sequence in offsets.windows(2).filter(|ends| ends[0] < ends[1]) {
            this.before[sequence[0] as usize] = NONE;
            this.behind[sequence[1] as usize - 1] = NONE;
        }
        for slot in 0..ids.len() as u32 {
            if this.behind[slot as usize] != NONE {
                this.begin(slot)?;
            }
        }
        this.queue = (0..this.pairs.len() as u32).filter_map(|at| this.waiting(at)).collect();
        Ok(this)
    }

    fn kind_of_base(&mut self, id: TokenId) -> Option<u32> {
        let at = self.kinds.len() as u32;
        match self.by_base.entry(id) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                let bytes = self.tokenizer.token_bytes(id)?;
                entry.insert(at);
                let is_added = self.added.contains(&id);
                let is_punctuation = is_punctuation(bytes);
                self.kinds.push(Kind { base: Some(id), bytes: bytes.into(), is_added, is_punctuation });
                Some(at)
            }
        }
    }

    /// The kind of a token that a merge spells.
    fn kind_of_bytes(&mut self, bytes: Vec<u8>) -> u32 {
        let known = self.tokenizer.table().id(&bytes).filter(|id| !self.added.contains(id));
        if let Some(kind) = known.and_then(|id| self.kind_of_base(id)) {
            return kind;
        }
        let at = self.kinds.len() as u32;
        match self.by_bytes.entry(bytes.into()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let bytes = entry.key().clone();
                entry.insert(at);
                self.kinds.push(Kind { base: None, bytes, is_added: false, is_punctuation: false });
                at
            }
        }
    }

    /// Counts the pair that stands at `slot`; its place.
    fn begin(&mut self, slot: u32) -> Result<u32, TrainError> {
        let left = self.symbols[slot as usize];
        let right = self.symbols[self.behind[slot as usize] as usize];
        let at = match self.by_kinds.get(&(left, right)) {
            Some(&at) => at,
            None => {
                let may_join = self.may_join(left, right)?;
                let at = self.pairs.len() as u32;
                self.by_kinds.insert((left, right), at);
                self.pairs.push(Pair { left, right, count: 0, slots: BinaryHeap::new(), may_join });
                at
            }
        };
        let pair = &mut self.pairs[at as usize];
        if pair.may_join {
            pair.count += 1;
            pair.slots.push(Reverse(slot));
        }
        Ok(at)
    }

    /// The pair at `slot` is about to go.
    fn end(&mut self, slot: u32) {
        let next = self.behind[slot as usize];
        let kinds = (self.symbols[slot as usize], self.symbols[next as usize]);
        if let Some(&at) = self.by_kinds.get(&kinds) {
            let pair = &mut self.pairs[at as usize];
            pair.count -= u64::from(pair.may_join);
        }
    }

    fn may_join(&self, left: u32, right: u32) -> Result<bool, TrainError> {
        let [first, second] = [left, right].map(|kind| &self.kinds[kind as usize]);
        let n_bytes = first.bytes.len() + second.bytes.len();
        if first.is_added || second.is_added || n_bytes > self.max_token_bytes {
            return Ok(false);
        }
        let joined = [&*first.bytes, &*second.bytes].concat();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t');
        let holds_space = joined.iter().skip(1).any(is_space);
        if holds_space && (joined == b"\n\n" || !joined.iter().all(is_space)) {
            return Ok(false);
        }
        // A part of a character has no words.
        let Ok(text) = std::str::from_utf8(&joined) else { return Ok(true) };
        Ok(match self.boundary {
            Boundary::Sentences => true,
            Boundary::Pretokens => {
                let pieces = self.tokenizer.pretokenize(text);
                pieces.map_err(|error| TrainErrorKind::Tokens { message: error.to_string() })?.len() == 1
            }
            Boundary::Words => is_word(text),
            Boundary::HyphenWords => {
                let starts_punctuation = !first.is_punctuation && second.is_punctuation;
                is_word(text) && (!starts_punctuation || &*second.bytes == b"-")
            }
        })
    }

    /// Whether a pair stands at `slot`, not only stood.
    fn stands(&self, pair: &Pair, slot: u32) -> bool {
        let next = self.behind[slot as usize];
        self.symbols[slot as usize] == pair.left && next != NONE && self.symbols[next as usize] == pair.right
    }

    /// The queue entry of a pair; none for one that is nowhere.
    fn waiting(&mut self, at: u32) -> Option<Waiting> {
        if self.pairs[at as usize].count == 0 {
            return None;
        }
        loop {
            let &Reverse(slot) = self.pairs[at as usize].slots.peek()?;
            if self.stands(&self.pairs[at as usize], slot) {
                return Some((self.pairs[at as usize].count, Reverse(slot), at));
            }
            self.pairs[at as usize].slots.pop();
        }
    }

    /// The pair that is merged next.
    fn next_pair(&mut self) -> Option<u32> {
        loop {
            let waited = self.queue.pop()?;
            let now = self.waiting(waited.2);
            if now == Some(waited) {
                return Some(waited.2);
            }
            self.queue.extend(now);
        }
    }

    /// Merges a pair from left to right; how often.
    fn merge(&mut self, at: u32) -> Result<usize, TrainError> {
        let Pair { left, right, .. } = self.pairs[at as usize];
        let slots = std::mem::take(&mut self.pairs[at as usize].slots).into_sorted_vec();
        let bytes = [&*self.kinds[left as usize].bytes, &*self.kinds[right as usize].bytes].concat();
        let merged = self.kind_of_bytes(bytes);
        let (mut n_merged, mut begun) = (0, Vec::new());
        // A sorted heap of reversed slots ends with the first.
        for Reverse(slot) in slots.into_iter().rev() {
            if !self.stands(&self.pairs[at as usize], slot) {
                continue;
            }
            let next = self.behind[slot as usize];
            let (before, behind) = (self.before[slot as usize], self.behind[next as usize]);
            let touched = [before, slot, next].into_iter().zip([before != NONE, true, behind != NONE]);
            touched.filter(|(_, is_pair)| *is_pair).for_each(|(slot, _)| self.end(slot));
            self.symbols[slot as usize] = merged;
            self.symbols[next as usize] = NONE;
            self.behind[slot as usize] = behind;
            if behind != NONE {
                self.before[behind as usize] = slot;
                begun.push(self.begin(slot)?);
            }
            if before != NONE {
                begun.push(self.begin(before)?);
            }
            n_merged += 1;
        }
        begun.sort_unstable();
        begun.dedup();
        for at in begun {
            let waiting = self.waiting(at);
            self.queue.extend(waiting);
        }
        Ok(n_merged)
    }

    fn finish(self, offsets: &[i64], max_surface: usize, n_tokens: Vec<i64>) -> Dynamic {
        let mut out = Dynamic { offsets: vec![0], byte_offsets: vec![0], n_tokens, ..Dynamic::default() };
        let mut locals = vec![NONE; self.kinds.len()];
        let (mut scratch, mut spelled) = (BpeScratch::default(), Vec::new());
        for ends in offsets.windows(2) {
            for &kind in &self.symbols[ends[0] as usize..ends[1] as usize] {
                if kind == NONE {
                    out.segments.push(out.ids.len() as i64 - 1);
                    continue;
                }
                let next = out.base_ids.len() as u32;
                let local = &mut locals[kind as usize];
                if *local == NONE {
                    *local = next;
                    let Kind { base, bytes, .. } = &self.kinds[kind as usize];
                    out.base_ids.push(base.map_or(-1, i64::from));
                    out.bytes.extend_from_slice(bytes);
                    out.byte_offsets.push(out.bytes.len() as i64);
                    spelled.clear();
                    match base {
                        Some(id) => spelled.push(*id),
                        None => self.tokenizer.bpe().encode_piece(bytes, &mut spelled, &mut scratch),
                    }
                    spelled.truncate(max_surface);
                    out.surface_lengths.push(spelled.len() as i32);
                    spelled.resize(max_surface, 0);
                    out.surface.extend_from_slice(&spelled);
                }
                out.segments.push(out.ids.len() as i64);
                out.ids.push(*local);
            }
            out.offsets.push(out.ids.len() as i64);
        }
        out
    }
}

fn is_word(text: &str) -> bool {
    text.split_whitespace().count() == 1
}

/// Holds punctuation and no digit.
fn is_punctuation(token: &[u8]) -> bool {
    let is_mark = |byte: &u8| b".,!?;:()-\"'\\/`$%&*+<=>@[]^_{|}~".contains(byte);
    token.iter().any(is_mark) && !token.iter().any(u8::is_ascii_digit)
}

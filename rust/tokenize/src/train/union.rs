//! What is the union of two tokenizers?
//!
//! The first one keeps everything: ids, merges and their ranks, added tokens, how text is cut. Behind its ids come the
//! tokens of the second one that it lacks, in the order of their ids there, each with merges that reach it: its bytes are
//! encoded by all merges so far, and as long as that gives more than one token, two neighbours are joined by a new merge,
//! which ranks behind all others. A token that such a merge makes on the way and that neither tokenizer has is a *bridge*;
//! bridges get the last ids. A later merge ranks behind an earlier one, so a token once reached stays reached.
//!
//! O(n log n) for a token of n bytes, and O(n) more for each of its bridges; tokens beyond [`MAX_BRIDGED_BYTES`] that need
//! bridges are left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_vocab::{AddedToken, TokenId, TokenTable};

use super::{TrainError, TrainErrorKind};
use crate::byte_chars::{bytes_of_text, text_of_bytes};
use crate::normalize::SPACE_MARK;
use crate::spec::{Merge, Ranks, Symbols, TokenizerSpec};
use crate::{Tokenizer, bpe::Bpe};

/// Longer tokens are not reached over bridges.
pub const MAX_BRIDGED_BYTES: usize = 4096;

/// Two tokenizers in one.
#[derive(Clone, Debug)]
pub struct Union {
    /// What the union is built from.
    pub spec: TokenizerSpec,
    /// By id of the second tokenizer: the id in the union, or -1 for an id that is no token, for a token that the second
    /// never writes itself, and for one that no merge can reach here.
    pub ids: Vec<i64>,
    /// The last ids of the union that are in neither.
    pub n_bridges: usize,
}

/// The union of `first`, whose ids stay, and `second`.
///
/// # Errors
/// [`TrainErrorKind::OtherSymbols`], [`TrainErrorKind::AddedIsToken`], [`TrainErrorKind::VocabTooLarge`].
pub fn union(first: &Tokenizer, second: &Tokenizer) -> Result<Union, TrainError> {
    let is_bytes = |tokenizer: &Tokenizer| tokenizer.spec().symbols == Symbols::Bytes;
    if is_bytes(first) != is_bytes(second) {
        return Err(TrainErrorKind::OtherSymbols.into());
    }
    let mut joining = Joining::new(first);
    let (mut ids, new) = joining.number(second)?;
    // What the second makes first is reached first: atoms, then by rank, then what it only looks up as a whole.
    let ranks: FxHashMap<TokenId, u32> = {
        let mut ranks = FxHashMap::default();
        for (_, (rank, id)) in second.bpe().merges().iter() {
            let lowest = ranks.entry(id).or_insert(rank.0);
            *lowest = rank.0.min(*lowest);
        }
        ranks
    };
    let is_atom = |bytes: &[u8]| {
        bytes.len() == 1
            || !is_bytes(first) && std::str::from_utf8(bytes).is_ok_and(|t| t.chars().count() == 1)
    };
    let mut order: Vec<(u32, TokenId, &[u8])> = new
        .iter()
        .filter(|(_, bytes)| !is_atom(bytes))
        .map(|&(id, bytes)| (ranks.get(&id).copied().unwrap_or(u32::MAX), id, bytes))
        .collect();
    order.sort_unstable();
    let mut unreached = FxHashSet::default();
    for (_, id, bytes) in order {
        if !joining.reach(bytes)? {
            unreached.insert(ids[id as usize] as TokenId);
            ids[id as usize] = -1;
        }
    }
    let (added, n_bridges) = (joining.added_of(first, second, &mut ids)?, joining.n_bridges);
    Ok(Union { spec: joining.into_spec(added, &unreached), ids, n_bridges })
}

/// The union so far.
struct Joining<'a> {
    first: &'a Tokenizer,
    by_bytes: FxHashMap<Box<[u8]>, TokenId>,
    /// What the added tokens of the first would spell if they were the model's.
    taken: FxHashSet<Box<[u8]>>,
    merges: FxHashMap<(TokenId, TokenId), (u32, TokenId)>,
    tokens: Vec<(TokenId, Box<[u8]>)>,
    more: Vec<Merge>,
    next_rank: u32,
    next_id: TokenId,
    n_bridges: usize,
}

/// The ids of a second tokenizer's tokens, and which of them are new.
type Numbered<'b> = (Vec<i64>, Vec<(TokenId, &'b [u8])>);

/// A token on its way from symbols to one.
struct Word {
    symbols: Vec<TokenId>,
    lengths: Vec<usize>,
    before: Vec<usize>,
    behind: Vec<usize>,
    heap: BinaryHeap<Reverse<(u32, usize)>>,
    n_left: usize,
}

const END: usize = usize::MAX;
/// In a slot that another took in.
const GONE: TokenId = TokenId::MAX;

impl<'a> Joining<'a> {
    fn new(first: &'a Tokenizer) -> Self {
        let is_bytes = first.spec().symbols == Symbols::Bytes;
        let spelled = |token: &AddedToken| match is_bytes {
            true => bytes_of_text(&token.content),
            false => Some(token.content.replace(SPACE_MARK, " ").into_bytes()),
        };
        let added = first.spec().added_tokens.iter().filter_map(spelled);
        let taken = added.filter(|content| first.table().id(content).is_none()).map(Box::from);
        let merges: FxHashMap<_, _> =
            first.bpe().merges().iter().map(|(pair, (rank, id))| (pair, (rank.0, id))).collect();
        Self {
            first,
            by_bytes: FxHashMap::default(),
            taken: taken.collect(),
            next_rank: merges.values().map(|(rank, _)| rank + 1).max().unwrap_or(0),
            merges,
            tokens: Vec::new(),
            more: Vec::new(),
            next_id: first.id_bound() as TokenId,
            n_bridges: 0,
        }
    }

    fn id_of(&self, bytes: &[u8]) -> Option<TokenId> {
        self.first.table().id(bytes).or_else(|| self.by_bytes.get(bytes).copied())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<TokenId, TrainError> {
        let id = self.next_id;
        self.next_id = next(id)?;
        self.by_bytes.insert(bytes.into(), id);
        self.tokens.push((id, bytes.into()));
        Ok(id)
    }

    /// Gives every token of `second` its id; which are new.
    fn number<'b>(&mut self, second: &'b Tokenizer) -> Result<Numbered<'b>, TrainError> {
        let added: FxHashSet<TokenId> = second.spec().added_tokens.iter().map(|token| token.id).collect();
        let mut model: Vec<_> = second.spec().tokens.iter().filter(|(id, _)| !added.contains(id)).collect();
        model.sort_unstable();
        let (mut ids, mut new) = (vec![-1; second.id_bound()], Vec::new());
        let both = |tokenizer: &Tokenizer| match &tokenizer.spec().symbols {
            Symbols::Characters { byte_tokens } => byte_tokens.clone(),
            Symbols::Bytes => Vec::new(),
        };
        for (theirs, ours) in both(second).into_iter().zip(both(self.first)) {
            ids[theirs as usize] = i64::from(ours);
        }
        for (id, bytes) in model {
            let is_written =
                second.table().id(bytes) == Some(id) && is_written(second.bpe(), id, bytes.len());
            if !is_written || self.taken.contains(bytes) {
                continue;
            }
            let ours = match self.id_of(bytes) {
                Some(ours) => ours,
                None => {
                    new.push((id, bytes));
                    self.add(bytes)?
                }
            };
            ids[id as usize] = i64::from(ours);
        }
        Ok((ids, new))
    }

    /// Adds the merges that make one token of `bytes`; whether there are such.
    fn reach(&mut self, bytes: &[u8]) -> Result<bool, TrainError> {
        let Some(mut word) = self.word(bytes) else { return Ok(false) };
        let mut at = 0;
        let mut n_refused = 0;
        loop {
            self.settle(&mut word);
            if word.n_left <= 1 {
                return Ok(true);
            }
            if word.n_left > 2 && bytes.len() > MAX_BRIDGED_BYTES {
                return Ok(false);
            }
            // The next pair from here on, so that bridges stay short.
            while at == END || word.symbols[at] == GONE || word.behind[at] == END {
                at = if at == END || word.behind[at] == END { 0 } else { at + 1 };
            }
            let next = word.behind[at];
            let joined = &bytes[at..at + word.lengths[at] + word.lengths[next]];
            if self.taken.contains(joined) {
                n_refused += 1;
                if n_refused >= word.n_left {
                    return Ok(false);
                }
                at = next;
                continue;
            }
            n_refused = 0;
            let result = match self.id_of(joined) {
                Some(id) => id,
                None => {
                    self.n_bridges += 1;
                    self.add(joined)?
                }
            };
            let (left, right) = (word.symbols[at], word.symbols[next]);
            self.merges.insert((left, right), (self.next_rank, result));
            self.more.push(Merge { left, right, result });
            self.next_rank += 1;
            let slots = (0..word.symbols.len()).filter(|&slot| word.pair(slot) == Some((left, right)));
            let places: Vec<_> = slots.map(|slot| Reverse((self.next_rank - 1, slot))).collect();
            word.heap.extend(places);
            at = word.behind[next];
        }
    }

    /// The symbols of bytes; none if one of them is no token.
    fn word(&self, bytes: &[u8]) -> Option<Word> {
        let mut word = Word {
            symbols: vec![GONE; bytes.len()],
            lengths: vec![0; bytes.len()],
            before: vec![END; bytes.len()],
            behind: vec![END; bytes.len()],
            heap: BinaryHeap::new(),
            n_left: 0,
        };
        let mut last = END;
        let starts: Vec<usize> = match &self.first.spec().symbols {
            Symbols::Bytes => (0..bytes.len()).collect(),
            Symbols::Characters { .. } => {
                std::str::from_utf8(bytes).ok()?.char_indices().map(|(at, _)| at).collect()
            }
        };
        for (index, &start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
            word.symbols[start] = self.id_of(&bytes[start..end])?;
            word.lengths[start] = end - start;
            word.before[start] = last;
            if last != END {
                word.behind[last] = start;
            }
            last = start;
            word.n_left += 1;
        }
        (0..bytes.len()).for_each(|slot| self.ask(&mut word, slot));
        Some(word)
    }

    fn ask(&self, word: &mut Word, slot: usize) {
        if let Some((rank, _)) = word.pair(slot).and_then(|pair| self.merges.get(&pair)) {
            word.heap.push(Reverse((*rank, slot)));
        }
    }

    /// Applies all merges.
    fn settle(&self, word: &mut Word) {
        while let Some(Reverse((rank, slot))) = word.heap.pop() {
            let Some(&(now, result)) = word.pair(slot).and_then(|pair| self.merges.get(&pair)) else {
                continue;
            };
            if now != rank {
                continue;
            }
            let next = word.behind[slot];
            word.symbols[slot] = result;
            word.symbols[next] = GONE;
            word.lengths[slot] += word.lengths[next];
            word.behind[slot] = word.behind[next];
            if word.behind[slot] != END {
                let behind = word.behind[slot];
                word.before[behind] = slot;
            }
            word.n_left -= 1;
            self.ask(word, slot);
            if word.before[slot] != END {
                self.ask(word, word.before[slot]);
            }
        }
    }

    /// The added tokens of `second` that the first lacks, behind all other ids.
    fn added_of(
        &mut self,
        first: &Tokenizer,
        second: &Tokenizer,
        ids: &mut [i64],
    ) -> Result<Vec<AddedToken>, TrainError> {
        let known: FxHashMap<&str, TokenId> =
            first.spec().added_tokens.iter().map(|token| (token.content.as_str(), token.id)).collect();
        let strings: FxHashSet<String> = match first.spec().symbols {
            Symbols::Bytes => {
                let model = first.spec().tokens.iter();
                let all = model.chain(self.tokens.iter().map(|(id, bytes)| (*id, &**bytes)));
                all.map(|(_, bytes)| text_of_bytes(bytes)).collect()
            }
            Symbols::Characters { .. } => FxHashSet::default(),
        };
        let mut more = Vec::new();
        let mut theirs: Vec<&AddedToken> = second.spec().added_tokens.iter().collect();
        theirs.sort_unstable_by_key(|token| token.id);
        for token in theirs {
            let id = match known.get(token.content.as_str()) {
                Some(&id) => id,
                None => {
                    let content = &token.content;
                    if strings.contains(content) || self.id_of(content.as_bytes()).is_some() {
                        return Err(TrainErrorKind::AddedIsToken { content: content.clone() }.into());
                    }
                    let id = self.next_id;
                    self.next_id = next(id)?;
                    more.push(AddedToken { id, ..token.clone() });
                    id
                }
            };
            ids[token.id as usize] = i64::from(id);
        }
        Ok(more)
    }

    fn into_spec(self, added: Vec<AddedToken>, unreached: &FxHashSet<TokenId>) -> TokenizerSpec {
        let mut spec = TokenizerSpec::clone(self.first.spec()).listed();
        if spec.ranks == Ranks::ByResult && !self.more.is_empty() {
            // An old token may be the result of a new merge, which must not rank with the old ones.
            let rank = |merge: &Merge| self.merges.get(&(merge.left, merge.right)).map_or(0, |found| found.0);
            spec.merges.sort_by_key(rank);
            spec.ranks = Ranks::Given(spec.merges.iter().map(rank).collect());
        }
        if let Ranks::Given(ranks) = &mut spec.ranks {
            let first = ranks.last().map_or(0, |last| last + 1);
            ranks.extend((first..).take(self.more.len()));
        }
        spec.tokens.extend(self.tokens.into_iter().filter(|(id, _)| !unreached.contains(id)));
        spec.merges.extend(self.more);
        spec.added_tokens.extend(added);
        spec
    }
}

impl Word {
    /// The token in a slot and the one behind it.
    fn pair(&self, slot: usize) -> Option<(TokenId, TokenId)> {
        let (left, next) = (self.symbols[slot], self.behind[slot]);
        (left != GONE && next != END).then(|| (left, self.symbols[next]))
    }
}

fn next(id: TokenId) -> Result<TokenId, TrainError> {
    if id < TokenTable::MAX_ID {
        return Ok(id + 1);
    }
    let limit = TokenTable::MAX_ID as usize;
    Err(TrainErrorKind::VocabTooLarge { vocab_size: limit + 1, limit }.into())
}

/// Whether encoding writes a token: it is a byte, or merges lead to it, or it is looked up as a whole.
fn is_written(bpe: &Bpe, id: TokenId, n_bytes: usize) -> bool {
    n_bytes == 1 || bpe.ignore_merges() || bpe.is_reachable(id)
}

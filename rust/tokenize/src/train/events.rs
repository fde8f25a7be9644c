//! What do merges and splits, in the order in which they happened, make of a text?
//!
//! Every event is applied to all its occurrences, from left to right, before the next one: a pair or a token that begins
//! after its event has passed waits for a later one. A word that is a token as a whole is that token. A heap of (event,
//! slot): O(log m) for each symbol of a word of m bytes that an event ends or begins; words are remembered within a call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::symbols::BOUNDARY;
use super::{TrainError, TrainErrorKind};
use crate::encode::Part;
use crate::{AllowedSpecial, EncodeError, Text, Tokenizer};

/// Events of a training, by what they wait for.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The turns of each pair, ascending, and what it becomes.
    merges: FxHashMap<(TokenId, TokenId), (Vec<u32>, TokenId)>,
    /// The turns of each token, ascending, and what it becomes then.
    splits: FxHashMap<TokenId, Vec<(u32, Vec<TokenId>)>>,
    /// Ids above it are of removed tokens.
    n_kept: usize,
}

const NONE: u32 = u32::MAX;

/// A word on its way.
#[derive(Debug, Default)]
struct Word {
    symbols: Vec<TokenId>,
    before: Vec<u32>,
    behind: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl Events {
    /// The events in `rows` (see [`Picky::rows`](super::Picky::rows)) of a training that gave `tokenizer`.
    ///
    /// # Errors
    /// [`TrainErrorKind::BadEvent`] where a row does not join or split bytes.
    pub fn new(
        tokenizer: &Tokenizer,
        n_kept: usize,
        rows: &[u32],
        offsets: &[i64],
    ) -> Result<Self, TrainError> {
        let mut this = Self { n_kept, ..Self::default() };
        for (index, ends) in offsets.windows(2).enumerate() {
            let bad = || TrainError::from(TrainErrorKind::BadEvent { index });
            let span =
                usize::try_from(ends[0]).map_err(|_| bad())?..usize::try_from(ends[1]).map_err(|_| bad())?;
            let row = rows.get(span).ok_or_else(bad)?;
            let joined = |ids: &[TokenId]| -> Option<Vec<u8>> {
                let parts: Option<Vec<&[u8]>> = ids.iter().map(|&id| tokenizer.table().bytes(id)).collect();
                Some(parts?.concat()).filter(|bytes| ids.len() > 1 && !bytes.is_empty())
            };
            let turn = index as u32;
            match *row {
                [0, left, right, result] => {
                    let bytes = joined(&[left, right]).ok_or_else(bad)?;
                    if tokenizer.table().bytes(result) != Some(&bytes) {
                        return Err(bad());
                    }
                    let turns = this.merges.entry((left, right)).or_insert_with(|| (Vec::new(), result));
                    turns.0.push(turn);
                }
                [1, token, ref parts @ ..] => {
                    let bytes = joined(parts).ok_or_else(bad)?;
                    if tokenizer.table().bytes(token) != Some(&bytes) {
                        return Err(bad());
                    }
                    this.splits.entry(token).or_default().push((turn, parts.to_vec()));
                }
                _ => return Err(bad()),
            }
        }
        Ok(this)
    }

    /// Appends the ids of a text that `tokenizer`, the one of the training, cuts into words.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern) if a pattern gives up.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        text: Text<'_>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        let mut known: FxHashMap<Box<[u8]>, Vec<TokenId>> = FxHashMap::default();
        let mut word = Word::default();
        let mut piece = |bytes: &[u8], ids: &mut Vec<TokenId>| {
            if let Some(found) = known.get(bytes) {
                ids.extend_from_slice(found);
                return;
            }
            let start = ids.len();
            self.encode_word(tokenizer, bytes, &mut word, ids);
            known.insert(bytes.into(), ids[start..].to_vec());
        };
        let mut buffer = String::new();
        let flow = tokenizer.walk::<false>(text, &AllowedSpecial::All, |part| {
            match part {
                Part::Inside { text, at_start, .. } => {
                    tokenizer
                        .pretokenizers
                        .for_each(text, at_start, |cut| piece(cut.bytes(text, &mut buffer), ids))?;
                }
                Part::Raw { bytes } => piece(bytes, ids),
                Part::Added { id, .. } => ids.push(id),
                Part::Run { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        });
        flow.map(|_| ())
    }

    fn encode_word(&self, tokenizer: &Tokenizer, bytes: &[u8], word: &mut Word, ids: &mut Vec<TokenId>) {
        if let Some(id) = tokenizer.table().id(bytes).filter(|&id| (id as usize) < self.n_kept) {
            ids.push(id);
            return;
        }
        word.start(bytes.iter().filter_map(|&byte| tokenizer.bpe().byte_id(byte)));
        (0..word.symbols.len() as u32).for_each(|slot| self.ask(word, slot, 0));
        while let Some(Reverse((turn, slot))) = word.heap.pop() {
            let symbol = word.symbols[slot as usize];
            let merged = word.pair(slot).and_then(|pair| self.merges.get(&pair));
            if let Some((_, result)) = merged.filter(|(turns, _)| turns.binary_search(&turn).is_ok()) {
                word.join(slot, *result);
                self.ask(word, slot, turn + 1);
                let before = word.before[slot as usize];
                if before != NONE {
                    self.ask(word, before, turn + 1);
                }
                continue;
            }
            let splits = self.splits.get(&symbol).map_or(&[][..], Vec::as_slice);
            if let Ok(found) = splits.binary_search_by_key(&turn, |(turn, _)| *turn) {
                let before = word.before[slot as usize];
                let lengths = |id: TokenId| tokenizer.table().bytes(id).map_or(1, <[u8]>::len) as u32;
                let end = word.split(slot, &splits[found].1, lengths);
                let mut slot = if before == NONE { slot } else { before };
                while slot != end {
                    self.ask(word, slot, turn + 1);
                    slot = word.behind[slot as usize];
                }
            }
        }
        ids.extend(word.symbols.iter().filter(|&&symbol| symbol != BOUNDARY));
    }

    /// Queues what happens next at a slot, from `turn` on.
    fn ask(&self, word: &mut Word, slot: u32, turn: u32) {
        if let Some((turns, _)) = word.pair(slot).and_then(|pair| self.merges.get(&pair)) {
            let next = turns.get(turns.partition_point(|&other| other < turn));
            word.heap.extend(next.map(|&next| Reverse((next, slot))));
        }
        if let Some(splits) = self.splits.get(&word.symbols[slot as usize]) {
            let next = splits.get(splits.partition_point(|(other, _)| *other < turn));
            word.heap.extend(next.map(|(next, _)| Reverse((*next, slot))));
        }
    }
}

impl Word {
    fn start(&mut self, symbols: impl Iterator<Item = TokenId>) {
        self.symbols.clear();
        self.symbols.extend(symbols);
        let n = self.symbols.len() as u32;
        self.before = (0..n).map(|slot| slot.wrapping_sub(1)).collect();
        self.behind = (1..=n).map(|slot| if slot == n { NONE } else { slot }).collect();
        self.heap.clear();
    }

    fn pair(&self, slot: u32) -> Option<(TokenId, TokenId)> {
        let (symbol, next) = (self.symbols[slot as usize], self.behind[slot as usize]);
        (symbol != BOUNDARY && next != NONE).then(|| (symbol, self.symbols[next as usize]))
    }

    /// The token in a slot takes in the one behind it.
    fn join(&mut self, slot: u32, result: TokenId) {
        let next = self.behind[slot as usize];
        let behind = self.behind[next as usize];
        self.symbols[slot as usize] = result;
        self.symbols[next as usize] = BOUNDARY;
        self.behind[slot as usize] = behind;
        if behind != NONE {
            self.before[behind as usize] = slot;
        }
    }

    /// The token in a slot becomes several; the slot behind them.
    fn split(&mut self, slot: u32, parts: &[TokenId], length: impl Fn(TokenId) -> u32) -> u32 {
        let behind = self.behind[slot as usize];
        let (mut at, mut last) = (slot, self.before[slot as usize]);
        for &part in parts {
            self.symbols[at as usize] = part;
            self.before[at as usize] = last;
            if last != NONE {
                self.behind[last as usize] = at;
            }
            last = at;
            at += length(part);
        }
        self.behind[last as usize] = behind;
        if behind != NONE {
            self.before[behind as usize] = last;
        }
        behind
    }
}

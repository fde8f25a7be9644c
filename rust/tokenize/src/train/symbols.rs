//! What does the corpus look like after the merges so far?
//!
//! All distinct words lie in one array of slots, one slot a starting symbol, with a boundary slot around each word.
//! A merged token keeps its slots: its id stands in the first one, its width in the second and in the last one, so that
//! both neighbours of a token are found in one step and a merge writes three numbers. No word is ever scanned again,
//! whatever its length. Memory: 4 B a slot, and what `occurrences` needs.

use tokenloom_vocab::{TokenId, TokenTable};

use super::occurrences::Occurrences;
use super::{TrainError, TrainErrorKind};

/// The slot around words.
pub(super) const BOUNDARY: TokenId = TokenId::MAX;
/// A slot inside a merged token: this bit and, in its second and last slot, the width.
const INNER: u32 = 1 << 31;
const _: () = assert!(TokenTable::MAX_ID < INNER);
/// Slots are numbered in 32 bits, widths in 31.
const MAX_SLOTS: u64 = u32::MAX as u64 - 1;
const MAX_WORD: u64 = INNER as u64 - 2;
/// All pairs together occur less often.
pub(super) const MAX_COUNT: i64 = 1 << 60;

/// The distinct words as token ids with their neighbours and counts.
#[derive(Debug)]
pub(super) struct Symbols {
    slots: Vec<u32>,
    words: Occurrences,
    /// The pairs of all words, each as often as its word occurs.
    n_pairs: i64,
}

impl Symbols {
    pub(super) const BYTES_PER_SLOT_OF_MERGING: usize = 12;

    /// No words yet.
    pub(super) fn new() -> Self {
        Self { slots: vec![BOUNDARY], words: Occurrences::new(), n_pairs: 0 }
    }

    /// Adds up the pairs of a word of two symbols or more, which is not kept thereby.
    pub(super) fn admit(&mut self, word: &[TokenId], count: u64) -> Result<i64, TrainError> {
        if word.len() as u64 > MAX_WORD {
            return Err(TrainErrorKind::WordTooLong { n_symbols: word.len() as u64, limit: MAX_WORD }.into());
        }
        let count = i64::try_from(count).map_err(|_| TrainErrorKind::CountOverflow)?;
        // All counts that ever begin are below five times the pairs of the words.
        let pairs = count.checked_mul(word.len() as i64 - 1).and_then(|n| self.n_pairs.checked_add(n));
        self.n_pairs = pairs.filter(|&n| n < MAX_COUNT).ok_or(TrainErrorKind::CountOverflow)?;
        Ok(count)
    }

    /// Whether one more word fits the 32-bit places.
    pub(super) fn has_room(&self, n_symbols: usize) -> bool {
        self.slots.len() as u64 + (n_symbols as u64) < MAX_SLOTS
    }

    /// Keeps a word that was admitted, or a part of it.
    pub(super) fn append(&mut self, word: &[TokenId], count: i64) {
        let start = self.slots.len();
        self.slots.extend_from_slice(word);
        self.slots.push(BOUNDARY);
        self.words.push(start, self.slots.len(), count);
    }

    /// Keeps no word; their pairs stay added up.
    pub(super) fn clear(&mut self) {
        *self = Self { n_pairs: self.n_pairs, ..Self::new() };
    }

    /// The memory of the words and a sketch of their pairs.
    pub(super) fn n_bytes_of_intake(&self) -> usize {
        self.slots.len() * 25 / 4 + self.words.n_bytes()
    }

    /// The memory of the words and of the places of their pairs, which are listed twice at most.
    pub(super) fn n_bytes_of_merging(&self) -> usize {
        self.slots.len() * Self::BYTES_PER_SLOT_OF_MERGING + self.words.n_bytes()
    }

    /// The number of slots, boundaries included.
    pub(super) fn n_slots(&self) -> usize {
        self.slots.len()
    }

    /// How often each word occurs.
    pub(super) fn words(&self) -> &Occurrences {
        &self.words
    }

    /// Every pair before any merge: its slot, its parts and the count of its word.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, TokenId, TokenId, i64)> {
        let (mut counts, mut count) = (self.words.counts(), 0);
        let both = self.slots.iter().zip(&self.slots[1..]).enumerate();
        both.filter_map(move |(slot, (&left, &right))| {
            if left == BOUNDARY {
                count = counts.next().unwrap_or(0);
                return None;
            }
            (right != BOUNDARY).then_some((slot as u32, left, right, count))
        })
    }

    /// Leaves out the symbols that are in no pair of `is_alive`, before any merge; they split their words.
    pub(super) fn drop_dead(&mut self, is_alive: impl Fn(TokenId, TokenId) -> bool) {
        let words = std::mem::take(&mut self.words);
        let mut counts = words.counts();
        // What is written lies before what is read: a part ends with its word or where a symbol is left out.
        let (mut to, mut part_start, mut count) = (1, 1, counts.next().unwrap_or(0));
        let (mut is_joined, mut at) = (false, 1);
        while let Some(&symbol) = self.slots.get(at) {
            let after = self.slots.get(at + 1).copied().unwrap_or(BOUNDARY);
            let joins = symbol != BOUNDARY && after != BOUNDARY && is_alive(symbol, after);
            if is_joined || joins {
                self.slots[to] = symbol;
                to += 1;
            } else if to > part_start {
                self.slots[to] = BOUNDARY;
                to += 1;
                self.words.push(part_start, to, count);
                part_start = to;
            }
            if symbol == BOUNDARY {
                count = counts.next().unwrap_or(0);
            }
            (is_joined, at) = (joins, at + 1);
        }
        self.slots.truncate(to);
        self.slots.shrink_to_fit();
    }

    /// Every symbol gets another id, before any merge.
    pub(super) fn renumber(&mut self, new_ids: &[TokenId]) {
        for slot in self.slots.iter_mut().filter(|slot| **slot != BOUNDARY) {
            *slot = new_ids[*slot as usize];
        }
    }

    /// How often the word of a slot occurs.
    #[inline]
    pub(super) fn count(&self, slot: u32) -> i64 {
        self.words.count(slot)
    }

    /// The slot of the right token if `left` and `right` are neighbours, `left` at `slot`.
    #[inline]
    pub(super) fn find(&self, slot: u32, left: TokenId, right: TokenId) -> Option<u32> {
        if self.slots[slot as usize] != left {
            return None;
        }
        let next = self.next(slot);
        (self.slots[next as usize] == right).then_some(next)
    }

    /// The slot and token before `slot`; the token may be [`BOUNDARY`].
    #[inline]
    pub(super) fn before(&self, slot: u32) -> (u32, TokenId) {
        let last = self.slots[slot as usize - 1];
        if !is_inner(last) {
            return (slot - 1, last);
        }
        let first = slot - (last & !INNER);
        (first, self.slots[first as usize])
    }

    /// The token behind the one at `slot`; may be [`BOUNDARY`].
    #[inline]
    pub(super) fn after(&self, slot: u32) -> TokenId {
        self.slots[self.next(slot) as usize]
    }

    #[inline]
    fn next(&self, slot: u32) -> u32 {
        let second = self.slots[slot as usize + 1];
        if is_inner(second) { slot + (second & !INNER) } else { slot + 1 }
    }

    /// Makes `merged` of the neighbours at `slot` and `next`.
    #[inline]
    pub(super) fn merge(&mut self, slot: u32, next: u32, merged: TokenId) {
        let end = self.next(next);
        let width = INNER | (end - slot);
        self.slots[slot as usize] = merged;
        // A slot in between keeps its old number: nothing looks there, but for a list of places that is older.
        self.slots[next as usize] = INNER;
        self.slots[slot as usize + 1] = width;
        self.slots[end as usize - 1] = width;
    }
}

fn is_inner(slot: u32) -> bool {
    slot & INNER != 0 && slot != BOUNDARY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_after_merges() {
        let mut symbols = Symbols::new();
        symbols.push(&[1, 2, 3, 4, 5], 7).unwrap();
        symbols.push(&[9], 7).unwrap();
        symbols.push(&[1, 2], 1 << 40).unwrap();
        let pairs: Vec<_> = symbols.pairs().map(|(slot, _, _, count)| (slot, count)).collect();
        assert_eq!(pairs, [(1, 7), (2, 7), (3, 7), (4, 7), (7, 1 << 40)]);
        symbols.merge(2, 3, 10);
        symbols.merge(2, 4, 11);
        assert_eq!(symbols.before(5), (2, 11));
        assert_eq!(symbols.before(2), (1, 1));
        assert_eq!(symbols.before(1), (0, BOUNDARY));
        assert_eq!(symbols.after(2), 5);
        assert_eq!(symbols.after(5), BOUNDARY);
        assert_eq!(symbols.find(1, 1, 11), Some(2));
        assert_eq!(symbols.find(3, 3, 4), None);
        assert_eq!((symbols.count(5), symbols.count(7)), (7, 1 << 40));
    }

    impl Symbols {
        /// What an intake does while everything fits.
        pub(in super::super) fn push(&mut self, word: &[TokenId], count: u64) -> Result<(), TrainError> {
            if word.len() > 1 {
                let count = self.admit(word, count)?;
                self.append(word, count);
            }
            Ok(())
        }
    }

    #[test]
    fn counts_that_do_not_fit() {
        let mut symbols = Symbols::new();
        assert_eq!(symbols.push(&[1, 2], 1 << 63).unwrap_err().kind(), &TrainErrorKind::CountOverflow);
        symbols.push(&[1, 2, 3], (1 << 59) - 1).unwrap();
        symbols.push(&[1, 2], 1).unwrap();
        assert_eq!(symbols.push(&[1, 2], 1).unwrap_err().kind(), &TrainErrorKind::CountOverflow);
    }

    #[test]
    fn dead_symbols_split_words() {
        let mut symbols = Symbols::new();
        symbols.push(&[1, 2, 3, 4, 1, 2, 2, 5], 7).unwrap();
        symbols.push(&[3, 4, 5], 8).unwrap();
        symbols.push(&[5, 1, 2], 9).unwrap();
        symbols.drop_dead(|left, right| (left, right) == (1, 2) || (left, right) == (2, 2));
        assert_eq!(symbols.slots, [BOUNDARY, 1, 2, BOUNDARY, 1, 2, 2, BOUNDARY, 1, 2, BOUNDARY]);
        let pairs: Vec<_> = symbols.pairs().map(|(slot, _, _, count)| (slot, count)).collect();
        assert_eq!(pairs, [(1, 7), (4, 7), (5, 7), (8, 9)]);
        assert_eq!([1, 4, 6, 8].map(|slot| symbols.count(slot)), [7, 7, 7, 9]);
    }
}

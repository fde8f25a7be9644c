//! What does the corpus look like after the merges so far?
//!
//! All distinct words lie in one array of slots, one slot a starting symbol, with a boundary slot around each word.
//! A merged token keeps its slots: its id stands in the first one, its width in the first and the last one, so that
//! both neighbours of a token are found in one step and a merge writes four numbers. No word is ever scanned again,
//! whatever its length. Memory: 12 B a slot.

use tokenloom_vocab::TokenId;

use super::{TrainError, TrainErrorKind};

/// The slot around words.
pub(super) const BOUNDARY: TokenId = TokenId::MAX;
/// A slot inside a merged token.
const INNER: TokenId = TokenId::MAX - 1;
/// Each slot can be listed three times as an occurrence of a pair, in 32 bits.
const MAX_SLOTS: u64 = 1 << 30;
const MAX_COUNT: i64 = 1 << 60;

/// The distinct words as token ids with their neighbours and counts.
#[derive(Debug)]
pub(super) struct Symbols {
    token: Vec<TokenId>,
    width: Vec<u32>,
    word: Vec<u32>,
    word_lengths: Vec<u32>,
    word_counts: Vec<i64>,
}

impl Symbols {
    /// No words yet.
    pub(super) fn new() -> Self {
        Self {
            token: vec![BOUNDARY],
            width: vec![1],
            word: vec![0],
            word_lengths: Vec::new(),
            word_counts: Vec::new(),
        }
    }

    /// Adds a word that occurs `count` times. A word of one symbol holds no pair and is left out.
    pub(super) fn push(&mut self, word: &[TokenId], count: u64) -> Result<(), TrainError> {
        if word.len() < 2 {
            return Ok(());
        }
        let n_symbols = self.token.len() as u64 + word.len() as u64 + 1;
        if n_symbols > MAX_SLOTS {
            return Err(TrainErrorKind::CorpusTooLarge { n_symbols, limit: MAX_SLOTS }.into());
        }
        let count = i64::try_from(count).map_err(|_| TrainErrorKind::CountOverflow)?;
        let index = self.word_counts.len() as u32;
        self.word_lengths.push(word.len() as u32);
        self.word_counts.push(count);
        self.token.extend_from_slice(word);
        self.token.push(BOUNDARY);
        self.width.resize(self.token.len(), 1);
        self.word.resize(self.token.len(), index);
        Ok(())
    }

    /// The number of slots, boundaries included.
    pub(super) fn n_slots(&self) -> usize {
        self.token.len()
    }

    /// Refuses counts that could overflow 64 bits: all that ever begin are below five times the pairs of the words.
    pub(super) fn check_counts(&self) -> Result<(), TrainError> {
        let mut words = self.word_lengths.iter().zip(&self.word_counts);
        let add =
            |sum: i64, (&n, &count): (&u32, &i64)| sum.checked_add(count.checked_mul(i64::from(n) - 1)?);
        match words.try_fold(0i64, add) {
            Some(sum) if sum < MAX_COUNT => Ok(()),
            _ => Err(TrainErrorKind::CountOverflow.into()),
        }
    }

    /// The pair that starts at each slot, before any merge.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, TokenId, TokenId)> {
        let both = self.token.iter().zip(&self.token[1..]).enumerate();
        both.filter(|&(_, (&left, &right))| left != BOUNDARY && right != BOUNDARY)
            .map(|(slot, (&left, &right))| (slot as u32, left, right))
    }

    /// How often the word of a slot occurs.
    #[inline]
    pub(super) fn count(&self, slot: u32) -> i64 {
        self.word_counts[self.word[slot as usize] as usize]
    }

    /// The slot of the right token if `left` and `right` are neighbours, `left` at `slot`.
    #[inline]
    pub(super) fn find(&self, slot: u32, left: TokenId, right: TokenId) -> Option<u32> {
        if self.token[slot as usize] != left {
            return None;
        }
        let next = slot + self.width[slot as usize];
        (self.token[next as usize] == right).then_some(next)
    }

    /// The slot and token before `slot`; the token may be [`BOUNDARY`].
    #[inline]
    pub(super) fn before(&self, slot: u32) -> (u32, TokenId) {
        let previous = slot - self.width[slot as usize - 1];
        (previous, self.token[previous as usize])
    }

    /// The token behind the one at `slot`; may be [`BOUNDARY`].
    #[inline]
    pub(super) fn after(&self, slot: u32) -> TokenId {
        self.token[(slot + self.width[slot as usize]) as usize]
    }

    /// Makes `merged` of the neighbours at `slot` and `next`.
    #[inline]
    pub(super) fn merge(&mut self, slot: u32, next: u32, merged: TokenId) {
        let width = next - slot + self.width[next as usize];
        self.token[slot as usize] = merged;
        self.token[next as usize] = INNER;
        self.width[slot as usize] = width;
        self.width[(slot + width - 1) as usize] = width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_after_merges() {
        let mut symbols = Symbols::new();
        symbols.push(&[1, 2, 3, 4, 5], 7).unwrap();
        symbols.push(&[9], 7).unwrap();
        symbols.push(&[1, 2], 3).unwrap();
        symbols.check_counts().unwrap();
        assert_eq!(symbols.pairs().map(|(slot, _, _)| slot).collect::<Vec<_>>(), [1, 2, 3, 4, 7]);
        symbols.merge(2, 3, 10);
        symbols.merge(2, 4, 11);
        assert_eq!(symbols.before(5), (2, 11));
        assert_eq!(symbols.before(2), (1, 1));
        assert_eq!(symbols.before(1), (0, BOUNDARY));
        assert_eq!(symbols.after(2), 5);
        assert_eq!(symbols.after(5), BOUNDARY);
        assert_eq!(symbols.find(1, 1, 11), Some(2));
        assert_eq!(symbols.find(3, 3, 4), None);
        assert_eq!((symbols.count(5), symbols.count(7)), (7, 3));
    }

    #[test]
    fn counts_that_do_not_fit() {
        let mut symbols = Symbols::new();
        assert_eq!(symbols.push(&[1, 2], 1 << 63).unwrap_err().kind(), &TrainErrorKind::CountOverflow);
        symbols.push(&[1, 2, 3], (1 << 59) - 1).unwrap();
        symbols.push(&[1, 2], 1).unwrap();
        symbols.check_counts().unwrap();
        symbols.push(&[1, 2], 1).unwrap();
        assert_eq!(symbols.check_counts().unwrap_err().kind(), &TrainErrorKind::CountOverflow);
    }
}

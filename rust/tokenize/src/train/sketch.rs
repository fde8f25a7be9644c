//! How often does a pair occur at most?
//!
//! Counts added up by a hash of the pair: a number is the count of all pairs that share it, so no pair is rarer than its
//! number says. Rare pairs, by far the most of a corpus of running text, are told by it without a table of them. Counts
//! stop at 2^32 - 1. O(1) a pair; memory: 4 B for every second symbol, at most 256 MB and a quarter of the limit.

use tokenloom_vocab::TokenId;

use super::pairs::hash;
use super::symbols::Symbols;

/// Upper bounds of the counts of pairs.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    totals: Vec<u32>,
    shift: u32,
}

impl Sketch {
    const MIN_BITS: u32 = 10;
    const MAX_BITS: u32 = 26;

    /// Of the pairs before any merge, where all memory is `limit` bytes.
    pub(super) fn new(symbols: &Symbols, limit: usize) -> Self {
        let n_totals = (symbols.n_slots() / 2).min(limit / 16).max(1);
        let n_bits = n_totals.ilog2().clamp(Self::MIN_BITS, Self::MAX_BITS);
        let mut this = Self { totals: vec![0u32; 1 << n_bits], shift: 64 - n_bits };
        symbols.pairs().for_each(|(_, left, right, count)| this.add_pair(left, right, count));
        this
    }

    /// The pairs of one more word.
    pub(super) fn add(&mut self, word: &[TokenId], count: i64) {
        word.windows(2).for_each(|pair| self.add_pair(pair[0], pair[1], count));
    }

    #[inline]
    fn add_pair(&mut self, left: TokenId, right: TokenId, count: i64) {
        let total = &mut self.totals[(hash(left, right) >> self.shift) as usize];
        *total = total.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// At least the count of a pair.
    #[inline]
    pub(super) fn at(&self, left: TokenId, right: TokenId) -> i64 {
        match self.totals[(hash(left, right) >> self.shift) as usize] {
            u32::MAX => i64::MAX,
            total => i64::from(total),
        }
    }

    /// About the `n`-th largest count, from 1 on; 0 if there are fewer pairs.
    pub(super) fn nth(&self, n: usize) -> i64 {
        let mut totals = self.totals.clone();
        match totals.len().checked_sub(n) {
            Some(at) if n > 0 => i64::from(*totals.select_nth_unstable(at).1),
            _ => 0,
        }
    }
}

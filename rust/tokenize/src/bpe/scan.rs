//! What does byte pair encoding make of a short pretoken?
//!
//! The definition as it stands: look through the ranks of all neighbours for the smallest, merge there, look again. Up
//! to 32 symbols lie in a few cache lines, and looking through them is cheaper than keeping a queue of them in order.
//! O(n²) time for at most 32 symbols, no memory but the stack.

use tokenloom_vocab::TokenId;

use super::merges::MergesBelow;

/// A pretoken of at most this many symbols.
pub(crate) const MAX_SYMBOLS: usize = 32;

/// The symbols of a short pretoken, and what neighbours become.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    n: usize,
    ids: [TokenId; MAX_SYMBOLS],
    /// By symbol: the rank of the merge with the next one, `NONE` where there is none.
    ranks: [u32; MAX_SYMBOLS],
    results: [TokenId; MAX_SYMBOLS],
}

const NONE: u32 = u32::MAX;

impl Row {
    pub(crate) fn new() -> Self {
        Self { n: 0, ids: [0; MAX_SYMBOLS], ranks: [NONE; MAX_SYMBOLS], results: [0; MAX_SYMBOLS] }
    }

    /// Adds a symbol behind the others; the caller adds at most [`MAX_SYMBOLS`].
    #[inline]
    pub(crate) fn push(&mut self, id: TokenId) {
        self.ids[self.n] = id;
        self.n += 1;
    }

    /// The tokens that the symbols become, and the last merge that was applied.
    pub(crate) fn merge_all(&mut self, merges: MergesBelow<'_>) -> (&[TokenId], Option<(TokenId, TokenId)>) {
        for at in 0..self.n {
            self.look_up(at, merges);
        }
        let mut last_merge = None;
        loop {
            let ranks = &self.ranks[..self.n];
            let smallest = ranks.iter().fold(NONE, |smallest, &rank| smallest.min(rank));
            if smallest == NONE {
                return (&self.ids[..self.n], last_merge);
            }
            let Some(at) = ranks.iter().position(|&rank| rank == smallest) else {
                return (&self.ids[..self.n], last_merge);
            };
            last_merge = Some((self.ids[at], self.ids[at + 1]));
            self.ids[at] = self.results[at];
            self.ids.copy_within(at + 2..self.n, at + 1);
            self.ranks.copy_within(at + 2..self.n, at + 1);
            self.results.copy_within(at + 2..self.n, at + 1);
            self.n -= 1;
            self.look_up(at, merges);
            if at > 0 {
                self.look_up(at - 1, merges);
            }
        }
    }

    #[inline]
    fn look_up(&mut self, at: usize, merges: MergesBelow<'_>) {
        let found = if at + 1 < self.n { merges.get(self.ids[at], self.ids[at + 1]) } else { None };
        (self.ranks[at], self.results[at]) = found.map_or((NONE, 0), |(rank, result)| (rank.0, result));
    }
}

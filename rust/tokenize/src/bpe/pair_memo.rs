//! Was this pair asked before?
//!
//! Running text asks about the same neighbours again and again, and an answer from here is one read where the spines
//! take a dozen. A table of 2^14 places, one for each hash; the newest pair has it. 128 KiB, made with the first pair.

use tokenloom_vocab::TokenId;

/// Which pairs of tokens may stand side by side, as far as they were asked lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairMemo {
    /// The pair in 52 bits, and whether it is valid in the lowest one.
    places: Vec<u64>,
}

const N_PLACES: usize = 1 << 14;

impl PairMemo {
    /// The answer, from `find` where it is not known.
    #[inline]
    pub(crate) fn look_up(&mut self, left: TokenId, right: TokenId, find: impl FnOnce() -> bool) -> bool {
        let pair = u64::from(left) << 26 | u64::from(right);
        let hash = (pair ^ pair >> 23).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let at = (hash >> (64 - N_PLACES.trailing_zeros())) as usize;
        if self.places.is_empty() {
            self.places.resize(N_PLACES, u64::MAX);
        }
        let known = self.places[at];
        if known >> 1 == pair {
            return known & 1 == 1;
        }
        let is_valid = find();
        self.places[at] = pair << 1 | u64::from(is_valid);
        is_valid
    }
}

//! Which tokens are allowed, one bit each?
//!
//! Bit `id % 32` of word `id / 32` is 1 where the token is allowed: the layout that xgrammar, llguidance and vLLM
//! share, so a mask crosses to any of them without a copy. Bits at and above the number of tokens are 0, so masks
//! compare and count by their words alone.

use crate::TokenId;

/// A set of tokens as packed 32-bit words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenMask {
    words: Vec<u32>,
    n_tokens: usize,
}

impl TokenMask {
    /// No token of `n_tokens` is allowed.
    pub fn empty(n_tokens: usize) -> Self {
        Self { words: vec![0; n_tokens.div_ceil(32)], n_tokens }
    }

    /// Takes packed words: missing words count as 0, excess bits are cleared.
    pub fn from_words(mut words: Vec<u32>, n_tokens: usize) -> Self {
        words.resize(n_tokens.div_ceil(32), 0);
        if let Some(last) = words.last_mut()
            && !n_tokens.is_multiple_of(32)
        {
            *last &= (1 << (n_tokens % 32)) - 1;
        }
        Self { words, n_tokens }
    }

    /// How many ids the mask speaks of.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The packed words.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The packed words, without a copy.
    pub fn into_words(self) -> Vec<u32> {
        self.words
    }

    /// Whether `id` is allowed; ids beyond the mask are not.
    #[inline]
    pub fn contains(&self, id: TokenId) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// Allows or forbids `id`. Ids beyond the mask are left alone.
    #[inline]
    pub fn set(&mut self, id: TokenId, allowed: bool) {
        if (id as usize) < self.n_tokens {
            let bit = 1 << (id % 32);
            let word = &mut self.words[id as usize / 32];
            if allowed {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    /// Whether no token is allowed.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many tokens are allowed.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The allowed ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as TokenId * 32 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TokenMask;

    #[test]
    fn bits_follow_the_shared_layout() {
        let mut mask = TokenMask::empty(70);
        for id in [0, 31, 32, 69, 70, 1000] {
            mask.set(id, true);
        }
        assert_eq!(mask.words(), [0x8000_0001, 1, 1 << 5]);
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 31, 32, 69]);
        assert_eq!(mask.count(), 4);
        assert!(mask.contains(69) && !mask.contains(70) && !mask.contains(1000));
        mask.set(31, false);
        assert!(!mask.contains(31));
    }

    #[test]
    fn excess_bits_of_foreign_words_are_cleared() {
        let mask = TokenMask::from_words(vec![u32::MAX; 5], 33);
        assert_eq!(mask.words(), [u32::MAX, 1]);
        assert_eq!(TokenMask::from_words(vec![u32::MAX], 32).words(), [u32::MAX]);
        assert_eq!(TokenMask::from_words(Vec::new(), 33).words(), [0, 0]);
        assert!(TokenMask::from_words(Vec::new(), 0).is_empty());
    }
}

//! Which pairs are there, how often, and where?
//!
//! A pair *begins* once: with the corpus, or in the step that makes the later of its two parts (see
//! [`queue`](super::queue) for why no token is made in two steps). The slots where it begins are listed then; later
//! steps can only end some of them, which is checked when the list is used. The lists lie one behind the other in one
//! array: a merge lists at most two slots and removes one token, so the array holds at most three slots a starting
//! symbol. Memory besides: 24 B and about 5 B of hash table a pair.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::TokenId;

use super::symbols::Symbols;

/// Two tokens side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) left: TokenId,
    pub(super) right: TokenId,
    /// Occurrences that have begun less those that were ended by merges of other pairs.
    pub(super) count: i64,
    start: u32,
    len: u32,
}

/// All pairs and where they began.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    slots: Vec<u32>,
    index: HashTable<u32>,
}

impl Pairs {
    /// The pairs of words before any merge.
    pub(super) fn count(symbols: &Symbols) -> Self {
        let mut this = Self::default();
        let mut pair_at = Vec::with_capacity(symbols.n_slots());
        for (slot, left, right) in symbols.pairs() {
            let found = this.find(left, right);
            let at = found.unwrap_or_else(|| this.insert(Pair { left, right, count: 0, start: 0, len: 0 }));
            this.pairs[at as usize].count += symbols.count(slot);
            this.pairs[at as usize].len += 1;
            pair_at.push(at);
        }
        let mut start = 0;
        for pair in &mut this.pairs {
            pair.start = start;
            start += std::mem::take(&mut pair.len);
        }
        this.slots.resize(start as usize, 0);
        for ((slot, _, _), &at) in symbols.pairs().zip(&pair_at) {
            let pair = &mut this.pairs[at as usize];
            this.slots[(pair.start + pair.len) as usize] = slot;
            pair.len += 1;
        }
        this
    }

    pub(super) fn len(&self) -> u32 {
        self.pairs.len() as u32
    }

    pub(super) fn pair(&self, at: u32) -> Pair {
        self.pairs[at as usize]
    }

    /// Where a pair began, ascending. Some slots may not hold it any more.
    pub(super) fn slots(&self, at: u32) -> &[u32] {
        let Pair { start, len, .. } = self.pairs[at as usize];
        &self.slots[start as usize..(start + len) as usize]
    }

    /// A pair begins at `slots`, `count` times in the corpus.
    pub(super) fn begin(&mut self, left: TokenId, right: TokenId, count: i64, slots: &[u32]) -> u32 {
        debug_assert!(self.find(left, right).is_none(), "{left} {right} begins twice");
        let start = self.slots.len() as u32;
        self.slots.extend_from_slice(slots);
        self.insert(Pair { left, right, count, start, len: slots.len() as u32 })
    }

    /// `count` occurrences of a pair end. A pair that would be too long a token never began.
    pub(super) fn end(&mut self, left: TokenId, right: TokenId, count: i64) {
        if let Some(at) = self.find(left, right) {
            self.pairs[at as usize].count -= count;
        }
    }

    fn find(&self, left: TokenId, right: TokenId) -> Option<u32> {
        let is = |&at: &u32| {
            let pair = &self.pairs[at as usize];
            (pair.left, pair.right) == (left, right)
        };
        self.index.find(hash(left, right), is).copied()
    }

    fn insert(&mut self, pair: Pair) -> u32 {
        let new = self.pairs.len() as u32;
        let Self { pairs, index, .. } = self;
        pairs.push(pair);
        let hash_at = |&at: &u32| hash(pairs[at as usize].left, pairs[at as usize].right);
        index.insert_unique(hash(pair.left, pair.right), new, hash_at);
        new
    }
}

#[inline]
fn hash(left: TokenId, right: TokenId) -> u64 {
    FxBuildHasher.hash_one(u64::from(left) << 32 | u64::from(right))
}

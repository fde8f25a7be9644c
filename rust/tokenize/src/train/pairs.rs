//! Which pairs are there, how often, and where?
//!
//! A pair is kept while it occurs at least `bound` times: one that begins rarer, or falls below, is never merged (see
//! [`queue`](super::queue)). The slots where a pair begins are listed then; later steps can only end some of them,
//! which is checked when the list is used. The lists lie one behind the other in one array in the order of their pairs.
//! Once half of it belongs to pairs that are gone, it is compacted. Memory: 4 B a slot of a kept pair, at most twice
//! that; 40 B, about 16 B of hash table and 24 B of the queue a kept pair.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::TokenId;

use super::sketch::Sketch;
use super::symbols::Symbols;

/// Two tokens side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) left: TokenId,
    pub(super) right: TokenId,
    /// Occurrences that have begun less those that were ended by merges of other pairs; 0 once it is given up.
    pub(super) count: i64,
    start: usize,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    left: TokenId,
    right: TokenId,
    at: u32,
}

/// All pairs that may be merged and where they began.
#[derive(Debug)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    slots: Vec<u32>,
    index: HashTable<Place>,
    bound: i64,
    /// Slots in the lists of pairs that are gone.
    n_idle: usize,
}

impl Pairs {
    /// Lists shorter than this are not compacted.
    const MIN_COMPACTED: usize = 1 << 16;

    const BYTES_PER_PAIR: usize = 80;

    /// The pairs of words before any merge that occur at least `bound` times. `sketch` knows no pair as rarer than it is.
    /// `None` if they take more than `n_bytes` beside the lists of their slots.
    pub(super) fn count(symbols: &Symbols, sketch: &Sketch, bound: i64, n_bytes: usize) -> Option<Self> {
        let mut this =
            Self { pairs: Vec::new(), slots: Vec::new(), index: HashTable::new(), bound, n_idle: 0 };
        let may_be = |&(_, left, right, _): &(u32, TokenId, TokenId, i64)| sketch.at(left, right) >= bound;
        for (_, left, right, count) in symbols.pairs().filter(may_be) {
            let at = this.find_or_insert(left, right);
            this.pairs[at as usize].count += count;
            this.pairs[at as usize].len += 1;
            if this.pairs.len() > n_bytes / Self::BYTES_PER_PAIR {
                return None;
            }
        }
        let mut n_slots = 0;
        for pair in &mut this.pairs {
            pair.start = n_slots;
            let n_listed = std::mem::take(&mut pair.len) as usize;
            if pair.count >= bound {
                n_slots += n_listed;
            } else {
                pair.count = 0;
            }
        }
        this.index.retain(|place| this.pairs[place.at as usize].count > 0);
        this.slots.resize(n_slots, 0);
        for (slot, left, right, _) in symbols.pairs().filter(may_be) {
            if let Some(at) = this.find(left, right) {
                let pair = &mut this.pairs[at as usize];
                this.slots[pair.start + pair.len as usize] = slot;
                pair.len += 1;
            }
        }
        Some(this)
    }

    /// The number of places of pairs.
    pub(super) fn len(&self) -> u32 {
        self.pairs.len() as u32
    }

    pub(super) fn pair(&self, at: u32) -> Pair {
        self.pairs[at as usize]
    }

    /// Where a pair began, ascending. Some slots may not hold it any more.
    pub(super) fn slots(&self, at: u32) -> &[u32] {
        let Pair { start, len, .. } = self.pairs[at as usize];
        &self.slots[start..start + len as usize]
    }

    /// A pair begins at `slots`, `count` times in the corpus. If it is there already it moves to a new place.
    pub(super) fn begin(&mut self, left: TokenId, right: TokenId, count: i64, slots: &[u32]) {
        let start = self.slots.len();
        let mut all_count = count;
        if let Some(at) = self.find(left, right) {
            let old = self.pairs[at as usize];
            all_count += old.count;
            self.slots.extend_from_within(old.start..old.start + old.len as usize);
            self.give_up(at);
        } else if count < self.bound {
            return;
        }
        self.slots.extend_from_slice(slots);
        let listed = &mut self.slots[start..];
        if listed.len() > slots.len() {
            listed.sort_unstable();
            let mut n_kept = 1;
            for at in 1..listed.len() {
                if listed[at] != listed[n_kept - 1] {
                    listed[n_kept] = listed[at];
                    n_kept += 1;
                }
            }
            self.slots.truncate(start + n_kept);
        }
        let len = (self.slots.len() - start) as u32;
        let at = self.find_or_insert(left, right);
        self.pairs[at as usize] = Pair { left, right, count: all_count, start, len };
    }

    /// `count` occurrences of a pair end. A pair that would be too long a token never began.
    pub(super) fn end(&mut self, left: TokenId, right: TokenId, count: i64) {
        if let Some(at) = self.find(left, right) {
            let pair = &mut self.pairs[at as usize];
            pair.count -= count;
            if pair.count < self.bound {
                self.give_up(at);
            }
        }
    }

    /// A pair is merged, refused or too rare: it is known no more.
    pub(super) fn give_up(&mut self, at: u32) {
        let pair = &mut self.pairs[at as usize];
        pair.count = 0;
        self.n_idle += std::mem::take(&mut pair.len) as usize;
        let (left, right) = (pair.left, pair.right);
        if let Ok(entry) = self.index.find_entry(hash(left, right), |place| place.at == at) {
            entry.remove();
        }
    }

    /// Whether it is time to [`compact`](Self::compact).
    pub(super) fn is_idle(&self) -> bool {
        self.n_idle > Self::MIN_COMPACTED.max(self.slots.len() / 2)
    }

    /// Gives back the memory of pairs that are gone and of slots where `holds` says that the pair is not any more.
    /// Pairs change their places.
    pub(super) fn compact(&mut self, holds: impl Fn(u32, TokenId, TokenId) -> bool) {
        let mut n_slots = 0;
        let slots = &mut self.slots;
        self.pairs.retain_mut(|pair| {
            let start = n_slots;
            for from in pair.start..pair.start + pair.len as usize {
                let slot = slots[from];
                if holds(slot, pair.left, pair.right) {
                    slots[n_slots] = slot;
                    n_slots += 1;
                }
            }
            (pair.start, pair.len) = (start, (n_slots - start) as u32);
            pair.count > 0
        });
        self.slots.truncate(n_slots);
        self.n_idle = 0;
        self.index.clear();
        for (at, pair) in self.pairs.iter().enumerate() {
            let place = Place { left: pair.left, right: pair.right, at: at as u32 };
            self.index.insert_unique(hash(pair.left, pair.right), place, rehash);
        }
    }

    #[inline]
    fn find(&self, left: TokenId, right: TokenId) -> Option<u32> {
        let is = |place: &Place| (place.left, place.right) == (left, right);
        self.index.find(hash(left, right), is).map(|place| place.at)
    }

    fn find_or_insert(&mut self, left: TokenId, right: TokenId) -> u32 {
        let at = self.pairs.len() as u32;
        let is = |place: &Place| (place.left, place.right) == (left, right);
        match self.index.entry(hash(left, right), is, rehash) {
            Entry::Occupied(entry) => entry.get().at,
            Entry::Vacant(entry) => {
                entry.insert(Place { left, right, at });
                self.pairs.push(Pair { left, right, count: 0, start: 0, len: 0 });
                at
            }
        }
    }
}

fn rehash(place: &Place) -> u64 {
    hash(place.left, place.right)
}

#[inline]
pub(super) fn hash(left: TokenId, right: TokenId) -> u64 {
    FxBuildHasher.hash_one(u64::from(left) << 32 | u64::from(right))
}

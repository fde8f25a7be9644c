//! Which transition leaves this state with this token?
//!
//! Open addressing over numbers of edges: a word holds half of the hash and the number, so that a probe reads one cache
//! line of the table and the edge itself only when the halves agree, and growing reads no edges at all. The home of an
//! entry is its hash scaled to the capacity, and entries stand in ascending order: a probe ends at the first larger hash,
//! also in vain, growth is one pass from front to back in both tables, and any capacity will do: it grows by half.

use tokenloom_tokenize::prefetch::{prefetch, prefetch_whole};

/// No entry here.
const EMPTY: u64 = 0;
const MIN_CAPACITY: usize = 16;
/// A table of so many places lies in few lines.
const SMALL: usize = 128;
/// Places behind the last home, so that hardly any entry finds none.
const MARGIN: usize = 16;

/// A table of edge numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeIndex {
    /// The last place is always empty.
    slots: Vec<u64>,
    n_homes: usize,
    n_entries: usize,
}

impl EdgeIndex {
    /// Bytes held.
    pub(super) fn n_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    /// Asks for all of a small table.
    pub(super) fn ask(&self) {
        if self.slots.len() <= SMALL {
            prefetch_whole(&*self.slots);
        }
    }

    /// Asks for the memory that [`EdgeIndex::find`] reads first.
    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        prefetch(&self.slots, home(hash, self.n_homes));
    }

    /// The edge of this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        for &slot in self.slots.get(home(hash, self.n_homes)..)? {
            let found = (slot >> 32) as u32;
            if slot == EMPTY || found > hash {
                return None;
            }
            let edge = (slot as u32).wrapping_sub(1);
            if found == hash && is_it(edge) {
                return Some(edge);
            }
        }
        None
    }

    /// Adds an edge that is not there.
    pub(super) fn insert(&mut self, hash: u32, edge: u32) {
        if 5 * (self.n_entries + 1) > 4 * self.n_homes {
            self.grow();
        }
        self.n_entries += 1;
        let mut place = home(hash, self.n_homes);
        let mut slot = u64::from(hash) << 32 | u64::from(edge + 1);
        // The smaller ones stay, the larger ones move on by one.
        while self.slots[place] != EMPTY {
            if self.slots[place] > slot {
                std::mem::swap(&mut self.slots[place], &mut slot);
            }
            place += 1;
        }
        self.slots[place] = slot;
        if place + 1 == self.slots.len() {
            self.slots.reserve_exact(MARGIN);
            self.slots.resize(place + 1 + MARGIN, EMPTY);
        }
    }

    fn grow(&mut self) {
        self.n_homes = (self.n_homes + self.n_homes / 2).max(MIN_CAPACITY);
        let mut slots = vec![EMPTY; self.n_homes + MARGIN];
        let mut free = 0;
        for &slot in self.slots.iter().filter(|&&slot| slot != EMPTY) {
            let place = home((slot >> 32) as u32, self.n_homes).max(free);
            if place + 1 >= slots.len() {
                slots.resize(place + 1 + MARGIN, EMPTY);
            }
            slots[place] = slot;
            free = place + 1;
        }
        self.slots = slots;
    }
}

#[inline]
fn home(hash: u32, n_homes: usize) -> usize {
    ((u64::from(hash) * n_homes as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes that crowd at both ends of the table, where entries move behind the last home.
        #[test]
        fn finds_what_was_added_and_nothing_else(
            hashes in prop::collection::vec(prop_oneof![0u32..9, u32::MAX - 8..=u32::MAX, any::<u32>()], 0..200),
            absent in any::<u32>(),
        ) {
            let mut index = EdgeIndex::default();
            for (edge, &hash) in (0..).zip(&hashes) {
                prop_assert_eq!(index.find(hash, |found| found == edge), None);
                index.insert(hash, edge);
            }
            for (edge, &hash) in (0..).zip(&hashes) {
                prop_assert_eq!(index.find(hash, |found| found == edge), Some(edge));
            }
            prop_assert_eq!(index.find(absent, |_| true).is_some(), hashes.contains(&absent));
            prop_assert!(index.slots.iter().filter(|&&slot| slot != EMPTY).is_sorted());
        }
    }
}

//! Which transition leaves this state with this token?
//!
//! Open addressing over numbers of edges: a word holds half of the hash and the number, so that a probe reads one cache
//! line of the table and the edge itself only when the halves agree, and growing reads no edges at all. The place of an
//! entry is its hash scaled to the capacity, so entries stand nearly in order of their hashes, growth is one pass from
//! front to back in both tables, and any capacity will do: it grows by half.

/// No entry here.
const EMPTY: u64 = 0;
const MIN_CAPACITY: usize = 16;

/// A table of edge numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeIndex {
    slots: Vec<u64>,
    n_entries: usize,
}

impl EdgeIndex {
    /// Bytes held.
    pub(super) fn n_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    /// The edge of this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut place = place(hash, self.slots.len());
        loop {
            let slot = self.slots[place];
            if slot == EMPTY {
                return None;
            }
            let edge = slot as u32 - 1;
            if (slot >> 32) as u32 == hash && is_it(edge) {
                return Some(edge);
            }
            place = next(place, self.slots.len());
        }
    }

    /// Adds an edge that is not there.
    pub(super) fn insert(&mut self, hash: u32, edge: u32) {
        if 5 * (self.n_entries + 1) > 4 * self.slots.len() {
            self.grow();
        }
        put(&mut self.slots, u64::from(hash) << 32 | u64::from(edge + 1));
        self.n_entries += 1;
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() + self.slots.len() / 2).max(MIN_CAPACITY);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; capacity]);
        for slot in old {
            if slot != EMPTY {
                put(&mut self.slots, slot);
            }
        }
    }
}

fn put(slots: &mut [u64], slot: u64) {
    let mut place = place((slot >> 32) as u32, slots.len());
    while slots[place] != EMPTY {
        place = next(place, slots.len());
    }
    slots[place] = slot;
}

#[inline]
fn place(hash: u32, capacity: usize) -> usize {
    ((u64::from(hash) * capacity as u64) >> 32) as usize
}

#[inline]
fn next(place: usize, capacity: usize) -> usize {
    if place + 1 == capacity { 0 } else { place + 1 }
}

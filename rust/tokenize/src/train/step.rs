//! What changes when all occurrences of a pair are merged?
//!
//! Merging `x y` into `z` between `p` and `n` ends the pairs `p x` and `y n` and begins `p z` and `z n`. The changes of
//! one step are gathered by neighbour in arrays indexed by token, so that the pair table is asked once per distinct
//! neighbour and not once per occurrence. In `x y x y` the pair `z x` that begins in the middle is ended by the second
//! merge like any other; in `x x x` the left two merge.

use tokenloom_vocab::TokenId;

use super::pairs::Pairs;
use super::symbols::{BOUNDARY, Symbols};

const UNTOUCHED: u32 = u32::MAX;

/// What a step does to the pairs on one side of the merged ones.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    ended: i64,
    begun: i64,
    n_slots: u32,
}

/// What a step does to the pairs with one neighbour: `p x` and `p z` on the left, `y n` and `z n` on the right.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    neighbour: TokenId,
    left: Side,
    right: Side,
}

/// Scratch space for the changes of one step.
#[derive(Debug, Default)]
pub(super) struct Step {
    changes: Vec<Change>,
    /// The place in `changes` of each token.
    change_of: Vec<u32>,
    /// Where `p z` and `z n` begin: the place of the neighbour in `changes`, and the slot.
    left_slots: Vec<(u32, u32)>,
    right_slots: Vec<(u32, u32)>,
}

/// The merge to make: `left` and `right` become `merged`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merging {
    pub(super) left: TokenId,
    pub(super) right: TokenId,
    pub(super) merged: TokenId,
}

impl Step {
    /// Merges the pair at those of `slots` (ascending) that hold it and counts the pairs around anew. A pair with
    /// `merged` begins only if `may_begin` says so of its other part. The pairs that began are the last ones in `pairs`.
    pub(super) fn apply(
        &mut self,
        merging: Merging,
        slots: &[u32],
        symbols: &mut Symbols,
        pairs: &mut Pairs,
        may_begin: impl Fn(TokenId) -> bool,
    ) {
        let Merging { left, right, merged } = merging;
        self.merge_all(merging, slots, symbols, may_begin);
        let left_slots =
            by_neighbour(&self.left_slots, self.changes.iter().map(|change| change.left.n_slots));
        let right_slots =
            by_neighbour(&self.right_slots, self.changes.iter().map(|change| change.right.n_slots));
        let (mut left_rest, mut right_rest) = (left_slots.as_slice(), right_slots.as_slice());
        for change in &self.changes {
            if let Some(slots) = left_rest.split_off(..change.left.n_slots as usize).filter(|s| !s.is_empty())
            {
                pairs.begin(change.neighbour, merged, change.left.begun, slots);
            }
            if let Some(slots) =
                right_rest.split_off(..change.right.n_slots as usize).filter(|s| !s.is_empty())
            {
                pairs.begin(merged, change.neighbour, change.right.begun, slots);
            }
        }
        // Behind all beginnings: `z x` may begin and end in one step.
        for change in self.changes.drain(..) {
            if change.left.ended > 0 {
                pairs.end(change.neighbour, left, change.left.ended);
            }
            if change.right.ended > 0 {
                pairs.end(right, change.neighbour, change.right.ended);
            }
            self.change_of[change.neighbour as usize] = UNTOUCHED;
        }
        self.left_slots.clear();
        self.right_slots.clear();
    }

    fn merge_all(
        &mut self,
        Merging { left, right, merged }: Merging,
        slots: &[u32],
        symbols: &mut Symbols,
        may_begin: impl Fn(TokenId) -> bool,
    ) {
        for &slot in slots {
            let Some(next) = symbols.find(slot, left, right) else { continue };
            let count = symbols.count(slot);
            let (before_slot, before) = symbols.before(slot);
            symbols.merge(slot, next, merged);
            let after = symbols.after(slot);
            if before != BOUNDARY {
                let at = self.touch(before);
                if self.changes[at as usize].left.add(count, may_begin(before)) {
                    self.left_slots.push((at, before_slot));
                }
            }
            if after != BOUNDARY {
                let at = self.touch(after);
                if self.changes[at as usize].right.add(count, may_begin(after)) {
                    self.right_slots.push((at, slot));
                }
            }
        }
    }

    fn touch(&mut self, neighbour: TokenId) -> u32 {
        if self.change_of.len() <= neighbour as usize {
            self.change_of.resize(neighbour as usize + 1, UNTOUCHED);
        }
        let at = &mut self.change_of[neighbour as usize];
        if *at == UNTOUCHED {
            *at = self.changes.len() as u32;
            self.changes.push(Change { neighbour, ..Change::default() });
        }
        *at
    }
}

impl Side {
    fn add(&mut self, count: i64, begins: bool) -> bool {
        self.ended += count;
        if begins {
            self.begun += count;
            self.n_slots += 1;
        }
        begins
    }
}

/// The slots sorted by place, ascending among those of one place: a counting sort.
fn by_neighbour(slots: &[(u32, u32)], n_slots: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut start = 0;
    let start_of_next = |n| {
        start += n;
        start - n
    };
    let mut next: Vec<u32> = n_slots.map(start_of_next).collect();
    let mut sorted = vec![0; slots.len()];
    for &(at, slot) in slots {
        sorted[next[at as usize] as usize] = slot;
        next[at as usize] += 1;
    }
    sorted
}

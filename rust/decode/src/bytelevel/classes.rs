//! Which characters do the split patterns tell apart?
//!
//! Two characters are in one class if no set of any pattern holds one without the other. A handful of classes stands
//! for all of Unicode, so the automaton of `stream` is a small table.

use std::collections::HashMap;

use regex_syntax::hir::ClassUnicode;

/// A partition of Unicode.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// First code point and class of each run, ascending.
    runs: Vec<(u32, u16)>,
    ascii: [u16; 128],
    /// For each class, which sets hold it.
    members: Vec<Box<[bool]>>,
}

impl Classes {
    /// The coarsest partition that respects `sets`.
    pub(super) fn new(sets: &[&ClassUnicode]) -> Self {
        let mut cuts = vec![0];
        for set in sets {
            for range in set.ranges() {
                cuts.extend([u32::from(range.start()), u32::from(range.end()) + 1]);
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut next = vec![0_usize; sets.len()];
        let mut known: HashMap<Box<[bool]>, u16> = HashMap::new();
        let mut this = Self { runs: Vec::new(), ascii: [0; 128], members: Vec::new() };
        for cut in cuts {
            let signature: Box<[bool]> = sets
                .iter()
                .zip(&mut next)
                .map(|(set, next)| {
                    let ranges = set.ranges();
                    while ranges.get(*next).is_some_and(|range| u32::from(range.end()) < cut) {
                        *next += 1;
                    }
                    ranges.get(*next).is_some_and(|range| u32::from(range.start()) <= cut)
                })
                .collect();
            let class = *known.entry(signature).or_insert_with_key(|signature| {
                this.members.push(signature.clone());
                this.members.len() as u16 - 1
            });
            if this.runs.last().is_none_or(|&(_, last)| last != class) {
                this.runs.push((cut, class));
            }
        }
        this.ascii = std::array::from_fn(|c| this.search(c as u32));
        this
    }

    fn search(&self, c: u32) -> u16 {
        self.runs[self.runs.partition_point(|&(start, _)| start <= c) - 1].1
    }

    /// The class of a character.
    #[inline]
    pub(super) fn of(&self, c: char) -> u16 {
        self.ascii.get(c as usize).copied().unwrap_or_else(|| self.search(u32::from(c)))
    }

    /// The classes of the code points from `first` to `last`.
    pub(super) fn between(&self, first: u32, last: u32) -> Vec<u16> {
        let lo = self.runs.partition_point(|&(start, _)| start <= first) - 1;
        let hi = self.runs.partition_point(|&(start, _)| start <= last);
        let mut classes: Vec<u16> = self.runs[lo..hi].iter().map(|&(_, class)| class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// How many classes there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether set number `set` holds the characters of `class`.
    pub(super) fn in_set(&self, class: u16, set: u16) -> bool {
        self.members[usize::from(class)][usize::from(set)]
    }
}

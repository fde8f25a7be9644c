//! How often does the word occur that this slot belongs to?
//!
//! One bit for each slot that begins a word, and the number of such bits before every 64th slot: the word of a slot is
//! told by one look into each, its count by one more. Memory: 2 bits a slot, 4 B a word; the rare counts that do not fit
//! 32 bits stand beside.

use rustc_hash::FxHashMap;

/// In the place of a count that does not fit.
const LARGE: u32 = u32::MAX;

/// The counts of words by their slots.
#[derive(Debug, Default)]
pub(super) struct Occurrences {
    marks: Vec<Mark>,
    counts: Vec<u32>,
    large: FxHashMap<u32, i64>,
}

/// Of 64 slots.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Which of them begin a word.
    starts: u64,
    /// How many words begin before them.
    n_before: u32,
}

impl Occurrences {
    /// No words.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A word lies at `start..end`, behind all others, and occurs `count` times.
    pub(super) fn push(&mut self, start: usize, end: usize, count: i64) {
        self.reach(start);
        if let Some(mark) = self.marks.get_mut(start / 64) {
            mark.starts |= 1 << (start % 64);
        }
        match u32::try_from(count) {
            Ok(count) if count != LARGE => self.counts.push(count),
            _ => {
                self.large.insert(self.counts.len() as u32, count);
                self.counts.push(LARGE);
            }
        }
        self.reach(end - 1);
    }

    fn reach(&mut self, slot: usize) {
        let n_before = self.counts.len() as u32;
        self.marks.resize((slot / 64 + 1).max(self.marks.len()), Mark { starts: 0, n_before });
    }

    /// The count of the word that `slot` lies in.
    #[inline]
    pub(super) fn count(&self, slot: u32) -> i64 {
        let Mark { starts, n_before } = self.marks[slot as usize / 64];
        let up_to_here = starts << (63 - slot % 64);
        self.count_of(n_before + up_to_here.count_ones() - 1)
    }

    #[inline]
    fn count_of(&self, word: u32) -> i64 {
        match self.counts[word as usize] {
            LARGE => self.large.get(&word).copied().unwrap_or(0),
            count => i64::from(count),
        }
    }

    /// The memory that is held.
    pub(super) fn n_bytes(&self) -> usize {
        self.marks.len() * size_of::<Mark>() + self.counts.len() * 4 + self.large.len() * 24
    }

    /// The counts of all words in order.
    pub(super) fn counts(&self) -> impl Iterator<Item = i64> {
        (0..self.counts.len() as u32).map(|word| self.count_of(word))
    }

    /// The `n`-th largest count, from 1 on, or a little less; none if there are fewer words.
    pub(super) fn nth_count(&self, n: usize) -> Option<i64> {
        let mut counts = self.counts.clone();
        let at = counts.len().checked_sub(n).filter(|_| n > 0)?;
        Some(i64::from(*counts.select_nth_unstable(at).1))
    }
}

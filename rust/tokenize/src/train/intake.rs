//! What is kept of the words of a stage if not all of them fit?
//!
//! Symbols that no merge above a bound can touch are left out (see [`queue`](super::queue)); a larger bound leaves out
//! more. While everything fits, all is kept and the bound is found afterwards. When it does not, what is there becomes a
//! sketch of the pairs, and so does everything behind it. A second pass then keeps the symbols beside a pair that the
//! sketch does not know to be rarer than a bound, and doubles the bound where they, too, take too much room. Merging
//! goes down to that bound; the merges made by then leave fewer symbols to the next pass, which gets along with a lower
//! one. So memory decides the number of passes, never a merge. One pass is O(n); each halves the bound at least, or the
//! training ends with the memory that it would have needed.

use tokenloom_vocab::TokenId;

use super::pairs::Pairs;
use super::sketch::Sketch;
use super::symbols::Symbols;
use super::{TrainError, TrainErrorKind};

/// Takes in the words of a stage, within a limit of memory.
#[derive(Debug)]
pub(super) struct Intake {
    symbols: Symbols,
    kept: Kept,
    n_bytes: usize,
}

#[derive(Debug)]
enum Kept {
    All,
    /// No symbols, only the pairs in a sketch and the counts of words by size.
    Sketch(Sketch, Tally),
    /// Symbols beside pairs that may reach the bound.
    Above {
        sketch: Sketch,
        bound: i64,
        ceiling: i64,
    },
    /// Nothing: not even the symbols above the ceiling fit. How many there are.
    Nothing {
        sketch: Sketch,
        ceiling: i64,
        n_slots: u64,
    },
}

/// What the guess of a bound may ask for: the n-th largest count of a word, and the sketch.
pub(super) type Guess<'a> = &'a dyn Fn(&dyn Fn(usize) -> Option<i64>, &Sketch) -> i64;

/// What is merged now: symbols and pairs above a bound.
pub(super) struct Taken {
    pub(super) symbols: Symbols,
    pub(super) pairs: Pairs,
    pub(super) bound: i64,
}

/// Gives all words to an intake. It answers whether the ids are others since, so that sketches are worth nothing.
pub(super) type Fill<'a> = &'a mut dyn FnMut(&mut Intake) -> Result<bool, TrainError>;

/// The symbols and pairs above a bound that is at least `bound`, or else the guess, and as much larger as memory asks
/// for. Beyond `ceiling` there is no point.
pub(super) fn take(
    guess: Guess<'_>,
    bound: Option<i64>,
    floor: i64,
    ceiling: i64,
    n_bytes: usize,
    fill: Fill<'_>,
) -> Result<Taken, TrainError> {
    loop {
        let mut intake = Intake { symbols: Symbols::new(), kept: Kept::All, n_bytes };
        let is_renamed = fill(&mut intake)?;
        let (sketch, bound) = match intake.kept {
            Kept::Sketch(..) if is_renamed => continue,
            Kept::Sketch(sketch, tally) => {
                let bound = bound.unwrap_or_else(|| guess(&|n| tally.nth(n), &sketch)).max(floor);
                let kept = Kept::Above { sketch, bound, ceiling };
                intake = Intake { symbols: Symbols::new(), kept, n_bytes };
                fill(&mut intake)?;
                match intake.kept {
                    Kept::Above { sketch, bound, .. } => (sketch, bound),
                    Kept::Nothing { n_slots, .. } => return Err(too_little(n_slots, n_bytes)),
                    Kept::All | Kept::Sketch(..) => continue,
                }
            }
            _ => {
                let sketch = Sketch::new(&intake.symbols, n_bytes);
                let nth = |n| intake.symbols.words().nth_count(n);
                let bound = bound.unwrap_or_else(|| guess(&nth, &sketch)).max(floor);
                (sketch, bound)
            }
        };
        return squeezed(intake.symbols, sketch, bound, ceiling, n_bytes);
    }
}

/// Raises the bound until symbols and pairs fit.
fn squeezed(
    mut symbols: Symbols,
    sketch: Sketch,
    mut bound: i64,
    ceiling: i64,
    n_bytes: usize,
) -> Result<Taken, TrainError> {
    loop {
        if bound > 1 {
            symbols.drop_dead(|left, right| sketch.at(left, right) >= bound);
        }
        let left = n_bytes.checked_sub(symbols.n_bytes_of_merging());
        if let Some(pairs) = left.and_then(|left| Pairs::count(&symbols, &sketch, bound, left)) {
            return Ok(Taken { symbols, pairs, bound });
        }
        bound = bound.saturating_mul(2);
        if bound > ceiling {
            return Err(too_little(symbols.n_slots() as u64, n_bytes));
        }
    }
}

fn too_little(n_slots: u64, limit: usize) -> TrainError {
    // Symbols and their lists of places, and as much for the pairs as `take` leaves them; or it was the pairs.
    let limit = limit as u64;
    let needed = n_slots.saturating_mul(4 * Symbols::BYTES_PER_SLOT_OF_MERGING as u64 / 3).max(limit / 4 * 5);
    TrainErrorKind::MemoryTooSmall { needed, limit, n_symbols: n_slots }.into()
}

impl Intake {
    /// A word of so many occurrences.
    pub(super) fn push(&mut self, word: &[TokenId], count: u64) -> Result<(), TrainError> {
        if word.len() < 2 {
            return Ok(());
        }
        let count = self.symbols.admit(word, count)?;
        match &mut self.kept {
            Kept::All => {
                if self.symbols.has_room(word.len())
                    && self.symbols.n_bytes_of_intake() <= self.n_bytes / 4 * 3
                {
                    self.symbols.append(word, count);
                } else {
                    let (mut sketch, mut tally) =
                        (Sketch::new(&self.symbols, self.n_bytes), Tally::default());
                    self.symbols.words().counts().for_each(|count| tally.add(count));
                    sketch.add(word, count);
                    tally.add(count);
                    self.symbols.clear();
                    self.kept = Kept::Sketch(sketch, tally);
                }
            }
            Kept::Sketch(sketch, tally) => {
                sketch.add(word, count);
                tally.add(count);
            }
            Kept::Above { sketch, bound, .. } => {
                let is_alive = |left, right| sketch.at(left, right) >= *bound;
                each_alive(word, is_alive, |part| self.symbols.append(part, count));
                self.make_room();
            }
            Kept::Nothing { sketch, ceiling, n_slots } => {
                let is_alive = |left, right| sketch.at(left, right) >= *ceiling;
                each_alive(word, is_alive, |part| *n_slots += part.len() as u64 + 1);
            }
        }
        Ok(())
    }

    /// Ids change between passes.
    pub(super) fn renumber(&mut self, new_ids: &[TokenId]) {
        self.symbols.renumber(new_ids);
    }

    /// Doubles the bound until what is kept fits, or gives up.
    fn make_room(&mut self) {
        let Kept::Above { sketch, bound, ceiling } = &mut self.kept else { return };
        // A word is let in whole, so there is room for one more behind the limit.
        while self.symbols.n_bytes_of_merging() > self.n_bytes / 4 * 3 || !self.symbols.has_room(1 << 20) {
            *bound = bound.saturating_mul(2);
            if *bound > *ceiling {
                let (n_slots, ceiling) = (self.symbols.n_slots() as u64, *ceiling);
                let sketch = std::mem::take(sketch);
                self.symbols.clear();
                self.kept = Kept::Nothing { sketch, ceiling, n_slots };
                return;
            }
            self.symbols.drop_dead(|left, right| sketch.at(left, right) >= *bound);
        }
    }
}

/// The runs of symbols each of which is in a pair that is alive.
fn each_alive(
    word: &[TokenId],
    is_alive: impl Fn(TokenId, TokenId) -> bool,
    mut visit: impl FnMut(&[TokenId]),
) {
    let (mut start, mut is_joined) = (0, false);
    for at in 0..word.len() {
        let joins = word.get(at + 1).is_some_and(|&after| is_alive(word[at], after));
        if !(is_joined || joins) {
            if at > start {
                visit(&word[start..at]);
            }
            start = at + 1;
        }
        is_joined = joins;
    }
    if word.len() > start {
        visit(&word[start..]);
    }
}

/// How many words occur how often, in steps of an eighth.
#[derive(Debug)]
struct Tally {
    n_words: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { n_words: vec![0; 64 * 8] }
    }
}

impl Tally {
    fn add(&mut self, count: i64) {
        let count = count.max(1) as u64;
        let octave = count.ilog2();
        let eighth = if octave >= 3 { count >> (octave - 3) & 7 } else { count << (3 - octave) & 7 };
        self.n_words[octave as usize * 8 + eighth as usize] += 1;
    }

    /// The `n`-th largest count, from 1 on, or up to an eighth less.
    fn nth(&self, n: usize) -> Option<i64> {
        let mut left = n as u64;
        for (at, &n_words) in self.n_words.iter().enumerate().rev() {
            if n_words >= left {
                return (n > 0).then(|| ((8 + at as i64 % 8) << (at / 8)) >> 3);
            }
            left -= n_words;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_size() {
        let mut tally = Tally::default();
        let counts = [1, 2, 3, 5, 9, 15, 16, 17, 1000, 1 << 59];
        counts.iter().for_each(|&count| tally.add(count));
        let nth: Vec<i64> = (1..=10).map(|n| tally.nth(n).unwrap()).collect();
        assert_eq!(nth, [1 << 59, 960, 16, 16, 15, 9, 5, 3, 2, 1]);
        assert_eq!((tally.nth(0), tally.nth(11)), (None, None));
    }

    #[test]
    fn the_same_symbols_are_alive_at_once_or_one_after_the_other() {
        let word = [1, 2, 3, 4, 1, 2, 2, 5, 1];
        let is_alive = |left, right| (left, right) == (1, 2) || (left, right) == (2, 2) || left == 9;
        let mut parts = Vec::new();
        each_alive(&word, is_alive, |part| parts.push(part.to_vec()));
        assert_eq!(parts, [vec![1, 2], vec![1, 2, 2]]);
        let mut symbols = Symbols::new();
        symbols.push(&word, 1).unwrap();
        symbols.drop_dead(is_alive);
        assert_eq!(symbols.pairs().count(), 3);
    }
}

//! How far from the end of a text are its pretokens settled, whatever is appended?
//!
//! Cut a text into runs of white space, of letters and marks, of numbers, and of everything else. A published pattern matches at
//! most a prefix character, a run, and a contraction or a run of line breaks behind it, and looks one character further: a match
//! that starts in one run never looks beyond the fourth run after it. So a match that starts before the last five runs is
//! settled, and so is text between matches that ends there; with several steps each step looks five runs further. Patterns
//! without a scanner, and those that span words, have no such bound.

use super::class::{CLASS_TABLE, LETTER, MARK, NUMBER, SPACE};
use super::scan::Scanner;
use super::{Finder, Pretokenizers, Step};

/// Runs that a match can look at, its own included.
const RUNS_PER_STEP: usize = 5;

impl Pretokenizers {
    /// Whether there is no step at all: every text is one pretoken.
    pub(crate) fn cuts_nothing(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many runs from the end of a text a pretoken must start to be settled; `None` where nothing is known.
    pub(crate) fn n_unsettled_runs(&self) -> Option<usize> {
        let bounded = |step: &Step| match step {
            Step::Cut { finder: Finder::Scanner(scanner), .. } => *scanner != Scanner::Superword,
            Step::Cut { finder, .. } => matches!(finder, Finder::Numeric),
            // A space put before text makes the start of a text special.
            Step::PrefixSpace { .. } | Step::Split { .. } => false,
        };
        self.steps.iter().all(bounded).then_some(RUNS_PER_STEP * self.steps.len())
    }
}

/// Where the last `n_runs` runs of `text` begin; 0 where there are not more.
pub(crate) fn last_runs(text: &str, n_runs: usize) -> usize {
    let mut start = text.len();
    for _ in 0..n_runs {
        let Some(last) = text[..start].chars().next_back() else { return 0 };
        start = text[..start].trim_end_matches(|c| kind(c) == kind(last)).len();
    }
    start
}

fn kind(c: char) -> u8 {
    let mut bytes = [0; 4];
    let (properties, _) = CLASS_TABLE.at(c.encode_utf8(&mut bytes).as_bytes(), 0);
    let is = |wanted| properties & wanted != 0;
    match () {
        () if is(SPACE) => 0,
        () if is(LETTER | MARK) => 1,
        () if is(NUMBER) => 2,
        () => 3,
    }
}

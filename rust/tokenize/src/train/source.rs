//! Where do the words of a stage come from?
//!
//! From memory, or from sorted files that something outside reads: what trains only asks to be told every distinct
//! word with its count. The words may come in any order and are asked for once or, rarely, a few times.

use super::{TrainError, WordCounts};

/// What is told of each word; an error ends the telling.
pub type Visit<'a> = dyn FnMut(&[u8], u64) -> Result<(), TrainError> + 'a;

/// Distinct words with their counts.
pub trait WordSource: Sync {
    /// Calls `visit` with every distinct word.
    ///
    /// # Errors
    /// That of `visit`, or [`TrainErrorKind::Words`](super::TrainErrorKind::Words) if the words cannot be read.
    fn for_each(&self, visit: &mut Visit<'_>) -> Result<(), TrainError>;
}

impl WordSource for WordCounts {
    fn for_each(&self, visit: &mut Visit<'_>) -> Result<(), TrainError> {
        self.iter().try_for_each(|(word, count)| visit(word, count))
    }
}

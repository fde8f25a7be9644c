//! How is an encoding, or a pair of them, made to fit a length?
//!
//! Before special tokens are put around; the length left for the sequences is shared out by a strategy. What is cut off
//! stays as overflowing parts.

use super::definition::{Truncation, TruncationStrategy};
use super::encoding::Encoding;

/// Encodings that cannot be made to fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TruncationError {
    kind: TruncationErrorKind,
}

/// The reasons behind a [`TruncationError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TruncationErrorKind {
    /// The second sequence is to be cut, and there is none.
    #[error("expected a second sequence to truncate, found one sequence")]
    NoSecondSequence,
    /// The sequence that is to be cut has too few ids.
    #[error("{n_excess} ids are too many, the sequence to truncate has {n_ids}")]
    TooShort {
        /// Ids of the sequence that may be cut.
        n_ids: usize,
        /// Ids that would have to go.
        n_excess: usize,
    },
    /// Parts that share as many ids as they have would not advance.
    #[error("expected a stride below the {max_length} ids that are left of max_length, found {stride}")]
    Stride {
        /// Ids that parts share.
        stride: usize,
        /// Ids of a part.
        max_length: usize,
    },
}

impl TruncationError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &TruncationErrorKind {
        &self.kind
    }
}

impl From<TruncationErrorKind> for TruncationError {
    fn from(kind: TruncationErrorKind) -> Self {
        Self { kind }
    }
}

impl Truncation {
    /// The truncation that leaves room for `n_added` special tokens. Where they alone are longer than the length,
    /// nothing is cut, as in the peer.
    pub fn leaving_room(&self, n_added: usize) -> Self {
        let max_length = self.max_length.checked_sub(n_added).unwrap_or(usize::MAX);
        Self { max_length, ..self.clone() }
    }

    /// Whether parts of this length advance beside `n_added` special tokens.
    ///
    /// # Errors
    /// [`TruncationErrorKind::Stride`]. Parts of no advance at all pass here and fail when a text is cut.
    pub fn check(&self, n_added: usize) -> Result<(), TruncationError> {
        let max_length = self.leaving_room(n_added).max_length;
        if max_length < self.stride {
            return Err(TruncationErrorKind::Stride { stride: self.stride, max_length }.into());
        }
        Ok(())
    }
}

/// Cuts one sequence or two so that they have at most `truncation.max_length` ids together.
///
/// # Errors
/// Every [`TruncationErrorKind`].
pub fn truncate(
    first: &mut Encoding,
    mut second: Option<&mut Encoding>,
    truncation: &Truncation,
) -> Result<(), TruncationError> {
    let &Truncation { direction, max_length, strategy, stride } = truncation;
    if max_length == 0 {
        first.truncate(0, stride, direction)?;
        return second.map_or(Ok(()), |second| second.truncate(0, stride, direction));
    }
    let n_all = first.len() + second.as_ref().map_or(0, |second| second.len());
    let Some(n_excess) = n_all.checked_sub(max_length).filter(|&n_excess| n_excess > 0) else {
        return Ok(());
    };
    let cut = |sequence: &mut Encoding| {
        let n_ids = sequence.len();
        if n_ids <= n_excess {
            return Err(TruncationErrorKind::TooShort { n_ids, n_excess }.into());
        }
        sequence.truncate(n_ids - n_excess, stride, direction)
    };
    match (strategy, second.take()) {
        (TruncationStrategy::LongestFirst, None) => first.truncate(max_length, stride, direction),
        (TruncationStrategy::LongestFirst, Some(second)) => {
            let (n_first, n_second) = shares(first.len(), second.len(), max_length);
            first.truncate(n_first, stride, direction)?;
            second.truncate(n_second, stride, direction)
        }
        (TruncationStrategy::OnlyFirst, _) => cut(first),
        (TruncationStrategy::OnlySecond, Some(second)) => cut(second),
        (TruncationStrategy::OnlySecond, None) => Err(TruncationErrorKind::NoSecondSequence.into()),
    }
}

/// How many ids two sequences of these lengths keep: the shorter one all of its, if the longer one can give way, else
/// both half, the odd one to the longer.
fn shares(n_first: usize, n_second: usize, max_length: usize) -> (usize, usize) {
    let mut short = n_first.min(n_second);
    let mut long = if short > max_length { short } else { short.max(max_length - short) };
    if short + long > max_length {
        short = max_length / 2;
        long = short + max_length % 2;
    }
    if n_first > n_second { (long, short) } else { (short, long) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_sequence_gives_way_first() {
        assert_eq!(shares(10, 2, 8), (6, 2));
        assert_eq!(shares(2, 10, 8), (2, 6));
        assert_eq!(shares(10, 10, 7), (3, 4));
        assert_eq!(shares(11, 10, 7), (4, 3));
        assert_eq!(shares(3, 9, 0), (0, 0));
    }
}

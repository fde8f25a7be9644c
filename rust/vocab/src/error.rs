//! What can be wrong with a vocabulary?

use crate::TokenId;

/// A vocabulary that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct VocabError {
    kind: VocabErrorKind,
}

/// The reasons behind a [`VocabError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabErrorKind {
    /// Two entries claim one id.
    #[error("token id {id} is given twice")]
    DuplicateId {
        /// The id that is claimed twice.
        id: TokenId,
    },
    /// An id so large that the tables indexed by id would not fit.
    #[error("token id {id} is above the limit of {limit}")]
    IdTooLarge {
        /// The id found.
        id: TokenId,
        /// The largest id that is taken.
        limit: TokenId,
    },
    /// The token bytes do not fit the 32-bit offsets.
    #[error("all token bytes together are {n_bytes} bytes, above the limit of {limit}")]
    TooManyBytes {
        /// Bytes found.
        n_bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

impl VocabError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &VocabErrorKind {
        &self.kind
    }
}

impl From<VocabErrorKind> for VocabError {
    fn from(kind: VocabErrorKind) -> Self {
        Self { kind }
    }
}

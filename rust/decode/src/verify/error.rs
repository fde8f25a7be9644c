//! What can be wrong with the arguments of a verification?

/// Arguments of a verification that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct VerifyError {
    kind: VerifyErrorKind,
}

/// The reasons behind a [`VerifyError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// A batch has one block of rows for each tree.
    #[error("expected one tree for each of the {expected} blocks of rows, found {found} trees")]
    Trees {
        /// Blocks of rows.
        expected: usize,
        /// Trees found.
        found: usize,
    },
    /// A tree of `n` nodes has `n + 1` rows.
    #[error(
        "expected {expected} rows, one for the last committed token and one for each node, found {found}"
    )]
    Rows {
        /// Rows of the tree.
        expected: usize,
        /// Rows found.
        found: usize,
    },
}

impl VerifyError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &VerifyErrorKind {
        &self.kind
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self { kind }
    }
}

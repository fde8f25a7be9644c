//! What can be wrong with the arguments of a verification?

use crate::dist::{DistError, DistErrorKind};

/// Arguments of a verification that do not fit together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct VerifyError {
    kind: VerifyErrorKind,
}

/// The reasons behind a [`VerifyError`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// An array does not fit the others.
    #[error("expected {argument} with {expected} elements, found {found}")]
    Length {
        /// Which array.
        argument: &'static str,
        /// Elements needed.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// A number outside its range.
    #[error("expected {argument} to be {expected}, found {found}")]
    Range {
        /// Which number.
        argument: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        found: f64,
    },
    /// A place of a text, or a node of a tree, that is not there or not open.
    #[error("expected an open place below {n_places}, found {place}")]
    Place {
        /// The place.
        place: usize,
        /// How many there are.
        n_places: usize,
    },
    /// A place of a text that is to be decided twice.
    #[error("expected positions that differ, found {place} twice")]
    Twice {
        /// The place.
        place: u64,
    },
    /// A chain of more points than there are.
    #[error("expected lengths of at most {n_points}, found {length}")]
    Points {
        /// The length.
        length: usize,
        /// How many points there are.
        n_points: usize,
    },
    /// A rule for chains was given a tree.
    #[error("expected a chain, found node {node} with parent {parent}")]
    Branch {
        /// The node.
        node: usize,
        /// Its parent.
        parent: i32,
    },
    /// A row that is no distribution.
    #[error(transparent)]
    Row(DistError),
    /// A drafted token that is no column.
    #[error("expected drafted tokens below {n_vocab}, found {token} at node {node}")]
    Token {
        /// The node.
        node: usize,
        /// Its token.
        token: i32,
        /// Columns of the rows.
        n_vocab: usize,
    },
    /// A drafted token that its draft cannot have drawn.
    #[error(
        "expected token {token} of node {node} to have a draft probability above 0 in row {row} of q when it was drawn"
    )]
    Impossible {
        /// The node.
        node: usize,
        /// Its token.
        token: u32,
        /// The row of `q`, counted through the batch.
        row: usize,
    },
}

impl VerifyError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &VerifyErrorKind {
        &self.kind
    }

    /// True where the arguments fit but the numbers of one tree do not: other trees of a batch are not concerned.
    pub fn is_of_one_tree(&self) -> bool {
        use VerifyErrorKind::{Branch, Impossible, Row, Token};
        matches!(self.kind, Branch { .. } | Impossible { .. } | Row(_) | Token { .. })
    }

    pub(super) fn no_mass(row: usize, n_tokens: usize) -> Self {
        DistErrorKind::NoMass { row, n_tokens }.into()
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self { kind }
    }
}

impl From<DistError> for VerifyError {
    fn from(error: DistError) -> Self {
        VerifyErrorKind::Row(error).into()
    }
}

impl From<DistErrorKind> for VerifyError {
    fn from(kind: DistErrorKind) -> Self {
        DistError::from(kind).into()
    }
}

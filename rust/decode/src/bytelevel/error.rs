//! What can go wrong between tokens and bytes?

use tokenloom_vocab::TokenId;

/// A tokenizer outside the exact class, bytes without encoding, or rows that are no distribution.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ByteLevelError {
    kind: ByteLevelErrorKind,
}

/// The reasons behind a [`ByteLevelError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByteLevelErrorKind {
    /// The tokenizer changes the text, so bytes and tokens are not two names of one thing.
    #[error("byte probabilities need a tokenizer that keeps the text, this one has {component}")]
    Unsupported {
        /// The component that stands in the way.
        component: &'static str,
    },
    /// A split pattern uses a construct that is not followed byte by byte.
    #[error(
        "byte probabilities cannot follow {construct} at byte {byte_offset} of the split pattern {pattern:?}"
    )]
    Pattern {
        /// The construct.
        construct: &'static str,
        /// Where it stands.
        byte_offset: usize,
        /// The pattern.
        pattern: Box<str>,
    },
    /// An added token that ordinary text spells by accident.
    #[error(
        "byte probabilities need added tokens that ordinary text does not spell, token {id} is {content:?}"
    )]
    PlainAddedToken {
        /// The token.
        id: TokenId,
        /// Its text.
        content: Box<str>,
    },
    /// The split patterns need more states than the limit.
    #[error("following the split patterns takes more than {limit} states")]
    TooManyStates {
        /// States allowed.
        limit: usize,
    },
    /// No canonical encoding, or no token sequence that the model allows, starts with these bytes.
    #[error("no {what} covers the bytes up to byte {byte_offset}")]
    NoEncoding {
        /// What there is none of.
        what: &'static str,
        /// The length of the shortest prefix without encoding.
        byte_offset: usize,
    },
    /// The model gives these bytes probability zero.
    #[error("the model gives the bytes probability zero")]
    ZeroMass,
    /// The model's row is shorter than the vocabulary.
    #[error("row {row} of the model has {found} log-probabilities, the tokenizer has {expected} ids")]
    ShortRow {
        /// Which row.
        row: usize,
        /// Its length.
        found: usize,
        /// Ids of the tokenizer.
        expected: usize,
    },
    /// The model gave another number of rows than it was asked for.
    #[error("the model gave {found} rows for {expected} contexts")]
    RowCount {
        /// Rows given.
        found: usize,
        /// Contexts asked for.
        expected: usize,
    },
    /// The model's row holds NaN or more than zero.
    #[error("row {row} of the model holds {value} for token {id}, expected natural log-probabilities")]
    BadRow {
        /// Which row.
        row: usize,
        /// Which column.
        id: TokenId,
        /// `NaN`, `inf` or `more than 0`.
        value: &'static str,
    },
}

impl ByteLevelError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &ByteLevelErrorKind {
        &self.kind
    }
}

impl From<ByteLevelErrorKind> for ByteLevelError {
    fn from(kind: ByteLevelErrorKind) -> Self {
        Self { kind }
    }
}

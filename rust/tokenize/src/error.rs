//! What can go wrong between text and ids?

use tokenloom_vocab::{TokenId, VocabError};

/// A specification that no tokenizer can be built from.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct BuildError {
    kind: Box<BuildErrorKind>,
}

/// The reasons behind a [`BuildError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The tokens do not form a vocabulary.
    #[error(transparent)]
    Vocab(#[from] VocabError),
    /// A merge names an id that is no token of the model.
    #[error("merge {index} names id {id}, which is no token")]
    UnknownMergeToken {
        /// Place in the list of merges, from 0.
        index: usize,
        /// The id that is no token.
        id: TokenId,
    },
    /// The bytes of a merge's result are not those of its parts.
    #[error("merge {index} joins ids {left} and {right} to id {result}, whose bytes are not theirs joined")]
    MergeBytes {
        /// Place in the list of merges, from 0.
        index: usize,
        /// The left part.
        left: TokenId,
        /// The right part.
        right: TokenId,
        /// The claimed result.
        result: TokenId,
    },
    /// More merges than 32-bit ranks can count.
    #[error("{n_merges} merges, above the limit of {limit}")]
    TooManyMerges {
        /// Merges found.
        n_merges: usize,
        /// Merges allowed.
        limit: usize,
    },
    /// A split pattern does not compile.
    #[error("split pattern of pretokenizer {step} does not compile: {source}")]
    Pattern {
        /// Place in the list of pretokenizers, from 0.
        step: usize,
        /// The pattern.
        pattern: Box<str>,
        /// What the regular expression compiler says.
        source: Box<fancy_regex::Error>,
    },
    /// An added token without content would match everywhere.
    #[error("added token {id} is empty")]
    EmptyAddedToken {
        /// The id of the added token.
        id: TokenId,
    },
    /// Two added tokens give one id two different contents.
    #[error("added token id {id} is given to two contents")]
    AddedTokenConflict {
        /// The id that is claimed twice.
        id: TokenId,
    },
    /// The added tokens do not fit one automaton.
    #[error("the {n_tokens} added tokens do not fit one automaton: {source}")]
    AddedTokens {
        /// How many added tokens there are.
        n_tokens: usize,
        /// What the automaton builder says.
        source: Box<aho_corasick::BuildError>,
    },
    /// The template names an id that is no token.
    #[error("the template names id {id}, which is no token")]
    UnknownTemplateToken {
        /// The id that is no token.
        id: TokenId,
    },
}

impl BuildError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &BuildErrorKind {
        &self.kind
    }
}

impl<K: Into<BuildErrorKind>> From<K> for BuildError {
    fn from(kind: K) -> Self {
        Self { kind: Box::new(kind.into()) }
    }
}

/// A text that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct EncodeError {
    kind: Box<EncodeErrorKind>,
}

/// The reasons behind an [`EncodeError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// A split pattern gave up on this text.
    #[error("split pattern gave up at byte {byte_offset} of a piece of {n_bytes} bytes: {source}")]
    Pattern {
        /// Where the search started, in the piece given to the pattern.
        byte_offset: usize,
        /// Length of that piece.
        n_bytes: usize,
        /// The pattern.
        pattern: Box<str>,
        /// What the regular expression engine says.
        source: Box<fancy_regex::Error>,
    },
    /// A name in the set of allowed special tokens is no special token.
    #[error("{name:?} is no special token of this tokenizer")]
    UnknownSpecialToken {
        /// The name that was given.
        name: Box<str>,
    },
}

impl EncodeError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.kind
    }
}

impl From<EncodeErrorKind> for EncodeError {
    fn from(kind: EncodeErrorKind) -> Self {
        Self { kind: Box::new(kind) }
    }
}

/// Ids that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct DecodeError {
    kind: DecodeErrorKind,
}

/// The reasons behind a [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// An id is no token.
    #[error("id {id} at position {index} is no token")]
    UnknownToken {
        /// The id found.
        id: TokenId,
        /// Its place in the ids.
        index: usize,
    },
}

impl DecodeError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }
}

impl From<DecodeErrorKind> for DecodeError {
    fn from(kind: DecodeErrorKind) -> Self {
        Self { kind }
    }
}

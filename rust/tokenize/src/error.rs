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
    /// Merging of characters needs a token for each of the 256 bytes.
    #[error("expected 256 byte tokens, found {n_byte_tokens}")]
    ByteTokens {
        /// Byte tokens found.
        n_byte_tokens: usize,
    },
    /// A merge names a byte token, which stands for a byte of an unknown character and merges with nothing.
    #[error("merge {index} names id {id}, which is a byte token")]
    MergedByteToken {
        /// Place in the list of merges, from 0.
        index: usize,
        /// The byte token.
        id: TokenId,
    },
    /// The rank of a merge is missing or below that of the merge before it.
    #[error("expected a rank of merge {index} that is not below the one before it")]
    Ranks {
        /// Place in the list of merges, from 0.
        index: usize,
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
    /// A regular expression has a construct whose meaning in Oniguruma cannot be kept.
    #[error("pattern {pattern:?} has {reason}")]
    Oniguruma {
        /// The pattern.
        pattern: Box<str>,
        /// The construct.
        reason: crate::pipeline::oniguruma::Untranslatable,
    },
    /// The result of a merge is no token.
    #[error("merge {index} makes {result:?}, which is no token")]
    UnknownMergeResult {
        /// Place in the list of merges, from 0.
        index: usize,
        /// The token that is missing.
        result: Box<str>,
    },
    /// A number is outside its range.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field of the definition.
        field: &'static str,
        /// Its value.
        found: Box<str>,
        /// What was expected.
        expected: &'static str,
    },
    /// The map of a `Precompiled` normalizer is cut off or malformed.
    #[error("the precompiled map of {n_bytes} bytes has {reason}")]
    Charsmap {
        /// Its length.
        n_bytes: usize,
        /// What is wrong.
        reason: &'static str,
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
    /// An added token cannot be normalized.
    #[error("added token {id} cannot be normalized: {source}")]
    AddedTokenForm {
        /// The id of the added token.
        id: TokenId,
        /// What the normalizer says.
        source: Box<EncodeError>,
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
    /// A text is longer than alignments can count.
    #[error("a text of {n_bytes} bytes, above the limit of {limit}")]
    TextTooLong {
        /// Bytes found.
        n_bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A part of the text is no token, and neither is the one that would stand for it.
    #[error("no token for a part of the text at byte {byte_offset} of a word, and {unk:?} is none either")]
    NoUnknownToken {
        /// Where the part starts, in the word given to the model.
        byte_offset: usize,
        /// The string of the unknown token; empty where the model has none.
        unk: Box<str>,
    },
    /// Normalizers lost track of what a text stands for.
    #[error(
        "characters of the piece of text from byte {byte_offset} stand for nothing in the source, so that a later step \
         cannot change them"
    )]
    Misaligned {
        /// Where the piece starts in the source.
        byte_offset: usize,
    },
    /// The post-processor has no rule for this encoding.
    #[error("{reason}")]
    Process {
        /// What it says.
        reason: Box<str>,
    },
    /// Two added tokens claim the same text.
    #[error("the added token that ends at byte {byte_offset} of a piece starts behind its end")]
    AddedTokensOverlap {
        /// Where it ends.
        byte_offset: usize,
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

impl From<crate::pipeline::text::Misaligned> for EncodeError {
    fn from(error: crate::pipeline::text::Misaligned) -> Self {
        EncodeErrorKind::Misaligned { byte_offset: error.byte_offset }.into()
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
    /// The pattern of a decoder gave up on a token.
    #[error("the pattern of a decoder gave up on a token of {n_bytes} bytes: {reason}")]
    Pattern {
        /// Length of the token.
        n_bytes: usize,
        /// What the search says.
        reason: Box<str>,
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

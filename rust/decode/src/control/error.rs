//! What can go wrong with a constraint?

use tokenloom_vocab::TokenId;

/// A constraint that cannot be compiled or walked.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ControlError {
    kind: ControlErrorKind,
}

/// The reasons behind a [`ControlError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlErrorKind {
    /// The compiler refuses the grammar; the text is its own and names the construct.
    #[error("{what} cannot be compiled: {reason}")]
    Grammar {
        /// The kind of grammar.
        what: &'static str,
        /// What the compiler says.
        reason: Box<str>,
    },
    /// The grammar is nested more deeply than the limit.
    #[error("{what} is nested {depth} levels deep, above the limit of {limit}")]
    TooDeep {
        /// The kind of grammar.
        what: &'static str,
        /// Levels found.
        depth: usize,
        /// Levels allowed.
        limit: usize,
    },
    /// A table of transitions does not fit together.
    #[error("the table cannot be used: {reason}")]
    Table {
        /// What was expected and found.
        reason: Box<str>,
    },
    /// Phrases that cannot be asked for.
    #[error("the phrases cannot be used: {reason}")]
    Phrases {
        /// What was expected and found.
        reason: Box<str>,
    },
    /// A catalogue that cannot be chosen from.
    #[error("the items cannot be chosen from: {reason}")]
    Choice {
        /// What was expected and found.
        reason: Box<str>,
    },
    /// A source that cannot be copied from.
    #[error("the source cannot be copied from: {reason}")]
    Excerpt {
        /// What was expected and found.
        reason: Box<str>,
    },
    /// The vocabulary exceeds what a token trie of the grammar engine holds.
    #[error("grammars take ids below {limit}, the vocabulary has ids up to {max_id}")]
    VocabularyTooLarge {
        /// The largest id found.
        max_id: usize,
        /// One more than the largest id taken.
        limit: usize,
    },
    /// The tokens have too many distinct prefixes for a token trie of the grammar engine.
    #[error("grammars take vocabularies of up to {limit} bytes, the tokens have {n_bytes}")]
    TooManyBytes {
        /// Bytes found.
        n_bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An end token is no token of the vocabulary.
    #[error("end token {id} is not below {n_tokens}, the size of the vocabulary")]
    UnknownEos {
        /// The id given.
        id: TokenId,
        /// One more than the largest id.
        n_tokens: usize,
    },
    /// No token can follow and the text is not complete.
    #[error("no token can follow after {step} tokens and the text is not complete")]
    DeadEnd {
        /// Tokens taken so far.
        step: usize,
    },
    /// The state was asked to take a token that it does not allow.
    #[error("token {id} is not allowed after {step} tokens")]
    NotAllowed {
        /// The token.
        id: TokenId,
        /// Tokens taken so far.
        step: usize,
    },
    /// More tokens were to be taken back than were taken.
    #[error("cannot take back {n} tokens of {step}")]
    Rollback {
        /// Tokens to take back.
        n: usize,
        /// Tokens taken so far.
        step: usize,
    },
    /// The engine gave up on this step: a limit on its work, or a fault of its own.
    #[error("the grammar cannot be walked on after {step} tokens: {reason}")]
    Walk {
        /// Tokens taken so far.
        step: usize,
        /// What the engine says.
        reason: Box<str>,
    },
}

impl ControlError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &ControlErrorKind {
        &self.kind
    }
}

impl From<ControlErrorKind> for ControlError {
    fn from(kind: ControlErrorKind) -> Self {
        Self { kind }
    }
}

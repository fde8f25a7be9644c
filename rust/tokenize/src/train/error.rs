//! What stops a training?

/// A training that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct TrainError {
    kind: TrainErrorKind,
}

/// The reasons behind a [`TrainError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainErrorKind {
    /// The special tokens and the 256 bytes do not fit.
    #[error(
        "vocab_size must be at least {minimum} (256 bytes and {n_special} special tokens), found {vocab_size}",
        minimum = 256 + n_special
    )]
    VocabTooSmall {
        /// The size asked for.
        vocab_size: usize,
        /// How many special tokens were given.
        n_special: usize,
    },
    /// Ids above the limit of the vocabulary tables would be needed.
    #[error("vocab_size must be at most {limit}, found {vocab_size}")]
    VocabTooLarge {
        /// The size asked for.
        vocab_size: usize,
        /// The largest size.
        limit: usize,
    },
    /// A special token without text.
    #[error("special token {index} is empty")]
    EmptySpecialToken {
        /// Its place in the list.
        index: usize,
    },
    /// Two special tokens with the same text.
    #[error("special token {token:?} is given twice, at {first} and {second}")]
    DuplicateSpecialToken {
        /// The text.
        token: String,
        /// Its first place in the list.
        first: usize,
        /// Its second place in the list.
        second: usize,
    },
    /// A special token that `tokenizer.json` would spell like a single byte.
    #[error("special token {token:?} is spelled like the token of byte {byte:#04x} in a tokenizer.json file")]
    SpecialTokenIsByte {
        /// The text.
        token: String,
        /// The byte.
        byte: u8,
    },
    /// The first stage of SuperBPE would be empty or the second one negative.
    #[error("transition must lie between {minimum} and vocab_size {vocab_size}, found {transition}")]
    TransitionOutOfRange {
        /// The transition asked for.
        transition: usize,
        /// The 256 bytes and the special tokens.
        minimum: usize,
        /// The final size.
        vocab_size: usize,
    },
    /// Superwords of no words.
    #[error("max_words must be at least 1, found 0")]
    NoWords,
    /// A forbidden string that every token contains.
    #[error("forbidden string {index} is empty: no token would be allowed")]
    EmptyForbidden {
        /// Its place in the list.
        index: usize,
    },
    /// The distinct words do not fit the 32-bit positions.
    #[error("the distinct words of the corpus hold {n_symbols} symbols, above the limit of {limit}")]
    CorpusTooLarge {
        /// Symbols found.
        n_symbols: u64,
        /// Symbols allowed.
        limit: u64,
    },
    /// The pair counts do not fit 64 bits.
    #[error("the pairs of the corpus occur 2^60 times or more")]
    CountOverflow,
    /// All tokens together grew beyond what a vocabulary may hold.
    #[error(
        "the tokens hold {n_bytes} bytes after {n_merges} merges, above the limit of {limit}\n\
         hint: set max_token_length or a pattern that splits long runs"
    )]
    TokensTooLong {
        /// Bytes of all tokens.
        n_bytes: u64,
        /// Bytes allowed.
        limit: u64,
        /// Merges made so far.
        n_merges: usize,
    },
    /// The progress function asked to stop.
    #[error("the training was interrupted")]
    Interrupted,
}

impl TrainError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &TrainErrorKind {
        &self.kind
    }
}

impl From<TrainErrorKind> for TrainError {
    fn from(kind: TrainErrorKind) -> Self {
        Self { kind }
    }
}

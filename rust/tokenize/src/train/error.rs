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
    /// The special tokens and the bytes do not fit.
    #[error(
        "vocab_size must be at least {minimum} ({n_bytes} bytes and {n_special} special tokens), found {vocab_size}",
        minimum = n_bytes + n_special
    )]
    VocabTooSmall {
        /// The size asked for.
        vocab_size: usize,
        /// How many bytes the alphabet has.
        n_bytes: usize,
        /// How many special tokens were given.
        n_special: usize,
    },
    /// More characters than Unigram pieces are asked for.
    #[error("vocab_size must be at least {n_chars}, the characters of the corpus, found {vocab_size}")]
    AlphabetTooLarge {
        /// How many characters there are.
        n_chars: usize,
        /// The size asked for.
        vocab_size: usize,
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
    /// The corpus does not fit the 32-bit positions.
    #[error("the distinct words of the corpus hold {n_symbols} symbols, above the limit of {limit}")]
    CorpusTooLarge {
        /// Symbols found.
        n_symbols: u64,
        /// Symbols allowed.
        limit: u64,
    },
    /// A word does not fit the 31-bit widths.
    #[error("a word of the corpus holds {n_symbols} symbols, above the limit of {limit}")]
    WordTooLong {
        /// Symbols found.
        n_symbols: u64,
        /// Symbols allowed.
        limit: u64,
    },
    /// Not even the symbols of the most frequent pairs fit the memory.
    #[error(
        "merging needs at least {mb} MB of memory for the {n_symbols} symbols beside the most frequent pairs, found a \
         limit of {limit_mb} MB\n\
         hint: raise memory_limit, or train on a part of the corpus",
        mb = needed.div_ceil(1_000_000),
        limit_mb = limit / 1_000_000
    )]
    MemoryTooSmall {
        /// Bytes that would do.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
        /// Symbols to be held at once.
        n_symbols: u64,
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
    /// A merge to start from whose part is no token.
    #[error(
        "seed merge {index} joins {part:?}, which is no byte of the alphabet and no result of an earlier one"
    )]
    SeedPartUnknown {
        /// Its place in the list.
        index: usize,
        /// The part, lossily as text.
        part: String,
    },
    /// Two merges to start from that make one token.
    #[error("seed merge {index} makes {token:?}, which is a token already")]
    SeedKnown {
        /// Its place in the list.
        index: usize,
        /// What both parts make, lossily as text.
        token: String,
    },
    /// More merges to start from than fit.
    #[error("vocab_size {vocab_size} has no room for the {n_seeds} seed merges")]
    SeedsTooMany {
        /// The size of the first stage.
        vocab_size: usize,
        /// How many there are.
        n_seeds: usize,
    },
    /// A tokenizer to extend that has more tokens than asked for.
    #[error(
        "vocab_size must be at least {n_ids}, the ids of the tokenizer that is extended, found {vocab_size}"
    )]
    NothingToAdd {
        /// One more than the largest id.
        n_ids: usize,
        /// The size asked for.
        vocab_size: usize,
    },
    /// Options that a tokenizer to extend has decided already.
    #[error("{option} cannot be given with a tokenizer to extend, which has its own")]
    DecidedBefore {
        /// The option.
        option: &'static str,
    },
    /// A training without stages.
    #[error("there must be at least one stage")]
    NoStages,
    /// A state that does not belong to this training.
    #[error("the state to continue from does not belong to this training: {what}")]
    WrongState {
        /// What contradicts it.
        what: &'static str,
    },
    /// The source of the words failed.
    #[error("the counted words cannot be read: {message}")]
    Words {
        /// What it said.
        message: String,
    },
    /// The tokens make no tokenizer.
    #[error("the tokens of a stage make no tokenizer: {message}")]
    Tokens {
        /// Why.
        message: String,
    },
    /// An id of a batch that the tokenizer does not have.
    #[error("id {id} at place {index} of the batch is no token")]
    UnknownToken {
        /// The id.
        id: tokenloom_vocab::TokenId,
        /// Its place in all ids of the batch.
        index: usize,
    },
    /// Offsets that do not cut a batch.
    #[error("the offsets of a batch must rise from 0 to the number of its ids, {n_ids}")]
    Offsets {
        /// How many ids there are.
        n_ids: usize,
    },
    /// A union of tokenizers whose merging starts from bytes and from characters.
    #[error(
        "a union is of two byte-level tokenizers, or of two that start from characters with byte fallback"
    )]
    OtherSymbols,
    /// An added token of one tokenizer that is spelled like a token of the other.
    #[error("the added token {content:?} of the second tokenizer is spelled like a token of the first")]
    AddedIsToken {
        /// Its text.
        content: String,
    },
    /// An event that neither joins nor splits tokens.
    #[error("event {index} must be a merge or a split of tokens of the tokenizer")]
    BadEvent {
        /// Its place.
        index: usize,
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

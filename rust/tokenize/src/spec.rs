//! What does a tokenizer file say?
//!
//! [`TokenizerSpec`] is the plain description that every file format is read into and that a tokenizer is built
//! from: data only, no automata. Token strings are already bytes: the byte-to-character table of GPT-2 files is a
//! matter of the file format and is undone by the parser.

use std::borrow::Cow;

use tokenloom_vocab::{AddedToken, TokenId, TokenList};

use crate::bpe;

/// Everything that decides which ids a text becomes.
#[derive(Clone, Debug, Default)]
pub struct TokenizerSpec {
    /// The model's tokens (added tokens that are not in the model are only in `added_tokens`).
    pub tokens: TokenList,
    /// Ids that decode to these bytes but that no text becomes: vocabulary strings outside a byte-level file's alphabet.
    pub decode_only: Vec<(TokenId, Box<[u8]>)>,
    /// The merges in rank order. Those of [`Ranks::Splits`] are in no list.
    pub merges: Vec<Merge>,
    /// Which merges share a rank.
    pub ranks: Ranks,
    /// A pretoken that is a token as a whole becomes that token, whatever the merges say.
    pub ignore_merges: bool,
    /// What merging starts from.
    pub symbols: Symbols,
    /// Strings matched before the model, in file order.
    pub added_tokens: Vec<AddedToken>,
    /// Applied to the text between added tokens.
    pub normalizers: Vec<Normalizer>,
    /// Applied in order; each step splits the pieces of the step before.
    pub pretokenizers: Vec<Pretokenizer>,
    /// How the bytes of ids become text.
    pub decoder: Decoder,
    /// Ids put around one sequence by `add_special_tokens=True`.
    pub template: Template,
    /// `char_offsets` leave out the white space at the ends of a token (the ByteLevel post-processor's flag).
    pub trim_offsets: bool,
    /// With `trim_offsets`: a single leading space of a token that starts the text is kept (the post-processor's
    /// `add_prefix_space`, which is not always that of the pretokenizer).
    pub trim_keeps_first_space: bool,
}

impl TokenizerSpec {
    /// The merges in rank order, those that are in no list among them.
    pub fn all_merges(&self) -> Cow<'_, [Merge]> {
        match self.ranks {
            Ranks::Splits => bpe::splits_of(&self.tokens).into(),
            _ => (&*self.merges).into(),
        }
    }

    /// The same specification with every merge in the list.
    #[must_use]
    pub fn listed(mut self) -> Self {
        if self.ranks == Ranks::Splits {
            self.merges = bpe::splits_of(&self.tokens);
            self.ranks = Ranks::ByResult;
        }
        self
    }
}

/// Which merges share a rank, so that the leftmost applies where two of them compete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ranks {
    /// None: the place in the list is the rank (`tokenizer.json`).
    #[default]
    ByPlace,
    /// Those with one result.
    ByResult,
    /// The same, and the merges are every split of every token into two tokens, by the id of the token (tiktoken files, whose
    /// ranks belong to tokens). They are found when they are needed. No two tokens have the same bytes, and every byte is one.
    Splits,
    /// Those with one number here, which stands for the merge at its place and never falls along the list
    /// (SentencePiece, where equal scores are equal ranks).
    Given(Vec<u32>),
}

/// What merging starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Symbols {
    /// Every byte (byte-level BPE). A byte that is no token is left out.
    #[default]
    Bytes,
    /// Every character (SentencePiece-style BPE with byte fallback). The bytes of a character that is no token, and
    /// bytes that belong to no character, become byte tokens. The space mark U+2581 is stored as a space: in `tokens`,
    /// in the text ([`Normalizer::SpaceMark`], [`Pretokenizer::Metaspace`]) and in what ids decode to. A vocabulary
    /// string with a space of its own is therefore in `decode_only`.
    Characters {
        /// The 256 tokens of single bytes, `<0x00>` first. They are not in `tokens` and no merge names them.
        byte_tokens: Vec<TokenId>,
    },
}

/// How the bytes of ids become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decoder {
    /// All bytes joined, one U+FFFD for each maximal invalid run (the ByteLevel decoder).
    #[default]
    Bytes,
    /// Tokens are text but for the byte tokens, whose runs are decoded by themselves (`Replace("▁", " ")`,
    /// `ByteFallback`, `Fuse`). Added tokens have their space marks replaced, too.
    ByteFallback {
        /// One space at the start of the whole text is dropped (`Strip(" ", 1, 0)`).
        strip_space: bool,
        /// What becomes of a run of byte tokens that is not UTF-8.
        invalid: InvalidRun,
    },
}

/// What becomes of a run of byte tokens that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidRun {
    /// One U+FFFD for each byte of the run, its characters included (Hugging Face `tokenizers`).
    Whole,
    /// Its characters, and one U+FFFD for each byte between them (llama.cpp).
    Bytes,
    /// The same, and two more rules of `sentencepiece`: a special token that is left out ends a run, and `strip_space`
    /// concerns no byte token and no unknown one, which are the ids of `decode_only`.
    Pieces,
}

/// `left` and `right`, adjacent, become `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The left part.
    pub left: TokenId,
    /// The right part.
    pub right: TokenId,
    /// The token both become.
    pub result: TokenId,
}

/// One normalization step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Normalizer {
    /// Unicode canonical composition.
    Nfc,
    /// Puts a space before a text that is not empty (`Prepend("▁")`).
    PrependSpace,
    /// Puts a space before an input that is not empty, whatever starts it (SentencePiece's dummy prefix).
    PrependFirst,
    /// Reads the space mark U+2581 as a space (`Replace(" ", "▁")`, where tokens are stored with spaces).
    SpaceMark,
}

/// One pretokenization step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pretokenizer {
    /// Splits at the matches of a pattern.
    Split {
        /// What is searched.
        pattern: SplitPattern,
        /// What becomes of a match.
        behavior: SplitBehavior,
        /// Swaps matches and the text between them.
        invert: bool,
    },
    /// Splits off runs of numeric characters, or each of them.
    Digits {
        /// Each digit is a piece of its own.
        individual: bool,
    },
    /// The GPT-2 step: the byte mapping (implied here, tokens are bytes), optionally its regex and a leading space.
    ByteLevel {
        /// Puts a space before a piece that does not start with one.
        add_prefix_space: bool,
        /// Splits by the GPT-2 pattern.
        use_regex: bool,
    },
    /// Puts a space before a piece that does not start with one, then splits before every space. Reading the space
    /// mark U+2581 as a space, the first thing that the step of this name does, is [`Normalizer::SpaceMark`].
    Metaspace {
        /// Before which pieces a space is put.
        prepend: PrependScheme,
        /// Whether it splits.
        split: bool,
    },
}

/// Before which pieces [`Pretokenizer::Metaspace`] puts a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrependScheme {
    /// The one that starts the input.
    First,
    /// None.
    Never,
    /// All.
    Always,
}

/// The pattern of a [`Pretokenizer::Split`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitPattern {
    /// A regular expression as the `fancy-regex` crate reads it; formats with another dialect translate.
    Regex(String),
    /// A string matched as it is.
    Literal(String),
}

/// What a [`Pretokenizer::Split`] does with a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBehavior {
    /// The match is a piece.
    Isolated,
    /// The match is dropped.
    Removed,
    /// The match joins the piece before it.
    MergedWithPrevious,
    /// The match joins the piece behind it.
    MergedWithNext,
    /// Adjacent matches are one piece.
    Contiguous,
}

/// Ids put before and behind one sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Before the text.
    pub prefix: Vec<TokenId>,
    /// Behind the text.
    pub suffix: Vec<TokenId>,
}

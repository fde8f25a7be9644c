//! What does a `tokenizer.json` consist of?
//!
//! The faithful image of the file: every component with every field, nothing interpreted. Reading a file into it and
//! writing it back gives the same file; the machine is built from it. Patterns are in the dialect of the file
//! (Oniguruma). Token strings are as in the file: GPT-2's byte characters and `▁` are still there.

#![expect(missing_docs, reason = "fields are named and defined by the format")]

use tokenloom_vocab::{AddedToken, TokenId};

use crate::spec::SplitBehavior;

/// A whole tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Cuts every encoding.
    pub truncation: Option<Truncation>,
    /// Fills every encoding.
    pub padding: Option<Padding>,
    /// Strings matched before the model, in file order, with the ids that the format's reader gives them.
    pub added_tokens: Vec<AddedToken>,
    /// Applied to the text between added tokens.
    pub normalizer: Option<Normalizer>,
    /// Cuts the normalized text into words.
    pub pre_tokenizer: Option<PreTokenizer>,
    /// Puts special tokens around, trims offsets.
    pub post_processor: Option<PostProcessor>,
    /// Turns token strings into text.
    pub decoder: Option<Decoder>,
    /// Cuts words into tokens.
    pub model: Model,
}

/// On which side something is cut or filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// At the start.
    Left,
    /// At the end.
    #[default]
    Right,
}

/// How encodings are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Which end is cut off.
    pub direction: Side,
    /// The most ids that stay, special tokens included.
    pub max_length: usize,
    /// Which sequence of a pair is cut.
    pub strategy: TruncationStrategy,
    /// How many ids two consecutive overflowing parts share.
    pub stride: usize,
}

/// Which sequence of a pair is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TruncationStrategy {
    /// The longer one first, until both fit.
    #[default]
    LongestFirst,
    /// The first.
    OnlyFirst,
    /// The second.
    OnlySecond,
}

/// How encodings are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    /// To which length; that of the longest of the batch where there is none.
    pub length: Option<usize>,
    /// Which end is filled.
    pub direction: Side,
    /// The length is rounded up to a multiple of this.
    pub pad_to_multiple_of: Option<usize>,
    /// The id that fills.
    pub pad_id: TokenId,
    /// Its type id.
    pub pad_type_id: u32,
    /// Its token string.
    pub pad_token: String,
}

/// What a step searches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// As it is written.
    Literal(String),
    /// An Oniguruma (Ruby) regular expression.
    Regex(String),
}

/// Changes the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Normalizer {
    /// BERT's cleaning, spacing of Chinese characters, accents and case.
    Bert { clean_text: bool, handle_chinese_chars: bool, strip_accents: Option<bool>, lowercase: bool },
    /// Removes white space at the ends.
    Strip { left: bool, right: bool },
    /// Removes combining marks.
    StripAccents,
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
    /// One after another.
    Sequence(Vec<Normalizer>),
    /// Lower case.
    Lowercase,
    /// Removes control characters, turns separators into spaces.
    Nmt,
    /// SentencePiece's precompiled map (a double array and its strings), decoded from base64.
    Precompiled { charsmap: Vec<u8> },
    /// Replaces each match.
    Replace { pattern: Pattern, content: String },
    /// Puts a string before a text that is not empty.
    Prepend { prepend: String },
    /// Turns bytes into GPT-2's byte characters.
    ByteLevel,
}

/// Where Metaspace puts its replacement before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrependScheme {
    /// Before the first piece of the whole input only.
    First,
    /// Nowhere.
    Never,
    /// Before every piece.
    Always,
}

/// Cuts the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreTokenizer {
    /// BERT's: white space removed, punctuation alone.
    Bert,
    /// GPT-2's byte characters, optionally behind its pattern.
    ByteLevel { add_prefix_space: bool, trim_offsets: bool, use_regex: bool },
    /// Cut at, and without, a character.
    CharDelimiterSplit { delimiter: char },
    /// Spaces become `replacement`, which starts the pieces.
    Metaspace { replacement: char, prepend_scheme: PrependScheme, split: bool },
    /// `\w+|[^\w\s]+`.
    Whitespace,
    /// One after another.
    Sequence(Vec<PreTokenizer>),
    /// Cut at the matches of a pattern.
    Split { pattern: Pattern, behavior: SplitBehavior, invert: bool },
    /// Cut at punctuation.
    Punctuation { behavior: SplitBehavior },
    /// Cut at, and without, white space.
    WhitespaceSplit,
    /// Cut at numeric characters.
    Digits { individual_digits: bool },
    /// Cut where the script changes.
    UnicodeScripts,
    /// Pieces of so many characters.
    FixedLength { length: usize },
}

/// Turns token strings into text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decoder {
    /// The suffix marks the end of a word.
    Bpe { suffix: String },
    /// GPT-2's byte characters become bytes. The flags do nothing here.
    ByteLevel { add_prefix_space: bool, trim_offsets: bool, use_regex: bool },
    /// The prefix marks the inside of a word.
    WordPiece { prefix: String, cleanup: bool },
    /// The replacement becomes a space.
    Metaspace { replacement: char, prepend_scheme: PrependScheme, split: bool },
    /// Connectionist temporal classification: repeats and padding go.
    Ctc { pad_token: String, word_delimiter_token: String, cleanup: bool },
    /// One after another.
    Sequence(Vec<Decoder>),
    /// Replaces each match.
    Replace { pattern: Pattern, content: String },
    /// Joins all strings.
    Fuse,
    /// Removes up to so many of a character at the ends.
    Strip { content: char, start: usize, stop: usize },
    /// `<0x41>` becomes a byte.
    ByteFallback,
}

/// A special token and its id.
pub type NamedToken = (String, TokenId);

/// Finishes an encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostProcessor {
    /// RoBERTa's template, and trimmed offsets.
    Roberta { sep: NamedToken, cls: NamedToken, trim_offsets: bool, add_prefix_space: bool },
    /// BERT's template.
    Bert { sep: NamedToken, cls: NamedToken },
    /// Trimmed offsets.
    ByteLevel { add_prefix_space: bool, trim_offsets: bool, use_regex: bool },
    /// Any template.
    Template { single: Vec<TemplatePiece>, pair: Vec<TemplatePiece>, special_tokens: Vec<TemplateToken> },
    /// One after another.
    Sequence(Vec<PostProcessor>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePiece {
    /// The first sequence, or the second one.
    Sequence { is_second: bool, type_id: u32 },
    /// A special token by its name in the template.
    SpecialToken { id: String, type_id: u32 },
}

/// What a special token of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateToken {
    /// Its name in the template.
    pub id: String,
    /// Its ids.
    pub ids: Vec<TokenId>,
    /// Its token strings, as many.
    pub tokens: Vec<String>,
}

/// Cuts words into tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// Byte pair encoding.
    Bpe(BpeModel),
    /// Longest match with a prefix for the inside of words.
    WordPiece {
        vocab: Vec<(String, TokenId)>,
        unk_token: String,
        continuing_subword_prefix: String,
        max_input_chars_per_word: usize,
    },
    /// Whole words.
    WordLevel { vocab: Vec<(String, TokenId)>, unk_token: String },
    /// The most probable segmentation; ids are places in the list.
    Unigram { vocab: Vec<(String, f64)>, unk_id: Option<usize>, byte_fallback: bool },
    /// A SentencePiece model, which normalizes, cuts and decodes in its own way; no `tokenizer.json` says this.
    Pieces(Box<PieceModel>),
}

/// A SentencePiece model: its pieces, whose places are their ids, and how text is prepared for them.
#[derive(Clone, Debug, PartialEq)]
pub struct PieceModel {
    pub pieces: Vec<Piece>,
    pub algorithm: PieceAlgorithm,
    /// A character that is no piece becomes the pieces of its bytes.
    pub byte_fallback: bool,
    /// What the unknown piece decodes to.
    pub unknown_surface: String,
    /// The compiled map (a double array and its strings); empty for none.
    pub charsmap: Vec<u8>,
    /// A space is put before the text, or behind it.
    pub add_dummy_prefix: bool,
    /// Spaces at the ends go, and all but one of several.
    pub remove_extra_whitespaces: bool,
    /// Spaces become U+2581.
    pub escape_whitespaces: bool,
    /// Spaces end words and do not start them.
    pub treat_whitespace_as_suffix: bool,
}

/// How a SentencePiece model cuts text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PieceAlgorithm {
    /// The segmentation of the highest score.
    #[default]
    Unigram,
    /// Neighbours are joined, the highest score first.
    Bpe,
    /// Words are looked up.
    Word,
    /// Characters are looked up.
    Char,
}

/// A piece of a SentencePiece model.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub text: String,
    pub score: f32,
    pub piece_type: PieceType,
}

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceType {
    /// Text becomes it.
    Normal,
    /// What text becomes that is nothing else.
    Unknown,
    /// Text never becomes it.
    Control,
    /// Text that is spelled like it always becomes it.
    UserDefined,
    /// Text becomes it on the way to other pieces only.
    Unused,
    /// A byte of an unknown character.
    Byte,
}

/// Byte pair encoding over characters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BpeModel {
    /// Token strings and ids, in file order.
    pub vocab: Vec<(String, TokenId)>,
    /// Pairs of ids, in rank order.
    pub merges: Vec<(TokenId, TokenId)>,
    /// Probability of skipping a merge.
    pub dropout: Option<f32>,
    /// What a character becomes that is no token.
    pub unk_token: Option<String>,
    /// Marks the inside of words.
    pub continuing_subword_prefix: Option<String>,
    /// Marks the end of words.
    pub end_of_word_suffix: Option<String>,
    /// Consecutive unknown characters are one token.
    pub fuse_unk: bool,
    /// A character that is no token becomes the tokens of its bytes.
    pub byte_fallback: bool,
    /// A word that is a token becomes it, whatever the merges say.
    pub ignore_merges: bool,
}

//! What is known of an encoded text beside its ids?
//!
//! Parallel arrays, one entry an id, as in `Encoding` of Hugging Face `tokenizers`. Cutting, filling and joining keep
//! them parallel. All offsets are in characters of the original text of the id's sequence.

use std::ops::Range;

use tokenloom_vocab::TokenId;

/// The encoding of one text or of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<TokenId>,
    /// By id: which part of a template it belongs to.
    pub type_ids: Vec<u32>,
    /// By id: the token string. Empty where the ids alone say it (the string of the vocabulary).
    pub tokens: Vec<String>,
    /// By id: the word it is part of; none for special tokens and padding.
    pub words: Vec<Option<u32>>,
    /// By id: start and end in characters of its sequence.
    pub offsets: Vec<(usize, usize)>,
    /// By id: whether the post-processor or the padding added it.
    pub special_tokens_mask: Vec<bool>,
    /// By id: false for padding.
    pub attention_mask: Vec<bool>,
    /// What truncation cut off, in parts that overlap by the stride.
    pub overflowing: Vec<Encoding>,
    /// The ids of each sequence; empty where the whole is the first sequence.
    pub sequence_ranges: Vec<(usize, Range<usize>)>,
}

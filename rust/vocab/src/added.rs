//! Which strings are tokens before the model sees the text?

use crate::TokenId;

/// A token matched in the text by its content, outside the model. The flags mean what they mean in `tokenizer.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// The id the match becomes.
    pub id: TokenId,
    /// The text that is matched, never empty.
    pub content: String,
    /// Left out by `decode(skip_special_tokens=True)` and subject to the special-token policy of `encode`.
    pub special: bool,
    /// Matched in the normalized text instead of the raw text.
    pub normalized: bool,
    /// The match takes the white space before it.
    pub lstrip: bool,
    /// The match takes the white space behind it.
    pub rstrip: bool,
    /// Matched only where no word character touches it.
    pub single_word: bool,
}

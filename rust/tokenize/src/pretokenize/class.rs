//! What kind of character is this?

/// `\s`: the White_Space property.
#[inline]
pub(crate) fn is_white_space(c: char) -> bool {
    c.is_whitespace()
}

/// `\w`: alphabetic, mark, decimal number, connector punctuation, join control.
pub(crate) fn is_word(c: char) -> bool {
    regex_syntax::is_word_character(c)
}

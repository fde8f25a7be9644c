//! How is text tidied that was put together from words?
//!
//! The clean-up of BERT's decoder, which removes the spaces that tokenization put before punctuation and English
//! contractions. One replacement after another, in this order, each over the whole string.

const TIDIED: [(&str, &str); 11] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// `text` without the spaces of tokenization.
pub(super) fn tidied(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in TIDIED {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text
}

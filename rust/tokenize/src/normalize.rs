//! What is the text that the model sees?
//!
//! Canonical composition (NFC) with the tables and the character alignments of Hugging Face `tokenizers`: ids and
//! offsets are compared with its own, so the crate it uses is used here too (Unicode 9; later characters compose
//! nowhere). Text that a quick check finds normal is borrowed.

use std::borrow::Cow;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::spec::Normalizer;

/// The normalizers of a tokenizer, in order.
#[derive(Clone, Debug)]
pub(crate) struct Normalizers {
    steps: Vec<Normalizer>,
}

impl Normalizers {
    pub(crate) fn new(steps: &[Normalizer]) -> Self {
        Self { steps: steps.to_vec() }
    }

    /// The normalized text.
    pub(crate) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            match step {
                Normalizer::Nfc if is_nfc(&text) => {}
                Normalizer::Nfc => text = Cow::Owned(text.chars().nfc().map(|(c, _)| c).collect()),
            }
        }
        text
    }
}

fn is_nfc(text: &str) -> bool {
    text.is_ascii() || matches!(is_nfc_quick(text.chars()), IsNormalized::Yes)
}

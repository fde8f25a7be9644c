//! What is the text that the model sees, and which part of the source is it?
//!
//! Canonical composition (NFC) with the tables and the character alignments of Hugging Face `tokenizers`: ids and
//! offsets are compared with its own, so the crate it uses is used here too (Unicode 9; characters that came later
//! stay as they are). Text that a quick check finds normal is borrowed and has no alignment: it is its own source.

use std::borrow::Cow;
use std::ops::Range;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::spec::Normalizer;

/// The normalizers of a tokenizer, in order.
#[derive(Clone, Debug)]
pub(crate) struct Normalizers {
    steps: Vec<Normalizer>,
}

/// A normalized text and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Normalized<'a> {
    pub(crate) text: Cow<'a, str>,
    alignment: Option<Alignment>,
}

/// Bytes of a normalized text in terms of its source.
#[derive(Clone, Debug, Default)]
struct Alignment {
    /// By normalized byte: the source characters it stands for, as `tokenizers` has it. Where several were composed
    /// that is the first one only.
    characters: Vec<(usize, usize)>,
    /// By normalized byte boundary: a source boundary, never falling, from 0 to the length.
    boundaries: Vec<usize>,
}

impl Normalizers {
    pub(crate) fn new(steps: &[Normalizer]) -> Self {
        Self { steps: steps.to_vec() }
    }

    /// The normalized text alone.
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

    /// The normalized text with its alignment.
    pub(crate) fn apply_aligned<'a>(&self, source: &'a str) -> Normalized<'a> {
        let mut normalized = Normalized { text: Cow::Borrowed(source), alignment: None };
        for step in &self.steps {
            match step {
                Normalizer::Nfc if is_nfc(&normalized.text) => {}
                Normalizer::Nfc => normalized = normalized.compose(),
            }
        }
        normalized
    }
}

impl<'a> Normalized<'a> {
    /// A text of which nobody asks where it comes from.
    pub(crate) fn unaligned(text: Cow<'a, str>) -> Self {
        Self { text, alignment: None }
    }

    /// Where in the source the normalized bytes of `span` come from; spans that tile the text tile the source.
    pub(crate) fn source_span(&self, span: Range<usize>) -> Range<usize> {
        match &self.alignment {
            None => span,
            Some(alignment) => alignment.boundaries[span.start]..alignment.boundaries[span.end],
        }
    }

    /// The first and the last source byte that `tokenizers` says the bytes of `span`, not empty, stand for; both lie
    /// in the outermost characters.
    pub(crate) fn source_ends(&self, span: Range<usize>) -> (usize, usize) {
        match &self.alignment {
            None => (span.start, span.end - 1),
            Some(alignment) => (alignment.characters[span.start].0, alignment.characters[span.end - 1].1 - 1),
        }
    }

    /// NFC of this text. The crate says of each character how many source characters it replaces: one more than
    /// minus `change`, or none where `change` is 1.
    fn compose<'b>(self) -> Normalized<'b> {
        let mut source = self.text.char_indices().peekable();
        let mut at = 0;
        let mut text = String::with_capacity(self.text.len());
        let mut alignment =
            Alignment { characters: Vec::with_capacity(self.text.len()), boundaries: vec![0] };
        let mut previous = (0, 0);
        for (c, change) in self.text.chars().nfc() {
            let start = at;
            let mut first = None;
            for _ in change..1 {
                let Some((from, replaced)) = source.next() else { break };
                at = from + replaced.len_utf8();
                previous = (from, at);
                first = first.or(Some((previous, replaced)));
            }
            let same = first.is_some_and(|(_, replaced)| replaced == c) && change == 0;
            for step in 1..=c.len_utf8() {
                alignment.characters.push(first.map_or(previous, |(span, _)| span));
                let inside = same && step < c.len_utf8();
                alignment.boundaries.push(if inside { start + step } else { at });
            }
            text.push(c);
        }
        if let Some(end) = alignment.boundaries.last_mut() {
            *end = self.text.len();
        }
        Normalized { text: Cow::Owned(text), alignment: Some(alignment.through(self.alignment)) }
    }
}

impl Alignment {
    /// This alignment, to the source of a text that is itself aligned.
    fn through(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        Self {
            characters: self
                .characters
                .into_iter()
                .map(|(start, end)| (earlier.characters[start].0, earlier.characters[end - 1].1))
                .collect(),
            boundaries: self.boundaries.into_iter().map(|at| earlier.boundaries[at]).collect(),
        }
    }
}

fn is_nfc(text: &str) -> bool {
    text.is_ascii() || matches!(is_nfc_quick(text.chars()), IsNormalized::Yes)
}

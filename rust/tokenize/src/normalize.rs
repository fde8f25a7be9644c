//! What is the text that the model sees, and which part of the source is it?
//!
//! Canonical composition (NFC) with the tables and the character alignments of Hugging Face `tokenizers`: ids and
//! offsets are compared with its own, so the crate it uses is used here too (Unicode 9; characters that came later
//! stay as they are). Text that a quick check finds normal is borrowed and has no alignment: it is its own source.
//! SentencePiece's space mark is read as a space, so that text with spaces is normal, too.

use std::borrow::Cow;
use std::ops::Range;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::nfc;
use crate::spec::Normalizer;

/// How SentencePiece writes a space.
pub(crate) const SPACE_MARK: char = '\u{2581}';
const SPACE_MARK_BYTES: &[u8] = "\u{2581}".as_bytes();

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
#[derive(Clone, Debug)]
enum Alignment {
    Table {
        /// By normalized byte: the source characters it stands for, as `tokenizers` has it. Where several were
        /// composed that is the first one only.
        characters: Vec<(usize, usize)>,
        /// By normalized byte boundary: a source boundary, never falling, from 0 to the length.
        boundaries: Vec<usize>,
    },
    /// The source with a space put before it, which stands for the first character.
    Prepended,
}

impl Normalizers {
    pub(crate) fn new(steps: &[Normalizer]) -> Self {
        Self { steps: steps.to_vec() }
    }

    /// The normalized text alone; `at_start` of the input.
    pub(crate) fn apply<'a>(&self, text: &'a str, at_start: bool) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            match step {
                Normalizer::Nfc => {
                    if let Some(composed) = nfc::compose(&text) {
                        text = Cow::Owned(composed);
                    }
                }
                _ if is_normal(*step, &text, at_start) => {}
                Normalizer::PrependSpace | Normalizer::PrependFirst => text = Cow::Owned(format!(" {text}")),
                Normalizer::SpaceMark => text = Cow::Owned(text.replace(SPACE_MARK, " ")),
            }
        }
        text
    }

    /// Whether the text at the start of the input stays as it is; quicker to say of ASCII.
    #[inline]
    pub(crate) fn keep(&self, text: &str) -> bool {
        self.steps.iter().all(|step| is_normal(*step, text, true))
    }

    /// The space that stands before an input which an added token starts, if one does.
    pub(crate) fn first_space(&self) -> Option<Normalized<'static>> {
        self.steps.contains(&Normalizer::PrependFirst).then(|| Normalized {
            text: Cow::Borrowed(" "),
            alignment: Some(Alignment::Table { characters: vec![(0, 1)], boundaries: vec![0, 0] }),
        })
    }

    /// The normalized text with its alignment; `at_start` of the input.
    pub(crate) fn apply_aligned<'a>(&self, source: &'a str, at_start: bool) -> Normalized<'a> {
        let mut normalized = Normalized { text: Cow::Borrowed(source), alignment: None };
        for step in &self.steps {
            match step {
                _ if is_normal(*step, &normalized.text, at_start) => {}
                Normalizer::Nfc => normalized = normalized.compose(),
                Normalizer::PrependSpace | Normalizer::PrependFirst => {
                    normalized = normalized.prepend_space()
                }
                Normalizer::SpaceMark => normalized = normalized.read_marks(),
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
            Some(alignment) => alignment.boundary(span.start)..alignment.boundary(span.end),
        }
    }

    /// The first and the last source byte that `tokenizers` says the bytes of `span`, not empty, stand for; both lie
    /// in the outermost characters.
    pub(crate) fn source_ends(&self, span: Range<usize>) -> (usize, usize) {
        match &self.alignment {
            None => (span.start, span.end - 1),
            Some(alignment) => (alignment.character(span.start).0, alignment.character(span.end - 1).1 - 1),
        }
    }

    fn prepend_space<'b>(self) -> Normalized<'b> {
        let alignment = match self.alignment {
            None => Alignment::Prepended,
            earlier => Alignment::Prepended.through(earlier, self.text.len() + 1),
        };
        Normalized { text: Cow::Owned(format!(" {}", self.text)), alignment: Some(alignment) }
    }

    fn read_marks<'b>(self) -> Normalized<'b> {
        let mut text = String::with_capacity(self.text.len());
        let (mut characters, mut boundaries) = (Vec::with_capacity(self.text.len()), vec![0]);
        for (at, c) in self.text.char_indices() {
            let end = at + c.len_utf8();
            if c == SPACE_MARK {
                text.push(' ');
                characters.push((at, end));
                boundaries.push(end);
            } else {
                text.push(c);
                characters.extend((at..end).map(|_| (at, end)));
                boundaries.extend(at + 1..=end);
            }
        }
        let alignment = Alignment::Table { characters, boundaries }.through(self.alignment, text.len());
        Normalized { text: Cow::Owned(text), alignment: Some(alignment) }
    }

    /// NFC of this text. The crate says of each character how many source characters it replaces: one more than
    /// minus `change`, or none where `change` is 1.
    fn compose<'b>(self) -> Normalized<'b> {
        let mut source = self.text.char_indices().peekable();
        let mut at = 0;
        let mut text = String::with_capacity(self.text.len());
        let (mut characters, mut boundaries) = (Vec::with_capacity(self.text.len()), vec![0]);
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
                characters.push(first.map_or(previous, |(span, _)| span));
                let inside = same && step < c.len_utf8();
                boundaries.push(if inside { start + step } else { at });
            }
            text.push(c);
        }
        if let Some(end) = boundaries.last_mut() {
            *end = self.text.len();
        }
        let alignment = Alignment::Table { characters, boundaries }.through(self.alignment, text.len());
        Normalized { text: Cow::Owned(text), alignment: Some(alignment) }
    }
}

impl Alignment {
    /// The source characters that the normalized byte `at` stands for.
    fn character(&self, at: usize) -> (usize, usize) {
        match self {
            Self::Table { characters, .. } => characters[at],
            Self::Prepended => (at.saturating_sub(1), at.max(1)),
        }
    }

    fn boundary(&self, at: usize) -> usize {
        match self {
            Self::Table { boundaries, .. } => boundaries[at],
            Self::Prepended => at.saturating_sub(1),
        }
    }

    /// This alignment of `n_bytes` bytes, to the source of a text that is itself aligned.
    fn through(self, earlier: Option<Self>, n_bytes: usize) -> Self {
        let Some(earlier) = earlier else { return self };
        let character = |at| {
            let (start, end) = self.character(at);
            (earlier.character(start).0, earlier.character(end - 1).1)
        };
        Self::Table {
            characters: (0..n_bytes).map(character).collect(),
            boundaries: (0..=n_bytes).map(|at| earlier.boundary(self.boundary(at))).collect(),
        }
    }
}

/// Whether `step` leaves `text` as it is.
fn is_normal(step: Normalizer, text: &str, at_start: bool) -> bool {
    match step {
        Normalizer::Nfc => text.is_ascii() || matches!(is_nfc_quick(text.chars()), IsNormalized::Yes),
        Normalizer::PrependSpace => text.is_empty(),
        Normalizer::PrependFirst => text.is_empty() || !at_start,
        Normalizer::SpaceMark => memchr::memmem::find(text.as_bytes(), SPACE_MARK_BYTES).is_none(),
    }
}

//! How is text changed before it is cut?
//!
//! A [`Normalizer`] is one step of a `tokenizer.json`, compiled; a sequence applies its steps one after another to the
//! same [`AlignedText`]. Tables are those of Hugging Face `tokenizers`, some of them old on purpose: composition and
//! decomposition know Unicode 9, character categories Unicode 8, white space and case follow the Rust library.
//!
//! Each step is linear in its text. `Replace` with an expression has the limits of [`super::pattern`].

mod bert;
mod precompiled;

use unicode_normalization_alignments::char::is_combining_mark;
use unicode_normalization_alignments::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

use super::definition;
use super::offsets::CharIndex;
use super::pattern::Matcher;
use super::sentencepiece::PieceNormalizer;
use super::text::{AlignedText, MAX_BYTES, Misaligned};
use crate::byte_chars::char_of_byte;
use crate::{BuildError, BuildErrorKind, EncodeError, EncodeErrorKind};
use bert::BertNormalizer;
pub(super) use precompiled::Charsmap;

/// A compiled step, or several.
#[derive(Clone, Debug)]
pub struct Normalizer(Step);

#[derive(Clone, Debug)]
enum Step {
    Bert(BertNormalizer),
    Strip { left: bool, right: bool },
    StripAccents,
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Sequence(Vec<Step>),
    Lowercase,
    Nmt,
    Precompiled(Charsmap),
    Replace { matcher: Matcher, content: String },
    Prepend(String),
    ByteLevel,
    Pieces(PieceNormalizer),
}

impl Normalizer {
    /// Compiles a normalizer.
    ///
    /// # Errors
    /// [`BuildErrorKind::Oniguruma`], [`BuildErrorKind::Pattern`], [`BuildErrorKind::Charsmap`].
    pub fn new(definition: &definition::Normalizer) -> Result<Self, BuildError> {
        Ok(Self(Step::new(definition)?))
    }

    /// Compiles what a SentencePiece model does to text.
    ///
    /// # Errors
    /// [`BuildErrorKind::Charsmap`].
    pub(super) fn of_pieces(model: &definition::PieceModel) -> Result<Self, BuildErrorKind> {
        Ok(Self(Step::Pieces(PieceNormalizer::new(model)?)))
    }

    /// Changes `text`.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Misaligned`] and [`EncodeErrorKind::Pattern`].
    pub fn normalize(&self, text: &mut AlignedText<'_>) -> Result<(), EncodeError> {
        self.0.apply(text)
    }

    /// The normalized form of a string.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize), and [`EncodeErrorKind::TextTooLong`].
    pub fn normalize_str(&self, text: &str) -> Result<String, EncodeError> {
        let mut aligned = aligned(text)?;
        self.normalize(&mut aligned)?;
        Ok(aligned.as_str().to_owned())
    }

    /// The normalized form of a string, and which characters of the string each of its characters stands for.
    ///
    /// # Errors
    /// As [`normalize_str`](Self::normalize_str).
    pub fn normalize_aligned(&self, text: &str) -> Result<(String, Vec<(usize, usize)>), EncodeError> {
        let mut aligned = aligned(text)?;
        self.normalize(&mut aligned)?;
        let chars = CharIndex::new(text);
        let sources = aligned.char_sources().map(|(start, end)| (chars.place(start), chars.place(end)));
        let sources = sources.collect();
        Ok((aligned.as_str().to_owned(), sources))
    }
}

/// The text, if it is not too long.
pub(super) fn aligned(text: &str) -> Result<AlignedText<'_>, EncodeError> {
    if text.len() > MAX_BYTES {
        return Err(EncodeErrorKind::TextTooLong { n_bytes: text.len(), limit: MAX_BYTES }.into());
    }
    Ok(AlignedText::new(text))
}

impl Step {
    fn new(definition: &definition::Normalizer) -> Result<Self, BuildErrorKind> {
        use definition::Normalizer as Kind;
        Ok(match definition {
            Kind::Bert { clean_text, handle_chinese_chars, strip_accents, lowercase } => {
                Self::Bert(BertNormalizer {
                    clean_text: *clean_text,
                    handle_chinese_chars: *handle_chinese_chars,
                    strip_accents: strip_accents.unwrap_or(*lowercase),
                    lowercase: *lowercase,
                })
            }
            Kind::Strip { left, right } => Self::Strip { left: *left, right: *right },
            Kind::StripAccents => Self::StripAccents,
            Kind::Nfc => Self::Nfc,
            Kind::Nfd => Self::Nfd,
            Kind::Nfkc => Self::Nfkc,
            Kind::Nfkd => Self::Nfkd,
            Kind::Sequence(steps) => Self::Sequence(steps.iter().map(Self::new).collect::<Result<_, _>>()?),
            Kind::Lowercase => Self::Lowercase,
            Kind::Nmt => Self::Nmt,
            Kind::Precompiled { charsmap } => Self::Precompiled(Charsmap::new(charsmap)?),
            Kind::Replace { pattern, content } => {
                Self::Replace { matcher: Matcher::new(pattern)?, content: content.clone() }
            }
            Kind::Prepend { prepend } => Self::Prepend(prepend.clone()),
            Kind::ByteLevel => Self::ByteLevel,
        })
    }

    fn apply(&self, text: &mut AlignedText<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Bert(bert) => bert.apply(text)?,
            // One side after the other: where that matters, a change reaches less than the whole text.
            Self::Strip { left, right } if *left && *right => text.strip(true, true)?,
            Self::Strip { left, right } => {
                text.strip(*left, false)?;
                text.strip(false, *right)?;
            }
            Self::StripAccents => text.filter(|c| !is_combining_mark(c))?,
            Self::Nfc => compose(text)?,
            Self::Nfd => decompose(text)?,
            Self::Nfkc => {
                let old = text.clone();
                text.rewrite(|old| is_yes(is_nfkc_quick(old.chars())), old.as_str().chars().nfkc())?;
            }
            Self::Nfkd => {
                let old = text.clone();
                text.rewrite(|old| is_yes(is_nfkd_quick(old.chars())), old.as_str().chars().nfkd())?;
            }
            Self::Sequence(steps) => {
                for step in steps {
                    step.apply(text)?;
                }
            }
            Self::Lowercase => lowercase(text)?,
            Self::Nmt => clean_as_nmt(text)?,
            Self::Precompiled(charsmap) => charsmap.apply(text)?,
            Self::Replace { matcher, content } => {
                let matches = matcher.matches(text.as_str())?;
                text.replace(&matches, content);
            }
            Self::Prepend(prefix) => text.prepend(prefix)?,
            Self::ByteLevel => to_byte_chars(text)?,
            Self::Pieces(normalizer) => normalizer.apply(text),
        }
        Ok(())
    }
}

fn is_yes(answer: IsNormalized) -> bool {
    matches!(answer, IsNormalized::Yes)
}

fn compose(text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
    let old = text.clone();
    text.rewrite(|old| old.is_ascii() || is_yes(is_nfc_quick(old.chars())), old.as_str().chars().nfc())
}

fn decompose(text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
    let old = text.clone();
    text.rewrite(|old| old.is_ascii() || is_yes(is_nfd_quick(old.chars())), old.as_str().chars().nfd())
}

fn lowercase(text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
    text.expand(|c| c.to_lowercase().eq([c]), char::to_lowercase)
}

/// Every byte becomes its printable character; those behind the first of a character count as inserted.
pub(super) fn to_byte_chars(text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
    let chars_of = |c: char| {
        let mut utf8 = [0; 4];
        let n_bytes = c.encode_utf8(&mut utf8).len();
        utf8.into_iter().take(n_bytes).map(char_of_byte)
    };
    text.expand(|c| c.is_ascii() && char_of_byte(c as u8) == c, chars_of)
}

/// The cleaning of neural machine translation in SentencePiece: control characters go, separators become spaces.
fn clean_as_nmt(text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
    text.filter(
        |c| !matches!(c, '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{8f}' | '\u{9f}'),
    )?;
    text.map(|c| match c {
        '\t' | '\n' | '\u{c}' | '\r' | '\u{1680}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{2581}' | '\u{feff}' | '\u{fffd}' => ' ',
        c => c,
    })
}

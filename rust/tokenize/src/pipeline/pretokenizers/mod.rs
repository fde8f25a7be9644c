//! How is normalized text cut into words?
//!
//! A [`PreTokenizer`] is one step of a `tokenizer.json`, compiled; it replaces each piece of a text by its parts and may
//! change them on the way (ByteLevel, Metaspace). Word characters and white space are those of the `regex` crate, as in
//! Hugging Face `tokenizers`; punctuation comes from tables of Unicode 8, scripts from Unicode 9.
//!
//! Each step is linear in its text. `Split` with an expression has the limits of [`super::pattern`].

mod scripts;

use unicode_categories::UnicodeCategories;

use super::definition::{self, Pattern, PrependScheme};
use super::normalizers::{aligned, to_byte_chars};
use super::offsets::CharIndex;
use super::pattern::Matcher;
use super::pieces::{Part, Piece, Pieces, cut, parts_by_char, parts_by_match};
use super::text::AlignedText;
use crate::pretokenize::class::{is_white_space, is_word};
use crate::pretokenize::generic::GPT2;
use crate::spec::SplitBehavior;
use crate::{BuildError, BuildErrorKind, EncodeError};

/// A compiled step, or several.
#[derive(Clone, Debug)]
pub struct PreTokenizer(Step);

#[derive(Clone, Debug)]
enum Step {
    Bert,
    ByteLevel { add_prefix_space: bool, matcher: Option<Matcher> },
    CharDelimiterSplit(char),
    Metaspace { replacement: char, prepend_scheme: PrependScheme, split: bool },
    Whitespace,
    Sequence(Vec<Step>),
    Split { matcher: Matcher, behavior: SplitBehavior, invert: bool },
    Punctuation(SplitBehavior),
    WhitespaceSplit,
    Digits { individual: bool },
    UnicodeScripts,
    FixedLength(usize),
}

/// A piece of a text and the characters of the source that it stands for.
pub type Word = (String, (usize, usize));

/// A piece of a text, the characters of the source that each of its characters stands for, and those of the whole.
pub type AlignedWord = (String, Vec<(usize, usize)>, (usize, usize));

impl PreTokenizer {
    /// Compiles a pre-tokenizer.
    ///
    /// # Errors
    /// [`BuildErrorKind::Oniguruma`], [`BuildErrorKind::Pattern`], [`BuildErrorKind::Field`].
    pub fn new(definition: &definition::PreTokenizer) -> Result<Self, BuildError> {
        Ok(Self(Step::new(definition)?))
    }

    /// Cuts the pieces of a text further.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Misaligned`](crate::EncodeErrorKind::Misaligned) and
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern).
    pub fn pre_tokenize(&self, pieces: &mut Pieces<'_>) -> Result<(), EncodeError> {
        self.0.apply(pieces)
    }

    /// The words of a string.
    ///
    /// # Errors
    /// As [`pre_tokenize`](Self::pre_tokenize), and
    /// [`EncodeErrorKind::TextTooLong`](crate::EncodeErrorKind::TextTooLong).
    pub fn pre_tokenize_str(&self, text: &str) -> Result<Vec<Word>, EncodeError> {
        let mut pieces = Pieces::new(aligned(text)?);
        self.pre_tokenize(&mut pieces)?;
        let chars = CharIndex::new(text);
        Ok(pieces
            .iter()
            .map(|piece| {
                let source = piece.text.source();
                (piece.text.as_str().to_owned(), chars.span((source.start, source.end)))
            })
            .collect())
    }

    /// The words of a string, which characters of the string each of their characters stands for, and which the whole
    /// word does. What is not `is_first` is no start of a text.
    ///
    /// # Errors
    /// As [`pre_tokenize_str`](Self::pre_tokenize_str).
    pub fn pre_tokenize_aligned(&self, text: &str, is_first: bool) -> Result<Vec<AlignedWord>, EncodeError> {
        let before = if is_first { "" } else { " " };
        let whole = format!("{before}{text}");
        let mut pieces = Pieces::new(aligned(&whole)?.slice(before.len()..whole.len()));
        self.pre_tokenize(&mut pieces)?;
        let chars = CharIndex::new(&whole);
        let span = |(start, end)| (chars.place(start) - before.len(), chars.place(end) - before.len());
        let word = |piece: &Piece<'_>| {
            let source = piece.text.source();
            let sources = piece.text.char_sources().map(span).collect();
            (piece.text.as_str().to_owned(), sources, span((source.start, source.end)))
        };
        Ok(pieces.iter().map(word).collect())
    }
}

impl Step {
    fn new(definition: &definition::PreTokenizer) -> Result<Self, BuildErrorKind> {
        use definition::PreTokenizer as Kind;
        Ok(match definition {
            Kind::Bert => Self::Bert,
            Kind::ByteLevel { add_prefix_space, use_regex, .. } => Self::ByteLevel {
                add_prefix_space: *add_prefix_space,
                matcher: match use_regex {
                    true => Some(Matcher::new(&Pattern::Regex(GPT2.to_owned()))?),
                    false => None,
                },
            },
            Kind::CharDelimiterSplit { delimiter } => Self::CharDelimiterSplit(*delimiter),
            Kind::Metaspace { replacement, prepend_scheme, split } => {
                Self::Metaspace { replacement: *replacement, prepend_scheme: *prepend_scheme, split: *split }
            }
            Kind::Whitespace => Self::Whitespace,
            Kind::Sequence(steps) => Self::Sequence(steps.iter().map(Self::new).collect::<Result<_, _>>()?),
            Kind::Split { pattern, behavior, invert } => {
                Self::Split { matcher: Matcher::new(pattern)?, behavior: *behavior, invert: *invert }
            }
            Kind::Punctuation { behavior } => Self::Punctuation(*behavior),
            Kind::WhitespaceSplit => Self::WhitespaceSplit,
            Kind::Digits { individual_digits } => Self::Digits { individual: *individual_digits },
            Kind::UnicodeScripts => Self::UnicodeScripts,
            Kind::FixedLength { length: 0 } => {
                let field = "length of FixedLength";
                return Err(BuildErrorKind::Field { field, found: "0".into(), expected: "at least 1" });
            }
            Kind::FixedLength { length } => Self::FixedLength(*length),
        })
    }

    fn apply(&self, pieces: &mut Pieces<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Bert => {
                by_char(pieces, is_white_space, SplitBehavior::Removed)?;
                by_char(pieces, is_punctuation, SplitBehavior::Isolated)
            }
            Self::ByteLevel { add_prefix_space, matcher } => {
                pieces.split(|mut text, out| {
                    if *add_prefix_space && !text.as_str().starts_with(' ') {
                        text.prepend(" ")?;
                    }
                    match matcher {
                        Some(matcher) => {
                            let matches = matcher.matches(text.as_str())?;
                            let parts = parts_by_match(text.len(), &matches);
                            cut(&text, parts, SplitBehavior::Isolated, out);
                        }
                        None => out.push(Piece { text, added: None }),
                    }
                    Ok(())
                })?;
                pieces.change(to_byte_chars)
            }
            Self::CharDelimiterSplit(delimiter) => {
                by_char(pieces, |c| c == *delimiter, SplitBehavior::Removed)
            }
            Self::Metaspace { replacement, prepend_scheme, split } => pieces.split(|mut text, out| {
                mark_spaces(&mut text, *replacement, *prepend_scheme)?;
                if *split {
                    let parts = parts_by_char(text.as_str(), |c| c == *replacement);
                    cut(&text, parts, SplitBehavior::MergedWithNext, out);
                } else {
                    out.push(Piece { text, added: None });
                }
                Ok(())
            }),
            Self::Whitespace => by_parts(pieces, |text| Ok(word_parts(text)), SplitBehavior::Removed),
            Self::Sequence(steps) => steps.iter().try_for_each(|step| step.apply(pieces)),
            Self::Split { matcher, behavior, invert } => by_parts(
                pieces,
                |text| {
                    let mut parts = parts_by_match(text.len(), &matcher.matches(text)?);
                    if *invert {
                        parts.iter_mut().for_each(|(_, is_match)| *is_match = !*is_match);
                    }
                    Ok(parts)
                },
                *behavior,
            ),
            Self::Punctuation(behavior) => by_char(pieces, is_punctuation, *behavior),
            Self::WhitespaceSplit => by_char(pieces, is_white_space, SplitBehavior::Removed),
            Self::Digits { individual } => {
                let behavior = if *individual { SplitBehavior::Isolated } else { SplitBehavior::Contiguous };
                by_char(pieces, char::is_numeric, behavior)
            }
            Self::UnicodeScripts => {
                by_parts(pieces, |text| Ok(scripts::parts(text)), SplitBehavior::Isolated)
            }
            Self::FixedLength(length) => {
                by_parts(pieces, |text| Ok(parts_of_length(text, *length)), SplitBehavior::Isolated)
            }
        }
    }
}

fn by_parts(
    pieces: &mut Pieces<'_>,
    parts: impl Fn(&str) -> Result<Vec<Part>, EncodeError>,
    behavior: SplitBehavior,
) -> Result<(), EncodeError> {
    pieces.split(|text, out| {
        cut(&text, parts(text.as_str())?, behavior, out);
        Ok(())
    })
}

fn by_char(
    pieces: &mut Pieces<'_>,
    is_delimiter: impl Fn(char) -> bool,
    behavior: SplitBehavior,
) -> Result<(), EncodeError> {
    by_parts(pieces, |text| Ok(parts_by_char(text, &is_delimiter)), behavior)
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

fn mark_spaces(
    text: &mut AlignedText<'_>,
    replacement: char,
    scheme: PrependScheme,
) -> Result<(), EncodeError> {
    let mut utf8 = [0; 4];
    let mark = replacement.encode_utf8(&mut utf8);
    let spaces: Vec<_> = text.as_str().match_indices(' ').map(|(at, _)| at..at + 1).collect();
    text.replace(&spaces, mark);
    let prepends = match scheme {
        PrependScheme::Always => true,
        PrependScheme::First => text.source().start == 0,
        PrependScheme::Never => false,
    };
    if prepends && !text.as_str().starts_with(replacement) {
        text.prepend(mark)?;
    }
    Ok(())
}

/// Runs of word characters, and runs of what is neither word nor white space. White space counts as the match.
fn word_parts(text: &str) -> Vec<Part> {
    let kind = |c: char| if is_word(c) { 0 } else { 1 + u8::from(is_white_space(c)) };
    let mut parts: Vec<Part> = Vec::new();
    let mut last = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let kind = Some(kind(c));
        match parts.last_mut() {
            Some((span, _)) if kind == last => span.end = end,
            _ => parts.push((at..end, kind == Some(2))),
        }
        last = kind;
    }
    parts
}

fn parts_of_length(text: &str, n_chars: usize) -> Vec<Part> {
    let starts = text.char_indices().map(|(at, _)| at).step_by(n_chars);
    let ends = text.char_indices().map(|(at, _)| at).step_by(n_chars).skip(1).chain([text.len()]);
    starts.zip(ends).map(|(start, end)| (start..end, false)).collect()
}

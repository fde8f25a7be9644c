//! How do token strings become text, at once or one by one?
//!
//! A [`Decoder`] is a chain of steps, each of which turns a list of strings into another one; the text is the last list
//! joined. Here a list is a stream: a step is handed a string in fragments and hands on fragments, and the end of each
//! string. So there is one implementation for whole texts and for streams, and their results are equal.
//!
//! What waits, until it is known what becomes of it:
//!
//! | step | waits |
//! |---|---|
//! | Fuse, Metaspace | nothing |
//! | Strip | up to `stop` characters |
//! | BPE | one token: the last one is treated differently |
//! | ByteFallback | a run of byte tokens: one bad byte in it spoils them all |
//! | ByteLevel, that of SentencePiece | the start of a character, at most 3 bytes |
//! | WordPiece, CTC, Replace | the rest of a string: nothing, but behind Fuse or ByteLevel everything |
//!
//! Linear in the text but for `Replace` with an expression, which has the limits of [`super::pattern`].

mod stream;
mod words;

use super::definition::{self, PrependScheme};
use super::pattern::Matcher;
use super::sentencepiece::PieceDecoder;
use crate::{BuildError, BuildErrorKind, DecodeError};
pub use stream::DecoderState;

/// The longest chain of steps.
const MAX_STEPS: usize = 1000;

/// A compiled chain of steps.
#[derive(Clone, Debug)]
pub struct Decoder {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Bpe {
        suffix: String,
    },
    ByteLevel,
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    Metaspace {
        replacement: char,
        drops_first: bool,
    },
    Ctc {
        pad_token: String,
        word_delimiter_token: String,
        cleanup: bool,
    },
    Replace {
        matcher: Matcher,
        content: String,
    },
    Fuse,
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    ByteFallback,
    /// A space between two strings: what happens where there is no decoder.
    Spaces,
    /// That of a SentencePiece model.
    Pieces(Box<PieceDecoder>),
}

impl Decoder {
    /// Compiles a decoder; none puts spaces between the strings.
    ///
    /// # Errors
    /// [`BuildErrorKind::Oniguruma`], [`BuildErrorKind::Pattern`], [`BuildErrorKind::Field`].
    pub fn new(definition: Option<&definition::Decoder>) -> Result<Self, BuildError> {
        let mut steps = Vec::new();
        match definition {
            None => steps.push(Step::Spaces),
            Some(definition) => flatten(definition, &mut steps)?,
        }
        if steps.len() > MAX_STEPS {
            let found = format!("a chain of {}", steps.len()).into();
            return Err(
                BuildErrorKind::Field { field: "decoder", found, expected: "at most 1000 steps" }.into()
            );
        }
        Ok(Self { steps })
    }

    /// Compiles the decoder of a SentencePiece model.
    pub(super) fn of_pieces(model: &definition::PieceModel) -> Self {
        Self { steps: vec![Step::Pieces(Box::new(PieceDecoder::new(model)))] }
    }

    /// The text of these strings.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Pattern`](crate::DecodeErrorKind::Pattern).
    pub fn decode<S: AsRef<str>>(&self, tokens: impl IntoIterator<Item = S>) -> Result<String, DecodeError> {
        let mut state = DecoderState::new(self);
        let mut text = String::new();
        for token in tokens {
            state.push(self, token.as_ref(), &mut text)?;
        }
        state.finish(self, &mut text)?;
        Ok(text)
    }
}

fn flatten(definition: &definition::Decoder, steps: &mut Vec<Step>) -> Result<(), BuildErrorKind> {
    use definition::Decoder as Kind;
    steps.push(match definition {
        Kind::Sequence(inner) => return inner.iter().try_for_each(|inner| flatten(inner, steps)),
        Kind::Bpe { suffix } => Step::Bpe { suffix: suffix.clone() },
        Kind::ByteLevel { .. } => Step::ByteLevel,
        Kind::WordPiece { prefix, cleanup } => Step::WordPiece { prefix: prefix.clone(), cleanup: *cleanup },
        Kind::Metaspace { replacement, prepend_scheme, .. } => Step::Metaspace {
            replacement: *replacement,
            drops_first: *prepend_scheme != PrependScheme::Never,
        },
        Kind::Ctc { pad_token, word_delimiter_token, cleanup } => Step::Ctc {
            pad_token: pad_token.clone(),
            word_delimiter_token: word_delimiter_token.clone(),
            cleanup: *cleanup,
        },
        Kind::Replace { pattern, content } => {
            Step::Replace { matcher: Matcher::new(pattern)?, content: content.clone() }
        }
        Kind::Fuse => Step::Fuse,
        Kind::Strip { content, start, stop } => Step::Strip { content: *content, start: *start, stop: *stop },
        Kind::ByteFallback => Step::ByteFallback,
    });
    Ok(())
}

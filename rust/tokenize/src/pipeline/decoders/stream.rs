//! What does each decoding step remember between two fragments?
//!
//! The state of one step is a place in the stream of strings (the number of the current one), the part of the current
//! string that is not decided, and what waits of strings before. A fragment goes down the chain at once, so nothing is
//! kept twice.

use super::words::tidied;
use super::{Decoder, Step};
use crate::byte_chars::byte_of_char;
use crate::pipeline::sentencepiece::PieceState;
use crate::{DecodeError, DecodeErrorKind};

/// What a chain of steps remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderState {
    steps: Vec<StepState>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StepState {
    /// How many strings have ended.
    n_strings: usize,
    /// The current string so far, where the step needs all of it.
    current: String,
    /// The string before the current one, where the step needs it.
    last: Option<String>,
    /// Bytes that are not text yet.
    bytes: Vec<u8>,
    /// Whether the current string has begun.
    is_inside: bool,
    /// Strip: how many characters may still go at the start.
    n_left: usize,
    /// Strip: how many characters wait that go if the string ends behind them.
    n_waiting: usize,
    /// That of the decoder of SentencePiece.
    pieces: PieceState,
}

/// Where fragments go: the steps behind the current one, and the text behind the last.
struct Rest<'a> {
    steps: &'a [Step],
    states: &'a mut [StepState],
    text: &'a mut String,
}

impl DecoderState {
    /// At the start.
    pub fn new(decoder: &Decoder) -> Self {
        Self { steps: vec![StepState::default(); decoder.steps.len()] }
    }

    /// Decodes one more string; what is certain is appended to `text`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Pattern`].
    pub fn push(&mut self, decoder: &Decoder, token: &str, text: &mut String) -> Result<(), DecodeError> {
        Rest { steps: &decoder.steps, states: &mut self.steps, text }.string(token)
    }

    /// Decodes what waits; the state is as new afterwards.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Pattern`].
    pub fn finish(&mut self, decoder: &Decoder, text: &mut String) -> Result<(), DecodeError> {
        for at in 0..self.steps.len() {
            let (state, states) = self.steps.split_at_mut(at + 1);
            let state = std::mem::take(&mut state[at]);
            let mut rest = Rest { steps: &decoder.steps[at + 1..], states, text };
            decoder.steps[at].finish(state, &mut rest)?;
        }
        Ok(())
    }
}

impl Rest<'_> {
    /// A whole string.
    fn string(&mut self, text: &str) -> Result<(), DecodeError> {
        self.fragment(text, true)
    }

    /// A part of the current string; `ends` says that it is the last one.
    fn fragment(&mut self, text: &str, ends: bool) -> Result<(), DecodeError> {
        let (Some((step, steps)), Some((state, states))) =
            (self.steps.split_first(), self.states.split_first_mut())
        else {
            self.text.push_str(text);
            return Ok(());
        };
        step.fragment(state, text, ends, &mut Rest { steps, states, text: self.text })
    }
}

impl Step {
    fn fragment(
        &self,
        state: &mut StepState,
        text: &str,
        ends: bool,
        rest: &mut Rest<'_>,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Fuse => rest.fragment(text, false),
            Self::Spaces => {
                if !state.is_inside && state.n_strings > 0 {
                    rest.fragment(" ", false)?;
                }
                state.is_inside = !ends;
                state.n_strings += usize::from(ends);
                rest.fragment(text, ends)
            }
            Self::Metaspace { replacement, drops_first } => {
                let mut utf8 = [0; 4];
                let mark = &*replacement.encode_utf8(&mut utf8);
                let space = if state.n_strings == 0 && *drops_first { "" } else { " " };
                state.n_strings += usize::from(ends);
                if text.contains(mark) {
                    rest.fragment(&text.replace(mark, space), ends)
                } else {
                    rest.fragment(text, ends)
                }
            }
            Self::Strip { content, start, stop } => strip(state, (*content, *start, *stop), text, ends, rest),
            _ if !ends => {
                state.current.push_str(text);
                Ok(())
            }
            _ if state.current.is_empty() => self.string(state, text, rest),
            _ => {
                let mut whole = std::mem::take(&mut state.current);
                whole.push_str(text);
                self.string(state, &whole, rest)
            }
        }
    }

    /// A step that needs whole strings gets one.
    fn string(&self, state: &mut StepState, text: &str, rest: &mut Rest<'_>) -> Result<(), DecodeError> {
        let is_first = state.n_strings == 0;
        state.n_strings += 1;
        match self {
            Self::Bpe { suffix } => match state.last.replace(text.to_owned()) {
                Some(last) => rest.string(&last.replace(suffix.as_str(), " ")),
                None => Ok(()),
            },
            Self::ByteLevel => {
                push_bytes(&mut state.bytes, text);
                let text = take_certain(&mut state.bytes);
                if text.is_empty() { Ok(()) } else { rest.fragment(&text, false) }
            }
            Self::WordPiece { prefix, cleanup } => {
                let inside = if is_first { Some(text) } else { text.strip_prefix(prefix.as_str()) };
                match inside {
                    Some(text) if !cleanup => rest.string(text),
                    Some(text) => rest.string(&tidied(text)),
                    None if !cleanup => rest.string(&format!(" {text}")),
                    None => rest.string(&tidied(&format!(" {text}"))),
                }
            }
            Self::Ctc { pad_token, word_delimiter_token, cleanup } => {
                if state.last.as_deref() == Some(text) {
                    return Ok(());
                }
                state.last = Some(text.to_owned());
                let mut kept = text.replace(pad_token.as_str(), "");
                if *cleanup {
                    kept = tidied(&kept).replace(word_delimiter_token.as_str(), " ");
                }
                if kept.is_empty() { Ok(()) } else { rest.string(&kept) }
            }
            Self::Replace { matcher, content } => {
                let replaced = matcher.replaced(text, content).map_err(|error| {
                    let reason = error.to_string().into();
                    DecodeError::from(DecodeErrorKind::Pattern { n_bytes: text.len(), reason })
                })?;
                rest.string(&replaced)
            }
            Self::Pieces(decoder) => rest.string(&decoder.push(&mut state.pieces, text)),
            Self::ByteFallback => match byte_token(text) {
                Some(byte) => {
                    state.bytes.push(byte);
                    Ok(())
                }
                None => {
                    end_bytes(&mut state.bytes, rest)?;
                    rest.string(text)
                }
            },
            // These take fragments.
            Self::Fuse | Self::Spaces | Self::Metaspace { .. } | Self::Strip { .. } => Ok(()),
        }
    }

    fn finish(&self, mut state: StepState, rest: &mut Rest<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Fuse => rest.string(""),
            Self::Bpe { suffix } => match state.last {
                Some(last) => rest.string(&last.replace(suffix.as_str(), "")),
                None => Ok(()),
            },
            Self::ByteLevel => rest.string(&String::from_utf8_lossy(&state.bytes)),
            Self::ByteFallback => end_bytes(&mut state.bytes, rest),
            Self::Pieces(_) => rest.string(&state.pieces.finish()),
            _ => Ok(()),
        }
    }
}

/// The bytes of a string of byte characters; of any other string its own.
fn push_bytes(bytes: &mut Vec<u8>, text: &str) {
    let n_before = bytes.len();
    for c in text.chars() {
        match byte_of_char(c) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(n_before);
                bytes.extend_from_slice(text.as_bytes());
                return;
            }
        }
    }
}

/// Takes the text that no byte to come can change.
fn take_certain(bytes: &mut Vec<u8>) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut n_waiting = 0;
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        // An unfinished character at the end may still be finished.
        let is_last = chunks.peek().is_none();
        if is_last && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none()) {
            n_waiting = chunk.invalid().len();
        } else if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    bytes.drain(..bytes.len() - n_waiting);
    text
}

/// The byte of `<0x41>`.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    // Like the original this takes a sign for a digit: `<0x+a>` is byte 10.
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// A run of byte tokens has ended: it is text as a whole, or each byte is a replacement character.
fn end_bytes(bytes: &mut Vec<u8>, rest: &mut Rest<'_>) -> Result<(), DecodeError> {
    let bytes = std::mem::take(bytes);
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Ok(()),
        Ok(text) => rest.string(&text),
        Err(error) => error.as_bytes().iter().try_for_each(|_| rest.string("\u{fffd}")),
    }
}

/// Removes up to `start` of a character at the start of each string and up to `stop` at its end.
fn strip(
    state: &mut StepState,
    (content, start, stop): (char, usize, usize),
    text: &str,
    ends: bool,
    rest: &mut Rest<'_>,
) -> Result<(), DecodeError> {
    if !state.is_inside {
        (state.is_inside, state.n_left, state.n_waiting) = (true, start, 0);
    }
    let mut kept = text;
    while state.n_left > 0
        && let Some(c) = kept.chars().next()
    {
        if c != content {
            state.n_left = 0;
            break;
        }
        state.n_left -= 1;
        kept = &kept[c.len_utf8()..];
    }
    let tail = kept.chars().rev().take_while(|&c| c == content).count();
    let is_all_tail = tail * content.len_utf8() == kept.len();
    let n_at_end = if is_all_tail { state.n_waiting + tail } else { tail };
    let n_waiting = n_at_end.min(stop);
    // What waited and does not wait any longer, then the text without what waits now.
    let n_released = if is_all_tail { n_at_end - n_waiting } else { state.n_waiting };
    for _ in 0..n_released {
        rest.fragment(content.encode_utf8(&mut [0; 4]), false)?;
    }
    state.n_waiting = n_waiting;
    if !is_all_tail {
        kept = &kept[..kept.len() - n_waiting * content.len_utf8()];
    } else {
        kept = "";
    }
    state.is_inside = !ends;
    rest.fragment(kept, ends)
}

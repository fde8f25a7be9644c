//! Which text do pieces stand for?
//!
//! Byte pieces are read as UTF-8, one U+FFFD for each byte that belongs to no character; the unknown piece has a text of
//! its own; in all others U+2581 becomes a space. As long as there is no text, a first mark is dropped: once, or, where
//! extra spaces are removed, from every piece.
//!
//! O(1) a piece; at most 3 bytes wait, the start of a character.

use super::SPACE_MARK;
use crate::pipeline::definition::{PieceModel, PieceType};

/// A compiled decoder.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct PieceDecoder {
    unknown: String,
    unknown_surface: String,
    has_bytes: bool,
    drops_first: bool,
    drops_all: bool,
}

/// What decoding remembers between two pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct PieceState {
    /// Bytes that are not a character yet.
    bytes: Vec<u8>,
    /// Whether there is text.
    has_text: bool,
    /// Whether the mark that may be dropped is behind.
    is_past_first: bool,
}

impl PieceDecoder {
    pub(in crate::pipeline) fn new(model: &PieceModel) -> Self {
        let unknown = model.pieces.iter().find(|piece| piece.piece_type == PieceType::Unknown);
        Self {
            unknown: unknown.map(|piece| piece.text.clone()).unwrap_or_default(),
            unknown_surface: model.unknown_surface.clone(),
            has_bytes: model.byte_fallback,
            drops_first: model.add_dummy_prefix || model.remove_extra_whitespaces,
            drops_all: model.remove_extra_whitespaces,
        }
    }

    /// The text that is certain once `piece` has arrived.
    pub(in crate::pipeline) fn push(&self, state: &mut PieceState, piece: &str) -> String {
        if let Some(byte) = byte_of(piece).filter(|_| self.has_bytes) {
            state.bytes.push(byte);
            return state.take(false);
        }
        let mut text = state.take(true);
        let has_text = state.has_text;
        if piece == self.unknown {
            text.push_str(&self.unknown_surface);
        } else {
            let is_first = self.drops_first && !has_text && !state.is_past_first;
            let kept = piece.strip_prefix(SPACE_MARK).filter(|_| is_first);
            state.is_past_first |= kept.is_some() && !self.drops_all;
            text.push_str(&kept.unwrap_or(piece).replace(SPACE_MARK, " "));
        }
        state.has_text |= !text.is_empty();
        text
    }
}

impl PieceState {
    /// The text of the bytes that wait.
    pub(in crate::pipeline) fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, is_end: bool) -> String {
        let mut text = String::new();
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let valid = match std::str::from_utf8(rest) {
                Ok(valid) => valid,
                Err(error) if error.valid_up_to() > 0 => {
                    let (valid, _) = rest.split_at(error.valid_up_to());
                    std::str::from_utf8(valid).unwrap_or_default()
                }
                Err(error) if !is_end && error.error_len().is_none() => break,
                Err(_) => "",
            };
            text.push_str(if valid.is_empty() { "\u{fffd}" } else { valid });
            rest = &rest[valid.len().max(1)..];
        }
        let n_done = self.bytes.len() - rest.len();
        self.bytes.drain(..n_done);
        self.has_text |= !text.is_empty();
        text
    }
}

/// The byte of `<0x41>`, which is written in this way alone.
fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_upper = digits.bytes().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit));
    (digits.len() == 2 && is_upper).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

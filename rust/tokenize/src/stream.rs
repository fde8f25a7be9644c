//! How does text appear while ids still arrive?
//!
//! A byte state machine: the bytes of each id are appended, and all text that later bytes cannot change is handed out.
//! At most three bytes wait, the start of a character. The parts joined are the text that decoding all ids at once
//! gives, replacement characters included. A decoder with byte fallback has rules of its own (see `fallback`). O(bytes of the id) a step; nothing raises but an id that is no token.

use tokenloom_vocab::TokenId;

use crate::fallback::{Fallback, is_unfinished};
use crate::spec::Decoder;
use crate::{DecodeError, DecodeErrorKind, Tokenizer};

/// The bytes of a decoding stream that are not text yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodeStream {
    pending: Vec<u8>,
    /// The state of a decoder with byte fallback, which has no use for `pending`.
    fallback: Fallback,
    skip_special_tokens: bool,
    n_ids: usize,
}

impl DecodeStream {
    /// A stream at its start.
    pub fn new(skip_special_tokens: bool) -> Self {
        Self { skip_special_tokens, ..Self::default() }
    }

    /// The text that is certain once `id` has arrived.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`]; the stream is as before.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> Result<String, DecodeError> {
        let Some(bytes) = tokenizer.token_bytes(id) else {
            return Err(DecodeErrorKind::UnknownToken { id, index: self.n_ids }.into());
        };
        self.n_ids += 1;
        let decoder = tokenizer.spec().decoder;
        let is_skipped = self.skip_special_tokens && tokenizer.is_special(id);
        if is_skipped && decoder == Decoder::Bytes {
            return Ok(String::new());
        }
        if decoder != Decoder::Bytes {
            let mut text = Vec::with_capacity(bytes.len());
            if is_skipped {
                self.fallback.skip(decoder, &mut text);
            } else {
                self.fallback.push(bytes, tokenizer.token_kind(id, bytes), decoder, &mut text);
            }
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.pending.len());
        let mut n_waiting = 0;
        let mut chunks = self.pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            // In the middle, the byte behind the chunk has shown that it is no character.
            if chunks.peek().is_none() && is_unfinished(chunk.invalid()) {
                n_waiting = chunk.invalid().len();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.drain(..self.pending.len() - n_waiting);
        Ok(text)
    }

    /// What is left: a replacement character if a character was never finished. The stream starts anew.
    pub fn flush(&mut self, tokenizer: &Tokenizer) -> String {
        let mut text = std::mem::take(&mut self.pending);
        self.fallback.flush(tokenizer.spec().decoder, &mut text);
        self.fallback = Fallback::default();
        let text = String::from_utf8_lossy(&text).into_owned();
        self.n_ids = 0;
        text
    }

    /// The bytes that wait for the rest of their character, or of a run of byte tokens.
    pub fn pending(&self) -> &[u8] {
        if self.pending.is_empty() { self.fallback.pending() } else { &self.pending }
    }
}

//! How does text appear while ids still arrive?
//!
//! A byte state machine: the bytes of each id are appended, and all text that later bytes cannot change is handed out.
//! At most three bytes wait, the start of a character. The parts joined are the text that decoding all ids at once
//! gives, replacement characters included. O(bytes of the id) a step; nothing raises but an id that is no token.

use tokenloom_vocab::TokenId;

use crate::{DecodeError, DecodeErrorKind, Tokenizer};

/// The bytes of a decoding stream that are not text yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodeStream {
    pending: Vec<u8>,
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
        if self.skip_special_tokens && tokenizer.is_special(id) {
            return Ok(String::new());
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
    pub fn flush(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        self.n_ids = 0;
        text
    }

    /// The bytes that wait for the rest of their character.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }
}

/// Whether later bytes can make a character of these.
fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

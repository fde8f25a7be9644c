//! How do ids become text where tokens are text and byte tokens fill the gaps?
//!
//! Tokens are text, so only a run of byte tokens can be anything but UTF-8, and a run is decoded by itself. In a file of
//! Hugging Face `tokenizers` one bad byte turns the whole run into replacement characters; a stream that is to say the
//! same has to wait for the end of a run, or for a byte that settles it. In `sentencepiece` the characters of a run stay, and at
//! most three bytes wait. A space put before the text when it was encoded is dropped: for `sentencepiece` only one that is part
//! of a token, and a special token that is left out ends a run there. O(bytes of the id) a step.

use tokenloom_vocab::TokenId;

use crate::spec::{Decoder, InvalidRun};
use crate::{DecodeError, DecodeErrorKind, Tokenizer};

/// Where decoding stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fallback {
    /// Bytes of the run in progress that are not text yet.
    run: Vec<u8>,
    /// Some byte of the run was bad, so all of its bytes are.
    broken: bool,
    /// Something was handed out.
    started: bool,
}

/// What the bytes of a token are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Text,
    /// A byte of an unknown character.
    Byte,
    /// Text that stands for what was unknown.
    Unknown,
}

impl Fallback {
    /// Adds one token and hands out what later ones cannot change.
    pub(crate) fn push(&mut self, bytes: &[u8], kind: TokenKind, decoder: Decoder, text: &mut Vec<u8>) {
        let from = text.len();
        if kind == TokenKind::Byte {
            self.run.extend_from_slice(bytes);
            self.settle(decoder, text);
        } else {
            self.end_run(decoder, text);
            text.extend_from_slice(bytes);
        }
        self.strip(from, kind == TokenKind::Text || !is_of_pieces(decoder), decoder, text);
    }

    /// Passes over a token that is left out.
    pub(crate) fn skip(&mut self, decoder: Decoder, text: &mut Vec<u8>) {
        if is_of_pieces(decoder) {
            self.flush(decoder, text);
        }
    }

    /// Hands out what is left.
    pub(crate) fn flush(&mut self, decoder: Decoder, text: &mut Vec<u8>) {
        let from = text.len();
        self.end_run(decoder, text);
        self.strip(from, !is_of_pieces(decoder), decoder, text);
    }

    /// The bytes that wait.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.run
    }

    fn settle(&mut self, decoder: Decoder, text: &mut Vec<u8>) {
        let error = std::str::from_utf8(&self.run).err();
        let is_bad = self.broken || error.is_some_and(|error| error.error_len().is_some());
        match decoder {
            Decoder::ByteFallback { invalid: InvalidRun::Whole, .. } if is_bad => {
                self.broken = true;
                replace(self.run.len(), text);
                self.run.clear();
            }
            Decoder::ByteFallback { invalid: InvalidRun::Whole, .. } => {}
            _ => {
                let n_waiting = match self.run.utf8_chunks().last() {
                    Some(last) if is_unfinished(last.invalid()) => last.invalid().len(),
                    _ => 0,
                };
                let rest = self.run.split_off(self.run.len() - n_waiting);
                each_byte(&self.run, text);
                self.run = rest;
            }
        }
    }

    fn end_run(&mut self, decoder: Decoder, text: &mut Vec<u8>) {
        match decoder {
            Decoder::ByteFallback { invalid: InvalidRun::Whole, .. } => {
                match std::str::from_utf8(&self.run) {
                    Ok(run) => text.extend_from_slice(run.as_bytes()),
                    Err(_) => replace(self.run.len(), text),
                }
            }
            _ => each_byte(&self.run, text),
        }
        self.run.clear();
        self.broken = false;
    }

    /// Drops one space from the start of the whole text, if it may be dropped; `text[from..]` is new.
    fn strip(&mut self, from: usize, may_drop: bool, decoder: Decoder, text: &mut Vec<u8>) {
        if self.started || text.len() == from {
            return;
        }
        self.started = true;
        let strips = may_drop && matches!(decoder, Decoder::ByteFallback { strip_space: true, .. });
        if strips && text[from] == b' ' {
            text.remove(from);
        }
    }
}

impl Tokenizer {
    /// The text of all ids but, on request, the special ones, by [`Decoder::ByteFallback`]; for another decoder their
    /// bytes. Bytes that are no text were replaced.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`].
    pub fn decode_replaced(
        &self,
        ids: &[TokenId],
        skip_special_tokens: bool,
    ) -> Result<Vec<u8>, DecodeError> {
        let decoder = self.spec().decoder;
        if decoder == Decoder::Bytes {
            return self.decode_filtered(ids, skip_special_tokens);
        }
        let mut text = Vec::with_capacity(ids.len() * 4);
        let mut state = Fallback::default();
        let mut index = 0;
        let unknown = |index: usize| DecodeErrorKind::UnknownToken { id: ids[index], index };
        while let Some(&id) = ids.get(index) {
            // What is only text needs no thought, once there is some.
            let n_plain = if state.started && !is_of_pieces(decoder) {
                self.n_plain(&ids[index..], skip_special_tokens)
            } else {
                0
            };
            if n_plain > 0 {
                state.end_run(decoder, &mut text);
                let plain = self.all_tokens.append_bytes(&ids[index..index + n_plain], &mut text);
                plain.map_err(|at| unknown(index + at))?;
                index += n_plain;
                continue;
            }
            let bytes = self.all_tokens.bytes(id).ok_or_else(|| unknown(index))?;
            if skip_special_tokens && self.is_special(id) {
                state.skip(decoder, &mut text);
            } else {
                state.push(bytes, self.token_kind(id, bytes), decoder, &mut text);
            }
            index += 1;
        }
        state.flush(decoder, &mut text);
        Ok(text)
    }

    /// How many of the first ids are neither byte tokens nor left out.
    fn n_plain(&self, ids: &[TokenId], skip_special_tokens: bool) -> usize {
        let byte_tokens = self.bpe().fallback_ids();
        let is_other =
            |&id: &TokenId| byte_tokens.contains(&id) || (skip_special_tokens && self.is_special(id));
        ids.iter().position(is_other).unwrap_or(ids.len())
    }

    /// Whether `id`, which stands for `bytes`, is the token of a byte of an unknown character.
    pub(crate) fn is_byte_token(&self, id: TokenId, bytes: &[u8]) -> bool {
        matches!(bytes, [byte] if self.bpe().fallback_id(*byte) == Some(id))
    }

    /// What `bytes`, those of `id`, are to a decoder with byte fallback.
    pub(crate) fn token_kind(&self, id: TokenId, bytes: &[u8]) -> TokenKind {
        if self.is_byte_token(id, bytes) {
            return TokenKind::Byte;
        }
        // The list is as good as empty where the difference matters.
        let spec = self.spec();
        let is_unknown = bytes.starts_with(b" ")
            && is_of_pieces(spec.decoder)
            && spec.decode_only.iter().any(|(unknown, _)| *unknown == id);
        if is_unknown { TokenKind::Unknown } else { TokenKind::Text }
    }

    /// Whether decoding drops a space from the start of the text.
    pub(crate) fn strips_space(&self) -> bool {
        matches!(self.spec().decoder, Decoder::ByteFallback { strip_space: true, .. })
    }
}

fn is_of_pieces(decoder: Decoder) -> bool {
    matches!(decoder, Decoder::ByteFallback { invalid: InvalidRun::Pieces, .. })
}

fn replace(n_bytes: usize, text: &mut Vec<u8>) {
    (0..n_bytes).for_each(|_| text.extend_from_slice("\u{FFFD}".as_bytes()));
}

fn each_byte(run: &[u8], text: &mut Vec<u8>) {
    for chunk in run.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        replace(chunk.invalid().len(), text);
    }
}

/// Whether later bytes can make a character of these.
pub(crate) fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

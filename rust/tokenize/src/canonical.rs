//! Are these ids what the tokenizer itself would write?
//!
//! Canonical ids are those that encoding the bytes they stand for gives again, special tokens included. A model may
//! produce others: the same bytes cut in another way.

use tokenloom_vocab::TokenId;

use crate::{
    AllowedSpecial, DecodeError, DecodeErrorKind, EncodeError, EncodeOptions, StabilityError, Tokenizer,
};

/// Ids that have no canonical form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The ids do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The bytes of the ids do not encode.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Tokenizer {
    /// The ids of the bytes that `ids` stand for.
    ///
    /// # Errors
    /// Those of decoding and of encoding.
    pub fn canonicalize(&self, ids: &[TokenId]) -> Result<Vec<TokenId>, CanonicalError> {
        let bytes = self.decode_bytes(ids)?;
        Ok(self.encode_bytes(&bytes, &EncodeOptions::default())?)
    }

    /// Whether `ids` are what encoding their bytes gives.
    ///
    /// # Errors
    /// Those of decoding and of encoding.
    pub fn is_canonical(&self, ids: &[TokenId]) -> Result<bool, CanonicalError> {
        Ok(self.canonicalize(ids)? == ids)
    }
}

/// Whether ids that arrive one at a time are canonical so far.
///
/// Only what later ids can still change is kept: the settled tokens (see `stability`) are compared once and dropped. O(kept
/// bytes) an id, a few hundred bytes in running text; a long run that nothing cuts is kept as a whole.
#[derive(Clone, Debug)]
pub struct CanonicalStream {
    ids: Vec<TokenId>,
    bytes: Vec<u8>,
    /// At so many kept ids the settled ones are looked for again.
    next_check: usize,
    is_broken: bool,
}

impl CanonicalStream {
    const KEPT_IDS: usize = 64;

    /// A stream of ids of `tokenizer`.
    ///
    /// # Errors
    /// [`StabilityError::Unsupported`] where it is not known which tokens later text can change.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, StabilityError> {
        tokenizer.settled("", &AllowedSpecial::All)?;
        Ok(Self { ids: Vec::new(), bytes: Vec::new(), next_check: Self::KEPT_IDS, is_broken: false })
    }

    /// Adds an id; whether all ids so far are what encoding their bytes gives.
    ///
    /// # Errors
    /// Those of decoding and encoding; the stream is then as before.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> Result<bool, CanonicalError> {
        let Some(bytes) = tokenizer.token_bytes(id) else {
            return Err(DecodeError::from(DecodeErrorKind::UnknownToken { id, index: 0 }).into());
        };
        if self.is_broken {
            return Ok(false);
        }
        let before = (self.ids.len(), self.bytes.len());
        self.ids.push(id);
        self.bytes.extend_from_slice(bytes);
        let checked = self.check(tokenizer);
        if checked.is_err() {
            self.ids.truncate(before.0);
            self.bytes.truncate(before.1);
        }
        checked
    }

    /// Whether no further id makes the ids canonical again.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn check(&mut self, tokenizer: &Tokenizer) -> Result<bool, CanonicalError> {
        let canonical = tokenizer.encode_bytes(&self.bytes, &EncodeOptions::default())?;
        if self.ids.len() >= self.next_check
            && let Ok(text) = std::str::from_utf8(&self.bytes)
            && let Ok(settled) = tokenizer.settled(text, &AllowedSpecial::All)
        {
            let n_ids = settled.n_tokens.min(self.ids.len());
            if self.ids[..n_ids] != canonical[..n_ids] {
                self.is_broken = true;
            } else if starts_anew(tokenizer, &self.bytes[settled.n_bytes..]) {
                self.ids.drain(..n_ids);
                self.bytes.drain(..settled.n_bytes);
                self.next_check = Self::KEPT_IDS.max(2 * self.ids.len());
                return Ok(canonical[n_ids..] == self.ids);
            }
            self.next_check = 2 * self.ids.len();
        }
        Ok(!self.is_broken && canonical == self.ids)
    }
}

/// Whether encoding may start here as if nothing came before: no whole pretoken comes to be, and nothing is composed
/// with the character before.
fn starts_anew(tokenizer: &Tokenizer, rest: &[u8]) -> bool {
    let is_plain = rest.first().is_none_or(u8::is_ascii) || tokenizer.spec().normalizers.is_empty();
    is_plain && !(tokenizer.pretokenizers.cuts_nothing() && tokenizer.bpe().ignore_merges())
}

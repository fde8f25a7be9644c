//! Are these ids what the tokenizer itself would write?
//!
//! Canonical ids are those that encoding the bytes they stand for gives again, special tokens included. A model may
//! produce others: the same bytes cut in another way.

use tokenloom_vocab::TokenId;

use crate::{DecodeError, EncodeError, EncodeOptions, Tokenizer};

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

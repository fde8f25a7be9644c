//! How do ids become bytes and text again?
//!
//! The bytes of the ids joined; text is those bytes with each maximal invalid run of UTF-8 replaced by U+FFFD, as
//! Rust, Python and Hugging Face `tokenizers` all do it.

use tokenloom_vocab::TokenId;

use crate::spec::Decoder;
use crate::{DecodeError, DecodeErrorKind, Tokenizer};

impl Tokenizer {
    /// The bytes of one id, added tokens included.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        self.all_tokens.bytes(id)
    }

    /// The id of an added token with this content, else of the model's token with these bytes.
    pub fn token_id(&self, bytes: &[u8]) -> Option<TokenId> {
        let added = self.spec().added_tokens.iter().find(|token| token.content.as_bytes() == bytes);
        added.map(|token| token.id).or_else(|| self.table().id(bytes))
    }

    /// The bytes of all ids, joined, without a space that encoding put before the text.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`].
    pub fn decode_bytes(&self, ids: &[TokenId]) -> Result<Vec<u8>, DecodeError> {
        self.decode_filtered(ids, false)
    }

    /// The bytes of all ids but, on request, the special ones.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`].
    pub fn decode_filtered(
        &self,
        ids: &[TokenId],
        skip_special_tokens: bool,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::new();
        self.decode_onto(ids, skip_special_tokens, &mut bytes)?;
        Ok(bytes)
    }

    /// The bytes of every sequence of ids, joined, and where those of each end; as [`Tokenizer::decode_replaced`] where
    /// `replaced`, as [`Tokenizer::decode_filtered`] otherwise.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`] of the first sequence that holds one.
    pub fn decode_batch(
        &self,
        sequences: &[impl AsRef<[TokenId]>],
        skip_special_tokens: bool,
        replaced: bool,
    ) -> Result<(Vec<u8>, Vec<usize>), DecodeError> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(sequences.len()));
        for ids in sequences.iter().map(AsRef::as_ref) {
            if replaced && self.spec().decoder != Decoder::Bytes {
                bytes.extend_from_slice(&self.decode_replaced(ids, skip_special_tokens)?);
            } else {
                self.decode_onto(ids, skip_special_tokens, &mut bytes)?;
            }
            ends.push(bytes.len());
        }
        Ok((bytes, ends))
    }

    fn decode_onto(
        &self,
        ids: &[TokenId],
        skip_special_tokens: bool,
        bytes: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let start = bytes.len();
        let unknown = |index: usize| DecodeErrorKind::UnknownToken { id: ids[index], index };
        if skip_special_tokens {
            if let Some(index) = ids.iter().position(|&id| self.all_tokens.bytes(id).is_none()) {
                return Err(unknown(index).into());
            }
            let kept: Vec<TokenId> = ids.iter().copied().filter(|&id| !self.is_special(id)).collect();
            self.all_tokens.append_bytes(&kept, bytes).map_err(unknown)?;
        } else {
            self.all_tokens.append_bytes(ids, bytes).map_err(unknown)?;
        }
        if self.strips_space() && bytes.get(start) == Some(&b' ') {
            bytes.remove(start);
        }
        Ok(())
    }
}

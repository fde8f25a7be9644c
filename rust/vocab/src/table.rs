//! Which bytes does an id stand for, and which id stands for these bytes?
//!
//! The bytes by id, and for the way back one hash table of ids that compares through them. Several ids may share bytes,
//! then the smallest id answers. Memory: that of [`TokenBytes`] and about 5 B per token of hash table.

use std::hash::BuildHasher;
use std::ops::Deref;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::{TokenBytes, TokenId, VocabError};

/// The bytes of every token, by id, and the id of every byte string that is a token.
#[derive(Clone, Debug)]
pub struct TokenTable {
    bytes: TokenBytes,
    by_bytes: HashTable<TokenId>,
    /// Sorted ids that answer for no bytes.
    hidden: Vec<TokenId>,
}

/// What concerns the bytes alone.
impl Deref for TokenTable {
    type Target = TokenBytes;

    fn deref(&self) -> &TokenBytes {
        &self.bytes
    }
}

impl TokenTable {
    /// Ids above this are refused: the tables are indexed by id.
    pub const MAX_ID: TokenId = TokenBytes::MAX_ID;

    /// Builds the table from `(id, bytes)` entries in any order.
    ///
    /// # Errors
    /// Those of [`TokenBytes::new`].
    pub fn new<B: AsRef<[u8]>>(entries: impl IntoIterator<Item = (TokenId, B)>) -> Result<Self, VocabError> {
        Self::with_hidden(entries, &[])
    }

    /// The same, but that no bytes are answered by the ids in `hidden`.
    ///
    /// # Errors
    /// Those of [`TokenBytes::new`].
    pub fn with_hidden<B: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (TokenId, B)>,
        hidden: &[TokenId],
    ) -> Result<Self, VocabError> {
        let bytes = TokenBytes::new(entries)?;
        let mut hidden = hidden.to_vec();
        hidden.sort_unstable();
        let mut by_bytes: HashTable<TokenId> = HashTable::with_capacity(bytes.n_tokens());
        let bytes_of = |id: TokenId| bytes.bytes(id).unwrap_or_default();
        for (id, token) in bytes.iter().filter(|(id, _)| hidden.binary_search(id).is_err()) {
            let hash = FxBuildHasher.hash_one(token);
            if by_bytes.find(hash, |&other| bytes_of(other) == token).is_none() {
                by_bytes.insert_unique(hash, id, |&other| FxBuildHasher.hash_one(bytes_of(other)));
            }
        }
        Ok(Self { bytes, by_bytes, hidden })
    }

    /// The bytes of these tokens and of more ones; see [`TokenBytes::continued`].
    ///
    /// # Errors
    /// Those of [`TokenBytes::continued`].
    pub fn continued<B: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (TokenId, B)>,
    ) -> Result<TokenBytes, VocabError> {
        self.bytes.continued(entries)
    }

    /// The id of the token with exactly these bytes; the smallest one where several share them.
    #[inline]
    pub fn id(&self, bytes: &[u8]) -> Option<TokenId> {
        let hash = FxBuildHasher.hash_one(bytes);
        self.by_bytes.find(hash, |&id| self.bytes(id) == Some(bytes)).copied()
    }

    /// The tokens that may answer for their bytes, by ascending id: the first one of equal bytes does.
    pub fn iter_answering(&self) -> impl Iterator<Item = (TokenId, &[u8])> {
        self.iter().filter(|(id, _)| self.hidden.is_empty() || self.hidden.binary_search(id).is_err())
    }
}

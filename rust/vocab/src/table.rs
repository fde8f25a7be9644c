//! Which bytes does an id stand for, and which id stands for these bytes?
//!
//! All token bytes lie in one buffer, indexed by id, so that decoding is a copy per token; the way back is one hash
//! table of ids that compares through the buffer. Ids may have gaps; several ids may share bytes, then the smallest
//! id answers. Memory: the bytes, 8 B per id up to the largest, about 5 B per token of hash table.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::{TokenId, VocabError, VocabErrorKind};

/// The bytes of every token, by id, and the id of every byte string that is a token.
#[derive(Clone, Debug)]
pub struct TokenTable {
    buffer: Vec<u8>,
    /// `(start, length)` in `buffer`; length `ABSENT` marks a gap in the ids.
    spans: Vec<(u32, u32)>,
    by_bytes: HashTable<TokenId>,
    n_tokens: usize,
    max_token_bytes: usize,
}

const ABSENT: u32 = u32::MAX;

/// Most tokens are no longer; so many bytes are copied whatever the length, and so many lie behind the last token.
const COPY_BYTES: usize = 16;

impl TokenTable {
    /// Ids above this are refused: the tables are indexed by id.
    pub const MAX_ID: TokenId = (1 << 26) - 1;

    /// Builds the table from `(id, bytes)` entries in any order.
    ///
    /// # Errors
    /// [`VocabErrorKind::DuplicateId`], [`VocabErrorKind::IdTooLarge`], [`VocabErrorKind::TooManyBytes`].
    pub fn new<B: AsRef<[u8]>>(entries: impl IntoIterator<Item = (TokenId, B)>) -> Result<Self, VocabError> {
        Self::with_hidden(entries, &[])
    }

    /// The same, but that no bytes are answered by the ids in `hidden`.
    ///
    /// # Errors
    /// Those of [`TokenTable::new`].
    pub fn with_hidden<B: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (TokenId, B)>,
        hidden: &[TokenId],
    ) -> Result<Self, VocabError> {
        let mut buffer = Vec::new();
        let mut spans: Vec<(u32, u32)> = Vec::new();
        let (mut n_tokens, mut max_token_bytes) = (0, 0);
        for (id, bytes) in entries {
            let bytes = bytes.as_ref();
            if id > Self::MAX_ID {
                return Err(VocabErrorKind::IdTooLarge { id, limit: Self::MAX_ID }.into());
            }
            if spans.len() <= id as usize {
                spans.resize(id as usize + 1, (0, ABSENT));
            }
            if spans[id as usize].1 != ABSENT {
                return Err(VocabErrorKind::DuplicateId { id }.into());
            }
            let n_bytes = buffer.len() as u64 + bytes.len() as u64;
            let limit = u64::from(u32::MAX - 1);
            if n_bytes > limit {
                return Err(VocabErrorKind::TooManyBytes { n_bytes, limit }.into());
            }
            spans[id as usize] = (buffer.len() as u32, bytes.len() as u32);
            buffer.extend_from_slice(bytes);
            n_tokens += 1;
            max_token_bytes = max_token_bytes.max(bytes.len());
        }
        buffer.extend_from_slice(&[0; COPY_BYTES]);
        let mut table =
            Self { buffer, spans, by_bytes: HashTable::with_capacity(n_tokens), n_tokens, max_token_bytes };
        let mut hidden = hidden.to_vec();
        hidden.sort_unstable();
        for id in 0..table.spans.len() as TokenId {
            if hidden.is_empty() || hidden.binary_search(&id).is_err() {
                table.index(id);
            }
        }
        Ok(table)
    }

    fn index(&mut self, id: TokenId) {
        let Self { buffer, spans, by_bytes, .. } = self;
        let (start, length) = spans[id as usize];
        if length == ABSENT {
            return;
        }
        let bytes_of = |id: TokenId| {
            let (start, length) = spans[id as usize];
            &buffer[start as usize..start as usize + length as usize]
        };
        let bytes = &buffer[start as usize..start as usize + length as usize];
        let hash = FxBuildHasher.hash_one(bytes);
        if by_bytes.find(hash, |&other| bytes_of(other) == bytes).is_none() {
            by_bytes.insert_unique(hash, id, |&other| FxBuildHasher.hash_one(bytes_of(other)));
        }
    }

    /// The bytes of `id`, or `None` for an id that is no token.
    #[inline]
    pub fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        let &(start, length) = self.spans.get(id as usize)?;
        (length != ABSENT).then(|| &self.buffer[start as usize..start as usize + length as usize])
    }

    /// Appends the bytes of all `ids` to `out`, up to the first id that is no token: the error is its index.
    ///
    /// # Errors
    /// An id is no token.
    pub fn append_bytes(&self, ids: &[TokenId], out: &mut Vec<u8>) -> Result<(), usize> {
        const CHUNK: usize = 256;
        for (number, chunk) in ids.chunks(CHUNK).enumerate() {
            let mut at = out.len();
            out.resize(at + COPY_BYTES * chunk.len(), 0);
            for (index, &id) in chunk.iter().enumerate() {
                let (start, length) = self.spans.get(id as usize).copied().unwrap_or((0, ABSENT));
                let (start, length) = (start as usize, length as usize);
                if length <= COPY_BYTES {
                    out[at..at + COPY_BYTES].copy_from_slice(&self.buffer[start..start + COPY_BYTES]);
                    at += length;
                    continue;
                }
                out.truncate(at);
                if length == ABSENT as usize {
                    return Err(number * CHUNK + index);
                }
                out.extend_from_slice(&self.buffer[start..start + length]);
                at = out.len();
                out.resize(at + COPY_BYTES * (chunk.len() - index - 1), 0);
            }
            out.truncate(at);
        }
        Ok(())
    }

    /// The id of the token with exactly these bytes; the smallest one where several share them.
    #[inline]
    pub fn id(&self, bytes: &[u8]) -> Option<TokenId> {
        let hash = FxBuildHasher.hash_one(bytes);
        self.by_bytes.find(hash, |&id| self.bytes(id) == Some(bytes)).copied()
    }

    /// One more than the largest id.
    pub fn id_bound(&self) -> usize {
        self.spans.len()
    }

    /// How many ids are tokens.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The length of the longest token, in bytes.
    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// All tokens by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, &[u8])> {
        (0..self.spans.len() as TokenId).filter_map(|id| self.bytes(id).map(|bytes| (id, bytes)))
    }
}

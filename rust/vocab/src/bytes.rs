//! Which bytes does an id stand for?
//!
//! All token bytes lie in one buffer, indexed by id, so that decoding is a copy per token. Ids may have gaps. Memory: the
//! bytes, and 8 B per id up to the largest; a table that goes on where another ends shares both with it.

use std::sync::Arc;

use crate::{TokenId, VocabError, VocabErrorKind};

/// The bytes of every token, by id.
#[derive(Clone, Debug)]
pub struct TokenBytes {
    store: Arc<Store>,
    /// Ids from here on are those of a table that goes on where this one ends.
    id_bound: usize,
    n_tokens: usize,
    max_token_bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Store {
    /// Ends with [`COPY_BYTES`] zeros.
    buffer: Vec<u8>,
    /// `(start, length)` in `buffer`; length `ABSENT` marks a gap in the ids.
    spans: Vec<(u32, u32)>,
}

const ABSENT: u32 = u32::MAX;

/// Most tokens are no longer; so many bytes are copied whatever the length, and so many lie behind the last token.
const COPY_BYTES: usize = 16;

impl TokenBytes {
    /// Ids above this are refused: the tables are indexed by id.
    pub const MAX_ID: TokenId = (1 << 26) - 1;

    /// Builds the table from `(id, bytes)` entries in any order.
    ///
    /// # Errors
    /// [`VocabErrorKind::DuplicateId`], [`VocabErrorKind::IdTooLarge`], [`VocabErrorKind::TooManyBytes`].
    pub fn new<B: AsRef<[u8]>>(entries: impl IntoIterator<Item = (TokenId, B)>) -> Result<Self, VocabError> {
        let mut this = Self { store: Arc::default(), id_bound: 0, n_tokens: 0, max_token_bytes: 0 };
        this.add(entries)?;
        Ok(this)
    }

    /// A table of these tokens and more ones, whose ids are not below [`TokenBytes::id_bound`]. Both share their memory.
    ///
    /// # Errors
    /// Those of [`TokenBytes::new`]; an id below the bound is [`VocabErrorKind::DuplicateId`].
    pub fn continued<B: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (TokenId, B)>,
    ) -> Result<Self, VocabError> {
        let empty = Self { store: Arc::default(), ..*self };
        let mut longer = std::mem::replace(self, empty);
        let added = longer.add(entries);
        self.store = Arc::clone(&longer.store);
        added.map(|()| longer)
    }

    /// Adds tokens; where nobody shares the memory, it is not copied.
    fn add<B: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (TokenId, B)>,
    ) -> Result<(), VocabError> {
        let first = self.id_bound;
        let Store { buffer, spans } = Arc::make_mut(&mut self.store);
        let entries = entries.into_iter();
        spans.reserve(entries.size_hint().0);
        for (id, bytes) in entries {
            let bytes = bytes.as_ref();
            if id > Self::MAX_ID {
                return Err(VocabErrorKind::IdTooLarge { id, limit: Self::MAX_ID }.into());
            }
            if spans.len() <= id as usize {
                spans.resize(id as usize + 1, (0, ABSENT));
            }
            if (id as usize) < first || spans[id as usize].1 != ABSENT {
                return Err(VocabErrorKind::DuplicateId { id }.into());
            }
            let n_bytes = buffer.len() as u64 + bytes.len() as u64;
            let limit = u64::from(u32::MAX) - 2 * COPY_BYTES as u64;
            if n_bytes > limit {
                return Err(VocabErrorKind::TooManyBytes { n_bytes, limit }.into());
            }
            spans[id as usize] = (buffer.len() as u32, bytes.len() as u32);
            buffer.extend_from_slice(bytes);
            self.n_tokens += 1;
            self.max_token_bytes = self.max_token_bytes.max(bytes.len());
        }
        buffer.extend_from_slice(&[0; COPY_BYTES]);
        buffer.shrink_to_fit();
        spans.shrink_to_fit();
        self.id_bound = spans.len();
        Ok(())
    }

    #[inline]
    fn spans(&self) -> &[(u32, u32)] {
        &self.store.spans[..self.id_bound]
    }

    /// The bytes of `id`, or `None` for an id that is no token.
    #[inline]
    pub fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        let &(start, length) = self.spans().get(id as usize)?;
        (length != ABSENT).then(|| &self.store.buffer[start as usize..start as usize + length as usize])
    }

    /// The first bytes of a token that is there, and some of what lies behind it.
    #[inline]
    fn head(&self, start: u32) -> Option<&[u8; COPY_BYTES]> {
        self.store.buffer.get(start as usize..)?.first_chunk()
    }

    /// Whether `joined` is `left` with `right` behind it, neither of them empty.
    ///
    /// # Errors
    /// The first of the ids that is no token.
    pub fn are_joined(&self, left: TokenId, right: TokenId, joined: TokenId) -> Result<bool, TokenId> {
        let span =
            |id: TokenId| self.spans().get(id as usize).copied().filter(|span| span.1 != ABSENT).ok_or(id);
        let (a, b, ab) = (span(left)?, span(right)?, span(joined)?);
        if a.1 == 0 || b.1 == 0 || u64::from(a.1) + u64::from(b.1) != u64::from(ab.1) {
            return Ok(false);
        }
        if a.1 as usize <= COPY_BYTES
            && b.1 as usize <= COPY_BYTES
            && let (Some(first), Some(second)) = (self.head(a.0), self.head(b.0))
            && let (Some(head), Some(tail)) = (self.head(ab.0), self.head(ab.0 + a.1))
        {
            // Most tokens are short: two comparisons of fixed size instead of two of any.
            let differ = |x: &[u8; COPY_BYTES], y: &[u8; COPY_BYTES], n_bytes: u32| {
                let unread = 8 * (COPY_BYTES as u32 - n_bytes);
                (u128::from_le_bytes(*x) ^ u128::from_le_bytes(*y)) << unread != 0
            };
            return Ok(!differ(head, first, a.1) && !differ(tail, second, b.1));
        }
        let bytes = |id| self.bytes(id).unwrap_or_default();
        let (head, tail) = bytes(joined).split_at(a.1 as usize);
        Ok(head == bytes(left) && tail == bytes(right))
    }

    /// Appends the bytes of all `ids` to `out`, up to the first id that is no token: the error is its index.
    ///
    /// # Errors
    /// An id is no token.
    pub fn append_bytes(&self, ids: &[TokenId], out: &mut Vec<u8>) -> Result<(), usize> {
        const CHUNK: usize = 256;
        out.reserve(COPY_BYTES * ids.len().min(CHUNK) + 4 * ids.len().saturating_sub(CHUNK));
        let (spans, mut found) = (self.spans(), [(0, ABSENT); CHUNK]);
        for (number, chunk) in ids.chunks(CHUNK).enumerate() {
            // First where all of them are: to wait for one by one, and then for its bytes, takes longer.
            for (span, &id) in found.iter_mut().zip(chunk) {
                *span = spans.get(id as usize).copied().unwrap_or((0, ABSENT));
            }
            let mut at = out.len();
            out.resize(at + COPY_BYTES * chunk.len(), 0);
            for (index, &(start, length)) in found[..chunk.len()].iter().enumerate() {
                if length as usize <= COPY_BYTES
                    && let Some(head) = self.head(start)
                    && let Some(place) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut)
                {
                    *place = *head;
                    at += length as usize;
                    continue;
                }
                out.truncate(at);
                if length == ABSENT {
                    return Err(number * CHUNK + index);
                }
                let (start, length) = (start as usize, length as usize);
                out.extend_from_slice(&self.store.buffer[start..start + length]);
                at = out.len();
                out.resize(at + COPY_BYTES * (chunk.len() - index - 1), 0);
            }
            out.truncate(at);
        }
        Ok(())
    }

    /// One more than the largest id.
    pub fn id_bound(&self) -> usize {
        self.id_bound
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
        (0..self.id_bound as TokenId).filter_map(|id| self.bytes(id).map(|bytes| (id, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_goes_on_changes_nothing_of_the_first() {
        let mut first =
            TokenBytes::new([(0, "a"), (3, "a token of more than sixteen bytes"), (2, "bc")]).unwrap();
        let before: Vec<(TokenId, Vec<u8>)> = first.iter().map(|(id, bytes)| (id, bytes.to_vec())).collect();
        let longer = first.continued([(6, "<s>"), (4, "")]).unwrap();
        assert_eq!(first.iter().map(|(id, bytes)| (id, bytes.to_vec())).collect::<Vec<_>>(), before);
        assert_eq!((first.id_bound(), first.n_tokens(), first.bytes(6)), (4, 3, None));
        assert_eq!((longer.id_bound(), longer.n_tokens(), longer.bytes(6)), (7, 5, Some(&b"<s>"[..])));
        let mut out = Vec::new();
        assert_eq!(longer.append_bytes(&[2, 6, 3, 0, 4, 6, 1], &mut out), Err(6));
        assert_eq!(out, b"bc<s>a token of more than sixteen bytesa<s>");
        assert_eq!(first.append_bytes(&[2, 6], &mut Vec::new()), Err(1));
        assert!(first.continued([(3, "x")]).is_err());
    }

    #[test]
    fn parts_are_joined_where_their_bytes_are() {
        let long = "0123456789abcdefghij";
        let tokens = [
            (0, "ab"),
            (1, "c"),
            (2, "abc"),
            (3, "abd"),
            (4, ""),
            (5, &long[..17]),
            (6, &long[17..]),
            (7, long),
        ];
        let table = TokenBytes::new(tokens).unwrap();
        let joins = |left, right, joined| table.are_joined(left, right, joined);
        assert_eq!(
            [joins(0, 1, 2), joins(0, 1, 3), joins(1, 0, 2), joins(4, 2, 2)],
            [Ok(true), Ok(false), Ok(false), Ok(false)]
        );
        assert_eq!(
            [joins(5, 6, 7), joins(6, 5, 7), joins(0, 9, 2), joins(8, 9, 2)],
            [Ok(true), Ok(false), Err(9), Err(8)]
        );
    }
}

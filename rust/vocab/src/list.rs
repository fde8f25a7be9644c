//! Which tokens does a file list, in which order?
//!
//! A vocabulary on its way from a file to the tables: ids and bytes in the order they were given, all bytes in one
//! buffer. A token costs 12 bytes beside its own.

use crate::TokenId;

/// Ids with their bytes, in order. Nothing is checked: ids and bytes may come twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenList {
    buffer: Vec<u8>,
    /// The id, and where the bytes end; they start where those of the entry before end.
    entries: Vec<(TokenId, End)>,
}

/// A place in the buffer. Two halves, so that an entry is 12 bytes.
type End = [u32; 2];

fn end(n_bytes: usize) -> End {
    [n_bytes as u32, (n_bytes as u64 >> 32) as u32]
}

fn place([low, high]: End) -> usize {
    (u64::from(high) << 32 | u64::from(low)) as usize
}

impl TokenList {
    /// A list without tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with memory for so many tokens of so many bytes in all.
    pub fn with_capacity(n_tokens: usize, n_bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(n_bytes), entries: Vec::with_capacity(n_tokens) }
    }

    /// Adds a token.
    pub fn push(&mut self, id: TokenId, bytes: impl AsRef<[u8]>) {
        self.buffer.extend_from_slice(bytes.as_ref());
        self.entries.push((id, end(self.buffer.len())));
    }

    /// Adds a token whose bytes `write` appends to the buffer; none where it returns `None`, which is then returned.
    pub fn push_with(&mut self, id: TokenId, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<()> {
        let n_before = self.buffer.len();
        let written = write(&mut self.buffer);
        match written {
            Some(()) => self.entries.push((id, end(self.buffer.len()))),
            None => self.buffer.truncate(n_before),
        }
        written
    }

    /// The token at a place of the order.
    ///
    /// # Panics
    /// `index` is not below the number of tokens.
    #[inline]
    pub fn get(&self, index: usize) -> (TokenId, &[u8]) {
        let (id, end) = self.entries[index];
        let start = index.checked_sub(1).map_or(0, |before| place(self.entries[before].1));
        (id, &self.buffer[start..place(end)])
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = (TokenId, &[u8])> + Clone {
        let mut start = 0;
        self.entries.iter().map(move |&(id, end)| {
            let from = std::mem::replace(&mut start, place(end));
            (id, &self.buffer[from..place(end)])
        })
    }

    /// The same tokens by ascending id; equal ids in the order they were.
    #[must_use]
    pub fn sorted(self) -> Self {
        if self.entries.is_sorted_by_key(|entry| entry.0) {
            return self;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&index| self.entries[index].0);
        let mut sorted = Self::with_capacity(self.len(), self.buffer.len());
        for index in order {
            let (id, bytes) = self.get(index);
            sorted.push(id, bytes);
        }
        sorted
    }

    /// Gives back memory that is not used.
    pub fn shrink_to_fit(&mut self) {
        self.buffer.shrink_to_fit();
        self.entries.shrink_to_fit();
    }
}

impl<B: AsRef<[u8]>> Extend<(TokenId, B)> for TokenList {
    fn extend<I: IntoIterator<Item = (TokenId, B)>>(&mut self, tokens: I) {
        tokens.into_iter().for_each(|(id, bytes)| self.push(id, bytes));
    }
}

impl<B: AsRef<[u8]>> FromIterator<(TokenId, B)> for TokenList {
    fn from_iter<I: IntoIterator<Item = (TokenId, B)>>(tokens: I) -> Self {
        let mut list = Self::new();
        list.extend(tokens);
        list
    }
}

impl std::fmt::Debug for TokenList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_in_order_and_sorted() {
        let given: [(TokenId, &[u8]); 4] = [(7, b"ab"), (2, b""), (9, b"c"), (2, b"de")];
        let mut list: TokenList = given.into_iter().collect();
        assert_eq!(list.iter().collect::<Vec<_>>(), given);
        assert_eq!((0..4).map(|index| list.get(index)).collect::<Vec<_>>(), given);
        let fails = |bytes: &mut Vec<u8>| {
            bytes.push(0);
            None
        };
        assert_eq!(list.push_with(1, fails), None);
        assert_eq!((list.len(), list.iter().last()), (4, Some(given[3])));
        list.push(1, "x");
        let sorted: Vec<_> = list.clone().sorted().iter().map(|(id, bytes)| (id, bytes.to_vec())).collect();
        let expected = [(1, "x"), (2, ""), (2, "de"), (7, "ab"), (9, "c")];
        assert_eq!(sorted, expected.map(|(id, text)| (id, text.as_bytes().to_vec())));
    }
}

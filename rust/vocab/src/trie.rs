//! Which tokens start with these bytes?
//!
//! Tokens sorted by their bytes make a trie without nodes: the tokens that share a prefix are neighbours, so every
//! trie node is a range `[lo, hi)` of the sorted order together with the length of its prefix. One gather puts a row
//! of the model into that order; after it, everything below a node is one contiguous slice.
//!
//! Stepping to a child is a binary search: O(log n). Memory: the bytes once more, and 8 B a token.

use std::ops::Range;

use crate::TokenId;

/// The tokens of a vocabulary in the order of their bytes.
#[derive(Clone, Debug, Default)]
pub struct ByteTrie {
    buffer: Vec<u8>,
    /// Where the bytes of each position start in `buffer`, and where the last one ends.
    starts: Vec<u32>,
    ids: Vec<TokenId>,
}

/// A node of a [`ByteTrie`]: the positions `lo..hi` of the sorted order, whose tokens share `depth` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrieNode {
    /// The first position.
    pub lo: u32,
    /// One more than the last position.
    pub hi: u32,
    /// How many bytes the tokens are known to share.
    pub depth: u32,
}

impl TrieNode {
    /// The positions of the node.
    pub fn range(self) -> Range<usize> {
        self.lo as usize..self.hi as usize
    }
}

impl ByteTrie {
    /// Sorts the tokens; those without bytes are left out. Several ids may share bytes, they stand by ascending id.
    ///
    /// All bytes together must fit 32 bits, as [`TokenTable`](crate::TokenTable) makes sure.
    pub fn new<'a>(tokens: impl IntoIterator<Item = (TokenId, &'a [u8])>) -> Self {
        let mut sorted: Vec<(&[u8], TokenId)> = tokens
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(id, bytes)| (bytes, id))
            .collect();
        sorted.sort_unstable();
        let mut trie = Self { starts: Vec::with_capacity(sorted.len() + 1), ..Self::default() };
        trie.starts.push(0);
        for (bytes, id) in sorted {
            trie.buffer.extend_from_slice(bytes);
            trie.starts.push(trie.buffer.len() as u32);
            trie.ids.push(id);
        }
        trie
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids by position: the permutation that sorts a row of the model.
    pub fn ids(&self) -> &[TokenId] {
        &self.ids
    }

    /// The bytes of the token at a position.
    #[inline]
    pub fn bytes(&self, position: usize) -> &[u8] {
        &self.buffer[self.starts[position] as usize..self.starts[position + 1] as usize]
    }

    /// The node of all tokens.
    pub fn root(&self) -> TrieNode {
        TrieNode { lo: 0, hi: self.ids.len() as u32, depth: 0 }
    }

    /// The positions of the tokens that are exactly the node's prefix; they come first in the node.
    pub fn exact(&self, node: TrieNode) -> Range<usize> {
        let mut end = node.lo as usize;
        while end < node.hi as usize && self.bytes(end).len() == node.depth as usize {
            end += 1;
        }
        node.lo as usize..end
    }

    /// The node one byte further, or `None` where no token goes on with `byte`.
    #[inline]
    pub fn child(&self, node: TrieNode, byte: u8) -> Option<TrieNode> {
        let depth = node.depth as usize;
        // Tokens that end here sort before all that go on.
        let key = |position: usize| self.bytes(position).get(depth).map_or(0, |&byte| u32::from(byte) + 1);
        let wanted = u32::from(byte) + 1;
        let lo = partition_point(node.range(), |position| key(position) < wanted);
        let hi = partition_point(lo..node.hi as usize, |position| key(position) == wanted);
        (lo < hi).then_some(TrieNode { lo: lo as u32, hi: hi as u32, depth: node.depth + 1 })
    }

    /// The node of the tokens that start with `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<TrieNode> {
        bytes.iter().try_fold(self.root(), |node, &byte| self.child(node, byte))
    }

    /// The children of a node by ascending byte.
    pub fn children(&self, node: TrieNode) -> impl Iterator<Item = (u8, TrieNode)> + '_ {
        let mut lo = self.exact(node).end;
        std::iter::from_fn(move || {
            let &byte = (lo < node.hi as usize).then(|| self.bytes(lo).get(node.depth as usize))??;
            let rest = TrieNode { lo: lo as u32, ..node };
            let child = self.child(rest, byte)?;
            lo = child.hi as usize;
            Some((byte, child))
        })
    }
}

/// The first position of `range` where `before` no longer holds.
fn partition_point(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let (mut lo, mut hi) = (range.start, range.end);
    while lo < hi {
        let middle = lo + (hi - lo) / 2;
        if before(middle) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    lo
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [(TokenId, &[u8]); 8] =
        [(0, b"b"), (1, b"ab"), (2, b""), (3, b"a"), (4, b"abc"), (5, b"ab"), (6, b"\xff"), (7, b"\x00z")];

    #[test]
    fn nodes_hold_exactly_the_tokens_with_their_prefix() {
        let trie = ByteTrie::new(TOKENS);
        assert_eq!(trie.ids(), [7, 3, 1, 5, 4, 0, 6]);
        for prefix in [b"".as_slice(), b"a", b"ab", b"abc", b"abcd", b"b", b"ba", b"\x00", b"\xff", b"\xfe"] {
            let mut expected: Vec<TokenId> = TOKENS
                .iter()
                .filter(|(_, bytes)| !bytes.is_empty() && bytes.starts_with(prefix))
                .map(|&(id, _)| id)
                .collect();
            let mut found = trie.find(prefix).map_or(Vec::new(), |node| trie.ids()[node.range()].to_vec());
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{prefix:?}");
        }
    }

    #[test]
    fn exact_tokens_come_first_and_children_follow_by_byte() {
        let trie = ByteTrie::new(TOKENS);
        let ab = trie.find(b"ab").unwrap();
        assert_eq!(&trie.ids()[trie.exact(ab)], [1, 5]);
        let children: Vec<_> =
            trie.children(ab).map(|(byte, node)| (byte, trie.ids()[node.range()].to_vec())).collect();
        assert_eq!(children, [(b'c', vec![4])]);
        let bytes: Vec<u8> = trie.children(trie.root()).map(|(byte, _)| byte).collect();
        assert_eq!(bytes, [0, b'a', b'b', 0xff]);
        assert!(ByteTrie::new([]).find(b"a").is_none());
    }
}

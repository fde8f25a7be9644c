//! Which token is the longest one that starts here?
//!
//! A byte trie over the tokens that encoding can produce. Two bytes lead from an array straight to the second level,
//! further ones through a double array. Of each token it is told what the longest token is that is
//! a proper prefix of it, so all candidates at a position are one walk and then a chain of reads. O(longest match) a walk.

use std::collections::VecDeque;

use tokenloom_vocab::{TokenId, TokenTable};

use super::double_array::{Builder, DoubleArray, Skipped};

/// No token.
pub(crate) const NONE: TokenId = TokenId::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    array: DoubleArray,
    /// By the first two bytes: their node, 0 where no token starts with them.
    second: Vec<u32>,
    /// By byte: the token that it is.
    single: [TokenId; 256],
    max_candidates: usize,
}

/// Tokens in the order of their bytes, the first eight of which are compared first.
type Sorted<'a> = Vec<(u64, &'a [u8], TokenId)>;

impl Prefixes {
    /// A trie of the tokens for which `keep` holds. `shorter` is told the longest of them that is a proper prefix of
    /// another.
    pub(crate) fn new(
        table: &TokenTable,
        keep: impl Fn(TokenId) -> bool,
        mut shorter: impl FnMut(TokenId, TokenId),
    ) -> Self {
        let mut kept: Sorted<'_> = table
            .iter()
            .filter(|&(id, bytes)| !bytes.is_empty() && keep(id))
            .map(|(id, bytes)| (head(bytes), bytes, id))
            .collect();
        kept.sort_unstable();
        kept.dedup_by_key(|entry| entry.1);
        let mut this = Self {
            array: DoubleArray::default(),
            second: vec![0; 1 << 16],
            single: [NONE; 256],
            max_candidates: 0,
        };
        let mut builder = Builder::new();
        // Level by level, so that the nodes that every walk passes lie together. Nodes to do: their tokens, how many bytes those share, the longest token among these and how many there are.
        let mut ranges = VecDeque::new();
        if !kept.is_empty() {
            ranges.push_back((0, kept.len(), 0, 0, NONE, 0));
        }
        let mut bytes = Vec::new();
        while let Some((mut start, end, mut depth, node, mut longest, mut n_candidates)) = ranges.pop_front()
        {
            let (_, token, _) = kept[start];
            if depth == 2 {
                this.second[usize::from(u16::from_be_bytes([token[0], token[1]]))] = node;
            }
            // A token that ends where all others go on would come first.
            let shared = if depth < 2 { 0 } else { n_shared(&token[depth..], &kept[end - 1].1[depth..]) };
            let skipped = &token[depth..depth + shared.min(Skipped::MAX_BYTES)];
            depth += skipped.len();
            if token.len() == depth {
                let id = kept[start].2;
                if longest != NONE {
                    shorter(id, longest);
                }
                longest = id;
                n_candidates += 1;
                this.max_candidates = this.max_candidates.max(n_candidates);
                start += 1;
                if depth == 1 {
                    this.single[usize::from(token[0])] = id;
                }
            }
            builder.describe(node, Skipped::new(skipped), longest);
            if start == end {
                continue;
            }
            bytes.clear();
            let first_range = ranges.len();
            while start < end {
                let byte = kept[start].1[depth];
                let n_same = kept[start..end].partition_point(|entry| entry.1[depth] == byte);
                bytes.push(byte);
                ranges.push_back((start, start + n_same, depth + 1, 0, longest, n_candidates));
                start += n_same;
            }
            let base = builder.add_children(node, &bytes);
            for (range, &byte) in ranges.range_mut(first_range..).zip(&bytes) {
                range.3 = base ^ u32::from(byte);
            }
        }
        this.array = builder.finish();
        this
    }

    /// The longest token that `bytes` starts with, `NONE` if there is none.
    #[inline]
    pub(crate) fn longest_match(&self, bytes: &[u8]) -> TokenId {
        let [first, second, rest @ ..] = bytes else {
            return bytes.first().map_or(NONE, |&byte| self.single[usize::from(byte)]);
        };
        let node = self.second[usize::from(u16::from_be_bytes([*first, *second]))];
        let single = self.single[usize::from(*first)];
        if node == 0 { single } else { self.array.longest(node, rest, single) }
    }

    /// The largest number of tokens that start at one position of any text.
    pub(crate) fn max_candidates(&self) -> usize {
        self.max_candidates
    }
}

fn n_shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first eight bytes as a number that is ordered as they are.
fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let n_bytes = bytes.len().min(8);
    head[..n_bytes].copy_from_slice(&bytes[..n_bytes]);
    u64::from_be_bytes(head)
}

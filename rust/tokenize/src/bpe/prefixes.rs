//! Which token is the longest one that starts here?
//!
//! A byte trie over the tokens that encoding can produce. Nodes of the first byte are an array; deeper edges are one
//! hash table from `(node, byte)` to node. Each token also knows the longest token that is a proper prefix of it, so
//! all candidates at a position are one walk and then a chain of array reads. O(longest match) a walk.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::{TokenId, TokenTable};

/// No token.
pub(crate) const NONE: TokenId = TokenId::MAX;

#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    edges: HashMap<u64, u32, FxBuildHasher>,
    /// By node: the token that ends there, and otherwise the longest one on the way.
    longest: Vec<TokenId>,
    /// By id: `(length in bytes, longest token that is a proper prefix)`.
    tokens: Vec<(u32, TokenId)>,
}

impl Prefixes {
    /// A trie of the tokens for which `keep` holds.
    pub(crate) fn new(table: &TokenTable, keep: impl Fn(TokenId) -> bool) -> Self {
        let mut kept: Vec<(&[u8], TokenId)> = table
            .iter()
            .filter(|&(id, bytes)| !bytes.is_empty() && keep(id))
            .map(|(id, bytes)| (bytes, id))
            .collect();
        kept.sort_unstable();
        kept.dedup_by_key(|entry| entry.0);
        let mut this = Self {
            edges: HashMap::with_capacity_and_hasher(2 * kept.len(), FxBuildHasher),
            longest: vec![NONE; 257],
            tokens: vec![(0, NONE); table.id_bound()],
        };
        // In sorted order a proper prefix comes before the tokens that extend it.
        for (bytes, id) in kept {
            let mut node = u32::from(bytes[0]) + 1;
            for &byte in &bytes[1..] {
                let passed = this.longest[node as usize];
                let fresh = this.longest.len() as u32;
                let next = *this.edges.entry(edge(node, byte)).or_insert(fresh);
                if next == fresh {
                    this.longest.push(passed);
                }
                node = next;
            }
            let shorter = if bytes.len() == 1 { NONE } else { this.longest[node as usize] };
            this.tokens[id as usize] = (bytes.len() as u32, shorter);
            this.longest[node as usize] = id;
        }
        this
    }

    /// The longest token that `bytes` starts with, `NONE` if there is none.
    #[inline]
    pub(crate) fn longest_match(&self, bytes: &[u8]) -> TokenId {
        let Some((&first, rest)) = bytes.split_first() else { return NONE };
        let mut node = u32::from(first) + 1;
        for &byte in rest {
            match self.edges.get(&edge(node, byte)) {
                Some(&next) => node = next,
                None => break,
            }
        }
        self.longest[node as usize]
    }

    /// The longest token that is a proper prefix of `id`, `NONE` if there is none.
    #[inline]
    pub(crate) fn shorter(&self, id: TokenId) -> TokenId {
        self.tokens[id as usize].1
    }

    /// Length of `id` in bytes.
    #[inline]
    pub(crate) fn n_bytes(&self, id: TokenId) -> usize {
        self.tokens[id as usize].0 as usize
    }

    /// The largest number of tokens that start at one position of any text.
    pub(crate) fn max_candidates(&self) -> usize {
        let mut depth = vec![0u32; self.tokens.len()];
        let mut by_length: Vec<TokenId> =
            (0..self.tokens.len() as TokenId).filter(|&id| self.n_bytes(id) > 0).collect();
        by_length.sort_unstable_by_key(|&id| self.n_bytes(id));
        for &id in &by_length {
            let shorter = self.shorter(id);
            depth[id as usize] = 1 + if shorter == NONE { 0 } else { depth[shorter as usize] };
        }
        depth.into_iter().max().unwrap_or(0) as usize
    }
}

fn edge(node: u32, byte: u8) -> u64 {
    u64::from(node) << 8 | u64::from(byte)
}

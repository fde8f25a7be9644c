//! Which tokens does byte pair encoding ever produce, and which may stand side by side?
//!
//! Encoding is greedy: always the available merge of the smallest rank, leftmost on ties. Two facts follow for *any*
//! table of ranks, because a merge inside one part of a text never depends on another part until a merge crosses
//! between them:
//!
//! 1. A token is the encoding of its own bytes or it is never produced (`reachable`). The last merge of that encoding
//!    is its *split*; both parts are reachable with the same derivation, so splits form a binary tree over each token.
//! 2. A sequence of reachable tokens is the encoding of its bytes exactly if every adjacent pair is.
//!
//! Whether `(left, right)` is such a pair is decided on the two spines that face each other. Going back in time from
//! the finished tokens, undo the later of the two newest merges; at every state the merge across the boundary must
//! come after the event that ended the state. Cost: one lookup a spine node, about log of the token length.
//!
//! That walk takes a token's rank for the time it was made, which is right while ranks grow from parts to wholes. A
//! token with a part of larger rank (`irregular`) appears at once when that part does; pairs that involve one are
//! decided by encoding their bytes with the heap.

use tokenloom_vocab::{Rank, TokenId, TokenTable};

use super::MergeTable;
use super::heap::{HeapScratch, merge_all};
use super::symbols::InitialSymbols;

/// The derivation of every token, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derivations {
    nodes: Vec<Node>,
    /// Tokens whose derivation has a part of larger rank than its whole.
    pub(crate) n_irregular: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    left: TokenId,
    right: TokenId,
    /// 0 for a first symbol, otherwise one more than the rank of the split.
    time: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unreachable,
    Regular,
    Irregular,
}

const UNREACHABLE: Node = Node { left: 0, right: 0, time: 0, kind: Kind::Unreachable };

impl Derivations {
    /// Finds the derivation of every token. O(merges · spine), plus a heap run for each irregular candidate.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable, symbols: &InitialSymbols) -> Self {
        let mut this = Self { nodes: vec![UNREACHABLE; table.id_bound()], n_irregular: 0 };
        for id in symbols.all(table) {
            this.nodes[id as usize].kind = Kind::Regular;
        }
        // Parts are shorter than wholes: by length, parts are known before the tokens made of them.
        let mut candidates: Vec<(u32, Rank, TokenId, TokenId, TokenId)> = merges
            .iter()
            .map(|((left, right), (rank, result))| {
                let n_bytes = table.bytes(result).map_or(0, <[u8]>::len) as u32;
                (n_bytes, rank, result, left, right)
            })
            .collect();
        candidates.sort_unstable();
        let mut scratch = HeapScratch::default();
        for (_, rank, result, left, right) in candidates {
            let (a, b) = (this.nodes[left as usize], this.nodes[right as usize]);
            let known = this.nodes[result as usize].kind != Kind::Unreachable;
            if known || a.kind == Kind::Unreachable || b.kind == Kind::Unreachable {
                continue;
            }
            let time = rank.0 + 1;
            let regular =
                a.kind == Kind::Regular && b.kind == Kind::Regular && time > a.time && time > b.time;
            let kind = if regular { Kind::Regular } else { Kind::Irregular };
            let made = if regular {
                this.spines_agree(left, right, merges)
            } else {
                by_heap(table, table.bytes(result).unwrap_or_default(), merges, symbols, &mut scratch)
                    == (Some((left, right)), 1)
            };
            if made {
                this.nodes[result as usize] = Node { left, right, time, kind };
                this.n_irregular += usize::from(!regular);
            }
        }
        this
    }

    pub(crate) fn is_reachable(&self, id: TokenId) -> bool {
        self.nodes.get(id as usize).is_some_and(|node| node.kind != Kind::Unreachable)
    }

    pub(crate) fn split_of(&self, id: TokenId) -> Option<(TokenId, TokenId)> {
        let node = self.nodes.get(id as usize)?;
        (node.time > 0).then_some((node.left, node.right))
    }

    /// Whether the spines alone decide pairs with `id`.
    #[inline]
    pub(crate) fn is_regular(&self, id: TokenId) -> bool {
        self.nodes.get(id as usize).is_some_and(|node| node.kind == Kind::Regular)
    }

    /// Whether no merge crosses between `left` and `right` before both are whole.
    #[inline]
    pub(crate) fn spines_agree(&self, left: TokenId, right: TokenId, merges: &MergeTable) -> bool {
        let (mut left, mut right) = (left, right);
        let (mut a, mut b) = (self.nodes[left as usize], self.nodes[right as usize]);
        loop {
            // The event that ended the state before: the later of the two newest merges. On equal ranks the left
            // one is applied first, so the right one is later; a crossing merge of the same rank lies left of it.
            let limit = if a.time > b.time {
                let limit = a.time;
                left = a.right;
                a = self.nodes[left as usize];
                limit
            } else if b.time > 0 {
                let limit = b.time + 1;
                right = b.left;
                b = self.nodes[right as usize];
                limit
            } else {
                return true;
            };
            if merges.get(left, right).is_some_and(|(rank, _)| rank.0 + 1 < limit) {
                return false;
            }
        }
    }
}

/// The last merge and the number of tokens of the encoding of `bytes`.
fn by_heap(
    table: &TokenTable,
    bytes: &[u8],
    merges: &MergeTable,
    symbols: &InitialSymbols,
    scratch: &mut HeapScratch,
) -> (Option<(TokenId, TokenId)>, usize) {
    let mut n_tokens = 0;
    symbols.for_each(table, bytes, |id| scratch.push(id));
    let last = merge_all(merges, scratch, |_| n_tokens += 1);
    (last, n_tokens)
}

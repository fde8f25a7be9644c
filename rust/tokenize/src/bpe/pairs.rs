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
//! The time of a token is the largest rank of its derivation: a merge whose rank is below that of a part is applied as
//! soon as the part is there, before anything of larger rank. Where two states share a time, because one follows from
//! the other in this way, and a merge of no larger rank crosses in between, times do not say which comes first; such
//! pairs are decided by encoding their bytes.

use tokenloom_vocab::{TokenId, TokenTable};

use super::merges::MergesBelow;
use super::prefixes::NONE;

/// The derivation of every token, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derivations {
    nodes: Vec<Node>,
    /// By id: length in bytes.
    n_bytes: Vec<u32>,
    /// By two bytes that are symbols: one more than the rank of their merge, `u32::MAX` where they do not merge. Empty where
    /// merging starts from characters.
    byte_pairs: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// For a symbol, which has no parts: its byte.
    left: TokenId,
    right: TokenId,
    /// 0 for a first symbol, otherwise one more than the largest rank of the derivation.
    time: u32,
    /// The longest token that is a proper prefix, which is asked for where this one has just been looked at.
    shorter: TokenId,
}

/// The time of a token that is never produced.
const NEVER: u32 = u32::MAX;

/// What the spines say of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Invalid,
    /// The bytes of the two have to be encoded.
    Open,
}

impl Derivations {
    /// Finds the derivation of every token, given the first symbols and a way to encode bytes: the last merge, if all
    /// of them become one token. O(merges · spine), plus an encoding for each pair that is open.
    pub(crate) fn new(
        table: &TokenTable,
        merges: MergesBelow<'_>,
        symbols: impl Iterator<Item = TokenId>,
        encode: impl Fn(&[u8]) -> Option<(TokenId, TokenId)>,
    ) -> Self {
        let n_bytes: Vec<u32> = (0..table.id_bound() as TokenId)
            .map(|id| table.bytes(id).map_or(0, <[u8]>::len) as u32)
            .collect();
        let never = Node { left: 0, right: 0, time: NEVER, shorter: NONE };
        let mut this = Self { nodes: vec![never; table.id_bound()], n_bytes, byte_pairs: Vec::new() };
        let mut bytes = [None; 256];
        let mut are_bytes = true;
        for id in symbols {
            this.nodes[id as usize].time = 0;
            match table.bytes(id) {
                Some(&[byte]) => {
                    this.nodes[id as usize].left = TokenId::from(byte);
                    bytes[usize::from(byte)] = Some(id);
                }
                _ => are_bytes = false,
            }
        }
        if are_bytes {
            this.byte_pairs = (0..=u16::MAX)
                .map(|pair| {
                    let [left, right] = pair.to_be_bytes().map(|byte| bytes[usize::from(byte)]);
                    let merge = left.zip(right).and_then(|(left, right)| merges.get(left, right));
                    merge.map_or(u32::MAX, |(rank, _)| rank.0 + 1)
                })
                .collect();
        }
        // Parts are shorter than wholes: by length, parts are known before the tokens made of them.
        let mut candidates: Vec<(u64, TokenId, TokenId, TokenId)> = merges
            .iter()
            .map(|((left, right), (rank, result))| {
                (u64::from(this.n_bytes[result as usize]) << 32 | u64::from(rank.0), result, left, right)
            })
            .collect();
        candidates.sort_unstable_by_key(|candidate| candidate.0);
        for (order, result, left, right) in candidates {
            let (a, b) = (this.nodes[left as usize].time, this.nodes[right as usize].time);
            if this.nodes[result as usize].time != NEVER || a == NEVER || b == NEVER {
                continue;
            }
            let made = match this.spines_agree(left, right, merges) {
                Verdict::Valid => true,
                Verdict::Invalid => false,
                Verdict::Open => encode(table.bytes(result).unwrap_or_default()) == Some((left, right)),
            };
            if made {
                let time = (order as u32 + 1).max(a).max(b);
                this.nodes[result as usize] = Node { left, right, time, shorter: NONE };
            }
        }
        this
    }

    /// Length of `id` in bytes.
    #[inline]
    pub(crate) fn n_bytes(&self, id: TokenId) -> usize {
        self.n_bytes[id as usize] as usize
    }

    /// The longest token that is a proper prefix of `id`, `NONE` if there is none.
    #[inline]
    pub(crate) fn shorter(&self, id: TokenId) -> TokenId {
        self.nodes[id as usize].shorter
    }

    pub(crate) fn set_shorter(&mut self, id: TokenId, shorter: TokenId) {
        self.nodes[id as usize].shorter = shorter;
    }

    pub(crate) fn is_reachable(&self, id: TokenId) -> bool {
        self.nodes.get(id as usize).is_some_and(|node| node.time != NEVER)
    }

    /// One more than the largest rank of its derivation, 0 for a first symbol. Of a reachable token.
    #[inline]
    pub(crate) fn time(&self, id: TokenId) -> u32 {
        self.nodes[id as usize].time
    }

    pub(crate) fn split_of(&self, id: TokenId) -> Option<(TokenId, TokenId)> {
        let node = self.nodes.get(id as usize)?;
        (node.time != 0 && node.time != NEVER).then_some((node.left, node.right))
    }

    /// Whether no merge crosses between `left` and `right`, both reachable, before both are whole.
    #[inline]
    pub(crate) fn spines_agree(&self, left: TokenId, right: TokenId, merges: MergesBelow<'_>) -> Verdict {
        let (mut left, mut right) = (left, right);
        let (mut a, mut b) = (self.nodes[left as usize], self.nodes[right as usize]);
        loop {
            // The event that ended the state before: the later of the two newest merges. On equal times all of the left
            // one's comes first; a crossing merge of the same rank lies left of the right one's.
            let (limit, time, part) = if a.time > b.time {
                let ended = a.time;
                left = a.right;
                a = self.nodes[left as usize];
                (ended, ended, a.time)
            } else if b.time > 0 {
                let ended = b.time;
                right = b.left;
                b = self.nodes[right as usize];
                (ended + 1, ended, b.time)
            } else {
                return Verdict::Valid;
            };
            // Two bytes are what it comes down to most often, and one small table knows all about them.
            let crosses = if a.time | b.time == 0 && !self.byte_pairs.is_empty() {
                self.byte_pairs[(a.left << 8 | b.left) as usize] < limit
            } else {
                merges.get(left, right).is_some_and(|(rank, _)| rank.0 + 1 < limit)
            };
            if crosses {
                return if part == time { Verdict::Open } else { Verdict::Invalid };
            }
        }
    }
}

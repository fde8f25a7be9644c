//! Between which two tokens of a stage can a later merge cross?
//!
//! Let the merges of ranks below a limit run until none applies. A merge that comes after that crosses the place where its
//! two parts meet, which lies between two tokens of the stage: the last one that the left part was made of, and the first
//! one of the right part. What tokens can be made of is followed through all merges, so all such pairs are known
//! beforehand, and at any other pair what is on its two sides never meets. The pairs are kept as a bitmap of sixteen bits
//! a pair: a pair that is not among them may look as if it were, which costs time only.

use hashbrown::HashMap;
use rustc_hash::{FxBuildHasher, FxHashSet};
use tokenloom_vocab::{TokenId, TokenTable};

use super::MergeTable;

/// The pairs of a stage's tokens that later merges cross.
#[derive(Clone, Debug)]
pub(crate) struct Seams {
    bits: Vec<u64>,
    shift: u32,
}

/// The stage's tokens that a token may begin or end with, where it is no token of the stage alone.
type Edges = HashMap<TokenId, Vec<TokenId>, FxBuildHasher>;

impl Seams {
    /// For the stage of the ranks below `limit`. `None` where there are more than a few pairs for each merge. O(merges) but
    /// for tokens that are made in several ways, whose edges are joined.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable, limit: u32) -> Option<Self> {
        let pairs = pairs(table, merges, limit)?;
        let n_bits = (16 * pairs.len()).next_power_of_two().max(64);
        let mut this = Self { bits: vec![0; n_bits / 64], shift: 64 - n_bits.trailing_zeros() };
        for (left, right) in pairs {
            let bit = this.bit(left, right);
            this.bits[bit / 64] |= 1 << (bit % 64);
        }
        Some(this)
    }

    #[inline]
    fn bit(&self, left: TokenId, right: TokenId) -> usize {
        let pair = u64::from(left) << 32 | u64::from(right);
        ((pair ^ pair >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Whether a merge may cross between two tokens of the stage that its merges leave side by side.
    #[inline]
    pub(crate) fn may_cross(&self, left: TokenId, right: TokenId) -> bool {
        let bit = self.bit(left, right);
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }
}

fn pairs(table: &TokenTable, merges: &MergeTable, limit: u32) -> Option<FxHashSet<(TokenId, TokenId)>> {
    const MAX_PAIRS_A_MERGE: usize = 8;
    let mut sorted: Vec<_> = merges.iter().collect();
    // Parts are shorter than wholes: by length, the edges of parts are known before those of what is made of them.
    sorted.sort_unstable_by_key(|&(_, (_, result))| table.bytes(result).map_or(0, <[u8]>::len));
    let (mut firsts, mut lasts) = (Edges::default(), Edges::default());
    let mut pairs = FxHashSet::default();
    let n_most = MAX_PAIRS_A_MERGE * merges.len();
    let mut n_edges = 0;
    for ((left, right), (rank, result)) in sorted {
        let is_late = rank.0 >= limit;
        if !is_late && !lasts.contains_key(&left) && !firsts.contains_key(&right) {
            // It applies within the stage only. (A token without an entry has no edge but itself.)
            continue;
        }
        for last in of(&lasts, left) {
            pairs.extend(of(&firsts, right).map(|first| (last, first)));
        }
        n_edges += add(&mut firsts, left, result) + add(&mut lasts, right, result);
        if pairs.len() > n_most || n_edges > n_most {
            return None;
        }
    }
    Some(pairs)
}

/// The edges of a token, itself included: that it is a token of the stage is not ruled out.
fn of(edges: &Edges, id: TokenId) -> impl Iterator<Item = TokenId> {
    let more = edges.get(&id).map_or(&[][..], |more| more);
    std::iter::once(id).chain(more.iter().copied())
}

/// Adds the edges of a part to those of the whole, and says how many are new.
fn add(edges: &mut Edges, part: TokenId, whole: TokenId) -> usize {
    let new: Vec<TokenId> = of(edges, part).collect();
    let known = edges.entry(whole).or_default();
    let n_before = known.len();
    for id in new {
        if !known.contains(&id) {
            known.push(id);
        }
    }
    known.len() - n_before
}

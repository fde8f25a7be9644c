//! In how many ways do tokens spell these bytes, and which ways are they?
//!
//! Every sequence of tokens whose bytes joined are the given ones is a path through a graph: positions are nodes, a token
//! that fits at a position is an edge to where it ends. Sums and maxima over all paths are one pass from the end. The
//! tokenizer's own encoding is one of the paths; a model may write any of them.
//!
//! Added tokens are left out: they are matched as text, not spelled. O(n · d) time and memory for n bytes with d tokens
//! at a position; d is 5 in running text, and as many as the longest token has bytes in a run of one character.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tokenloom_vocab::TokenId;

use crate::Tokenizer;

/// A question about segmentations that has no answer within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationError {
    /// The work would pass a limit.
    #[error("{what} of {found} is above the limit of {limit}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// There is not one score for each id.
    #[error("expected {expected} scores, one for each id, found {found}")]
    WrongScores {
        /// One more than the largest id.
        expected: usize,
        /// Scores given.
        found: usize,
    },
    /// A score is NaN or positive infinity.
    #[error("expected scores below infinity, found {found} at id {id}")]
    BadScore {
        /// The id with the score.
        id: TokenId,
        /// NaN or infinity, as text.
        found: &'static str,
    },
    /// No sequence of tokens spells the bytes.
    #[error("no sequence of tokens spells these bytes")]
    None,
}

/// One way to spell the bytes, and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// The tokens.
    pub ids: Vec<TokenId>,
    /// The sum of their scores.
    pub score: f64,
}

/// The graph of all segmentations of some bytes.
#[derive(Clone, Debug)]
pub struct Segmentations {
    /// Edges of position `i` are `first[i]..first[i + 1]`, shortest token first.
    first: Vec<usize>,
    edges: Vec<Edge>,
    id_bound: usize,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    id: TokenId,
    end: u32,
}

/// A path in the making: the edge it takes and which of the best paths from its end.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    score: f64,
    edge: u32,
    rank: u32,
}

impl Segmentations {
    /// Bytes of one input.
    pub const MAX_BYTES: usize = 1 << 26;
    /// Bytes of an input that is counted exactly: the count has up to a digit a byte.
    pub const MAX_COUNTED_BYTES: usize = 1 << 16;
    /// Paths kept at all positions together.
    pub const MAX_PATHS: usize = 1 << 26;

    /// Finds every token at every position.
    ///
    /// # Errors
    /// [`SegmentationError::TooLarge`].
    pub fn new(tokenizer: &Tokenizer, bytes: &[u8]) -> Result<Self, SegmentationError> {
        at_most("bytes", bytes.len(), Self::MAX_BYTES)?;
        let trie = tokenizer.byte_trie();
        let (mut first, mut edges) = (Vec::with_capacity(bytes.len() + 2), Vec::new());
        for start in 0..bytes.len() {
            first.push(edges.len());
            let mut node = trie.root();
            for (end, &byte) in bytes.iter().enumerate().skip(start) {
                let Some(next) = trie.child(node, byte) else { break };
                node = next;
                let here = trie.exact(node);
                edges.extend(trie.ids()[here].iter().map(|&id| Edge { id, end: end as u32 + 1 }));
            }
        }
        first.extend([edges.len(); 2]);
        Ok(Self { first, edges, id_bound: tokenizer.id_bound() })
    }

    /// How many bytes are spelled.
    pub fn n_bytes(&self) -> usize {
        self.first.len() - 2
    }

    fn edges(&self, at: usize) -> &[Edge] {
        &self.edges[self.first[at]..self.first[at + 1]]
    }

    /// How many segmentations there are, exactly: little-endian words of 64 bits.
    ///
    /// # Errors
    /// [`SegmentationError::TooLarge`] above [`Self::MAX_COUNTED_BYTES`].
    pub fn count(&self) -> Result<Vec<u64>, SegmentationError> {
        let n_bytes = self.n_bytes();
        at_most("bytes", n_bytes, Self::MAX_COUNTED_BYTES)?;
        let window = self.edges.iter().zip(self.starts()).map(|(edge, at)| edge.end as usize - at).max();
        let window = window.unwrap_or(0) + 1;
        // Only the counts that a token reaches back to are kept.
        let mut counts: Vec<Vec<u64>> = vec![Vec::new(); window];
        counts[n_bytes % window] = vec![1];
        for at in (0..n_bytes).rev() {
            let mut sum = std::mem::take(&mut counts[at % window]);
            sum.clear();
            for edge in self.edges(at) {
                add(&mut sum, &counts[edge.end as usize % window]);
            }
            counts[at % window] = sum;
        }
        Ok(std::mem::take(&mut counts[0]))
    }

    /// The position of every edge.
    fn starts(&self) -> impl Iterator<Item = usize> {
        (0..self.n_bytes()).flat_map(|at| std::iter::repeat_n(at, self.edges(at).len()))
    }

    /// The natural logarithm of the number of segmentations of every end of the bytes, the whole first.
    fn log_counts(&self) -> Vec<f64> {
        let mut counts = vec![f64::NEG_INFINITY; self.n_bytes() + 1];
        counts[self.n_bytes()] = 0.0;
        for at in (0..self.n_bytes()).rev() {
            let ends = || self.edges(at).iter().map(|edge| counts[edge.end as usize]);
            let most = ends().fold(f64::NEG_INFINITY, f64::max);
            if most > f64::NEG_INFINITY {
                counts[at] = most + ends().map(|count| (count - most).exp()).sum::<f64>().ln();
            }
        }
        counts
    }

    /// The natural logarithm of the number of segmentations; negative infinity where there is none.
    pub fn log_count(&self) -> f64 {
        self.log_counts()[0]
    }

    /// Segmentations drawn with equal probability; `uniform(n)` is the n-th number of [0, 1) that is used.
    ///
    /// # Errors
    /// [`SegmentationError::None`].
    pub fn sample(
        &self,
        n_samples: usize,
        mut uniform: impl FnMut(u64) -> f64,
    ) -> Result<Vec<Vec<TokenId>>, SegmentationError> {
        let counts = self.log_counts();
        if counts[0] == f64::NEG_INFINITY {
            return Err(SegmentationError::None);
        }
        let mut n_used = 0;
        let mut draw = || {
            let (mut at, mut ids) = (0, Vec::new());
            while at < self.n_bytes() {
                let mut left = uniform(n_used);
                n_used += 1;
                let mut chosen = None;
                for edge in self.edges(at).iter().filter(|edge| counts[edge.end as usize] > f64::NEG_INFINITY)
                {
                    chosen = Some(edge);
                    left -= (counts[edge.end as usize] - counts[at]).exp();
                    if left < 0.0 {
                        break;
                    }
                }
                let Some(edge) = chosen else { return Err(SegmentationError::None) };
                ids.push(edge.id);
                at = edge.end as usize;
            }
            Ok(ids)
        };
        (0..n_samples).map(|_| draw()).collect()
    }

    /// The segmentation of the fewest tokens; among those, the one whose first token is longest, and so on.
    ///
    /// # Errors
    /// [`SegmentationError::None`].
    pub fn fewest(&self) -> Result<Vec<TokenId>, SegmentationError> {
        let mut counts = vec![u32::MAX; self.n_bytes() + 1];
        counts[self.n_bytes()] = 0;
        for at in (0..self.n_bytes()).rev() {
            let fewest = self.edges(at).iter().map(|edge| counts[edge.end as usize]).min();
            counts[at] = fewest.unwrap_or(u32::MAX).saturating_add(1);
        }
        let (mut at, mut ids) = (0, Vec::new());
        while at < self.n_bytes() {
            let best = |edge: &&Edge| counts[edge.end as usize].checked_add(1) == Some(counts[at]);
            let longest =
                self.edges(at).iter().filter(best).max_by_key(|edge| (edge.end, std::cmp::Reverse(edge.id)));
            let edge = longest.ok_or(SegmentationError::None)?;
            ids.push(edge.id);
            at = edge.end as usize;
        }
        Ok(ids)
    }

    /// The `k` segmentations with the largest sums of scores, best first; without scores, those of the fewest tokens.
    /// Among equal sums the one with the shorter first token comes first. Negative infinity forbids a token.
    ///
    /// # Errors
    /// [`SegmentationError::TooLarge`], [`SegmentationError::WrongScores`], [`SegmentationError::BadScore`].
    pub fn best(&self, k: usize, scores: Option<&[f64]>) -> Result<Vec<Segmentation>, SegmentationError> {
        if let Some(scores) = scores {
            check_scores(scores, self.id_bound)?;
        }
        let score_of = |id: TokenId| scores.map_or(-1.0, |scores| scores[id as usize]);
        let mut best: Vec<Vec<Candidate>> = vec![Vec::new(); self.n_bytes() + 1];
        if k > 0 {
            best[self.n_bytes()].push(Candidate { score: 0.0, edge: 0, rank: 0 });
        }
        let mut n_paths = 1;
        let mut queue = BinaryHeap::new();
        for at in (0..self.n_bytes()).rev() {
            queue.clear();
            let candidate = |edge: u32, rank: u32| {
                let Edge { id, end } = self.edges[edge as usize];
                let score = score_of(id) + best[end as usize].get(rank as usize)?.score;
                (score > f64::NEG_INFINITY).then_some(Candidate { score, edge, rank })
            };
            queue.extend((self.first[at]..self.first[at + 1]).filter_map(|edge| candidate(edge as u32, 0)));
            let mut kept = Vec::new();
            while kept.len() < k
                && let Some(next) = queue.pop()
            {
                kept.push(next);
                queue.extend(candidate(next.edge, next.rank + 1));
            }
            n_paths += kept.len();
            at_most("paths", n_paths, Self::MAX_PATHS)?;
            best[at] = kept;
        }
        Ok((0..best[0].len()).map(|rank| self.path(&best, rank)).collect())
    }

    fn path(&self, best: &[Vec<Candidate>], mut rank: usize) -> Segmentation {
        let (mut at, mut ids, score) = (0, Vec::new(), best[0][rank].score);
        while at < self.n_bytes() {
            let step = best[at][rank];
            let edge = self.edges[step.edge as usize];
            ids.push(edge.id);
            (at, rank) = (edge.end as usize, step.rank as usize);
        }
        Segmentation { ids, score }
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.edge.cmp(&self.edge)).then(other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

fn check_scores(scores: &[f64], id_bound: usize) -> Result<(), SegmentationError> {
    if scores.len() != id_bound {
        return Err(SegmentationError::WrongScores { expected: id_bound, found: scores.len() });
    }
    match scores.iter().position(|score| score.is_nan() || *score == f64::INFINITY) {
        Some(id) => {
            let found = if scores[id].is_nan() { "NaN" } else { "infinity" };
            Err(SegmentationError::BadScore { id: id as TokenId, found })
        }
        None => Ok(()),
    }
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), SegmentationError> {
    if found > limit { Err(SegmentationError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Adds a number of little-endian words to another.
fn add(sum: &mut Vec<u64>, more: &[u64]) {
    if sum.len() < more.len() {
        sum.resize(more.len(), 0);
    }
    let mut carry = false;
    for (at, word) in sum.iter_mut().enumerate() {
        if at >= more.len() && !carry {
            return;
        }
        let (partial, over) = word.overflowing_add(more.get(at).copied().unwrap_or(0));
        let (total, over_again) = partial.overflowing_add(u64::from(carry));
        (*word, carry) = (total, over || over_again);
    }
    if carry {
        sum.push(1);
    }
}

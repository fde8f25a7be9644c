//! Which tokens are worth a row of the model?
//!
//! A node is worth what it is expected to add to a step: the probability that it is reached and right, which is the
//! product of the probabilities on its path. The best tree of n nodes is therefore the n nodes of the largest products,
//! and those of a parent are never below those of its children: one heap, the best node first, until the budget is spent
//! or the best is below `min_prob`. The answer lists the best child first and whole branches in a row, so the most
//! probable chain leads.
//!
//! Cost: for each node the levels of each source and a few candidates on the heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tokenloom_vocab::TokenId;

use super::blend::blend;
use super::source::{Levels, Source};
use super::tree::DraftTree;

/// A larger tree is not grown, whatever the budget.
pub(super) const MAX_NODES: usize = 4096;

/// What a proposal may cost and how it may look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) budget: usize,
    pub(super) min_prob: f32,
    /// Only one child for each node?
    pub(super) is_chain: bool,
}

/// More than the sources give at one row.
const CANDIDATES_PER_ROW: u32 = 1 << 16;

/// A token that may be drafted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    /// The probability of the whole path.
    path_prob: f32,
    prob: f32,
    /// Earlier ones win ties.
    rank: u32,
    token: TokenId,
    /// The row of the parent: 0 for the end of the text, `j + 1` for node `j`.
    parent_row: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.path_prob.total_cmp(&other.path_prob).then(other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Memory that is used again for the next proposal.
#[derive(Debug, Default)]
pub(super) struct Growth {
    heap: BinaryHeap<Candidate>,
    levels: Levels,
    candidates: Vec<(TokenId, f32)>,
    /// The cursors of all sources at each row.
    cursors: Vec<u32>,
    nodes: Vec<Candidate>,
}

impl Growth {
    /// The best tree by what `sources` say.
    pub(super) fn grow(&mut self, sources: &[&dyn Source], shape: Shape) -> DraftTree {
        let budget = shape.budget.min(MAX_NODES);
        let width: usize = sources.iter().map(|source| source.n_words()).sum();
        self.nodes.clear();
        self.heap.clear();
        self.cursors.clear();
        self.cursors.resize(width, 0);
        let mut at = 0;
        for source in sources {
            source.root(&mut self.cursors[at..at + source.n_words()]);
            at += source.n_words();
        }
        self.expand(sources, shape, 0, 1.0);
        while self.nodes.len() < budget
            && let Some(best) = self.heap.pop()
        {
            self.nodes.push(best);
            if self.nodes.len() == budget {
                break;
            }
            let row = self.nodes.len();
            self.cursors.resize((row + 1) * width, 0);
            let (past, new) = self.cursors.split_at_mut(row * width);
            let mut at = 0;
            for source in sources {
                let from = best.parent_row as usize * width + at;
                let n = source.n_words();
                source.step(&past[from..from + n], best.token, &mut new[at..at + n]);
                at += n;
            }
            self.expand(sources, shape, row as u32, best.path_prob);
        }
        self.tree()
    }

    /// Puts the children of a row on the heap.
    fn expand(&mut self, sources: &[&dyn Source], shape: Shape, row: u32, path_prob: f32) {
        self.levels.clear();
        let width = self.cursors.len() / (row as usize + 1);
        let mut at = row as usize * width;
        for (i, source) in sources.iter().enumerate() {
            self.levels.set_source(i as u8);
            source.levels(&self.cursors[at..at + source.n_words()], &mut self.levels);
            at += source.n_words();
        }
        self.levels.sort();
        blend(&self.levels, shape.min_prob / path_prob, &mut self.candidates);
        if shape.is_chain {
            let best = self
                .candidates
                .iter()
                .copied()
                .reduce(|best, next| if next.1 > best.1 { next } else { best });
            self.candidates.clear();
            self.candidates.extend(best);
        }
        let mut rank = row * CANDIDATES_PER_ROW;
        for &(token, prob) in &self.candidates {
            let path_prob = path_prob * prob;
            if path_prob >= shape.min_prob {
                self.heap.push(Candidate { path_prob, prob, rank, token, parent_row: row });
                rank += 1;
            }
        }
    }

    /// The nodes with each branch in a row, the best child first.
    fn tree(&self) -> DraftTree {
        // Nodes came best first, so the first child listed is the best one.
        let n_rows = self.nodes.len() + 1;
        let (mut first, mut next) = (vec![0; n_rows], vec![0; n_rows]);
        for (row, node) in (1..n_rows as u32).zip(&self.nodes).rev() {
            next[row as usize] = std::mem::replace(&mut first[node.parent_row as usize], row);
        }
        let mut tree = DraftTree::with_capacity(self.nodes.len());
        // Rows to visit, with the new index of their parents.
        let mut stack = vec![(first[0], -1)];
        while let Some((row, parent)) = stack.pop() {
            if row == 0 {
                continue;
            }
            let node = &self.nodes[row as usize - 1];
            stack.push((next[row as usize], parent));
            stack.push((first[row as usize], tree.n_nodes() as i32));
            tree.push(node.token, parent, node.prob.min(1.0));
        }
        tree
    }
}

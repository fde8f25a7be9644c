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

use super::blend::{Guess, blend};
use super::calibration::{Cell, StreamCalibration, cell};
use super::cost::CostCurve;
use super::error::{DraftError, DraftErrorKind};
use super::source::{Cursor, Levels, Source};
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

/// A node is never as probable as its parent: corrected promises keep their order.
const CERTAIN: f32 = 0.999;

/// More than the sources give at one row.
const CANDIDATES_PER_ROW: u32 = 1 << 16;

/// A token that may be drafted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// The probability of the whole path.
    path_prob: f32,
    /// The same before it was corrected.
    claim: f32,
    /// What it is corrected by.
    cell: Cell,
    /// The probability behind the parent.
    prob: f32,
    /// Earlier ones win ties.
    rank: u32,
    token: TokenId,
    depth: u32,
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
    guesses: Vec<Guess>,
    /// The cursors of all sources at each row.
    cursors: Vec<Cursor>,
    nodes: Vec<Candidate>,
}

impl Growth {
    /// The best tree by what `sources` say, corrected by the calibration and cut to what pays where these are given.
    pub(super) fn grow(
        &mut self,
        sources: &[Box<dyn Source>],
        shape: Shape,
        calibration: Option<&StreamCalibration>,
        cost: Option<&CostCurve>,
    ) -> DraftTree {
        let budget = shape.budget.min(MAX_NODES);
        self.nodes.clear();
        self.heap.clear();
        self.cursors.clear();
        self.cursors.extend(sources.iter().map(|source| source.root()));
        self.expand(sources, shape, calibration, (0, 0), [1.0, 1.0]);
        while self.nodes.len() < budget
            && let Some(best) = self.heap.pop()
        {
            self.nodes.push(best);
            if self.nodes.len() == budget {
                break;
            }
            let parent = best.parent_row as usize * sources.len();
            for (i, source) in sources.iter().enumerate() {
                self.cursors.push(source.step(self.cursors[parent + i], best.token));
            }
            let (row, path) = (self.nodes.len() as u32, [best.path_prob, best.claim]);
            self.expand(sources, shape, calibration, (row, best.depth), path);
        }
        if let Some(cost) = cost {
            let n_paying = cost.n_paying(self.nodes.iter().map(|node| node.path_prob));
            self.nodes.truncate(n_paying);
        }
        // Nodes came best first, so the first child listed is the best one.
        DraftTree::in_branches(&self.nodes, |node| (node.token, node.parent_row as usize, node.prob))
    }

    /// Puts the children of the last row on the heap, whose own probability is given, corrected and as it was promised.
    fn expand(
        &mut self,
        sources: &[Box<dyn Source>],
        shape: Shape,
        calibration: Option<&StreamCalibration>,
        (row, depth): (u32, u32),
        [parent_prob, parent_claim]: [f32; 2],
    ) {
        self.levels.clear();
        let first = row as usize * sources.len();
        for ((i, source), &cursor) in sources.iter().enumerate().zip(&self.cursors[first..]) {
            self.levels.set_source(i as u8);
            source.levels(cursor, &mut self.levels);
        }
        if self.levels.is_empty() {
            return;
        }
        self.levels.sort();
        blend(&self.levels, shape.min_prob / parent_prob.max(parent_claim), &mut self.guesses);
        if shape.is_chain && self.guesses.len() > 1 {
            let better = |best: Guess, next: Guess| if next.prob > best.prob { next } else { best };
            let best = self.guesses.drain(..).reduce(better);
            self.guesses.extend(best);
        }
        let mut rank = row * CANDIDATES_PER_ROW;
        for &Guess { token, prob, level } in &self.guesses {
            let cell = cell(self.levels.level(level), depth as usize);
            let claim = parent_claim * prob;
            let (path_prob, prob) = match calibration {
                None => (claim, prob),
                Some(calibration) => {
                    let path_prob = calibration.correct(cell, claim).min(CERTAIN * parent_prob);
                    (path_prob, if parent_prob > 0.0 { path_prob / parent_prob } else { 0.0 })
                }
            };
            if path_prob >= shape.min_prob {
                let (depth, parent_row) = (depth + 1, row);
                self.heap.push(Candidate { path_prob, claim, cell, prob, rank, token, depth, parent_row });
                rank += 1;
            }
        }
    }

    /// Says of each node of the last proposal what was promised and whether it came, as far as `tokens` reach.
    pub(super) fn judge(&self, tokens: &[TokenId], mut judged: impl FnMut(Cell, f32, bool)) {
        // Behind the last of the tokens nothing is known.
        let mut came = vec![Some(true); self.nodes.len() + 1];
        for (row, node) in (1..).zip(&self.nodes) {
            let token = tokens.get(node.depth as usize - 1);
            came[row] = match came[node.parent_row as usize] {
                Some(true) => token.map(|&token| token == node.token),
                other => other,
            };
            if let Some(came) = came[row] {
                judged(node.cell, node.claim, came);
            }
        }
    }

    /// The last proposal was judged.
    pub(super) fn forget(&mut self) {
        self.nodes.clear();
    }
}

/// The floor of a path is a probability.
pub(super) fn check_min_prob(min_prob: f64) -> Result<f32, DraftError> {
    if !(0.0..=1.0).contains(&min_prob) {
        return Err(DraftErrorKind::MinProb { min_prob }.into());
    }
    Ok(min_prob as f32)
}

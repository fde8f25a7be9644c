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
use std::sync::Mutex;

use tokenloom_vocab::TokenId;

use super::blend::{Guess, OTHER, alone, blend};
use super::calibration::{Cell, StreamCalibration, cell};
use super::cost::CostCurve;
use super::error::{DraftError, DraftErrorKind};
use super::index::END_OF_DOCUMENT;
use super::source::{Cursor, Level, Levels};
use super::sources::Sources;

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
const NODES_PER_ROW: u32 = 1 << 16;

/// A token that may be drafted, or is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// The probability of the whole path.
    path_prob: f32,
    /// The same before it was corrected.
    pub(super) claim: f32,
    /// What it is corrected by.
    pub(super) cell: Cell,
    /// The probability behind the parent.
    pub(super) prob: f32,
    /// Earlier ones win ties.
    rank: u32,
    pub(super) token: TokenId,
    pub(super) depth: u32,
    /// The row of the parent: 0 for the end of the text, `j + 1` for node `j`.
    pub(super) parent_row: u32,
}

impl Eq for Node {}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        self.path_prob.total_cmp(&other.path_prob).then(other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Memory for the proposals of all streams of a drafter: where the last one worked is in the cache of its core. A
/// thread takes the first place that is free.
#[derive(Debug, Default)]
pub(super) struct Workspaces([Mutex<Growth>; N_WORKSPACES]);

/// More threads at a time bring memory of their own.
const N_WORKSPACES: usize = 4;

impl Workspaces {
    pub(super) fn lend<R>(&self, work: impl FnOnce(&mut Growth) -> R) -> R {
        match self.0.iter().find_map(|place| place.try_lock().ok()) {
            Some(mut growth) => work(&mut growth),
            None => work(&mut Growth::default()),
        }
    }
}

/// Memory that is used again for the next proposal.
#[derive(Debug, Default)]
pub(super) struct Growth {
    heap: BinaryHeap<Node>,
    levels: Levels,
    guesses: Vec<Guess>,
    /// The cursors of all sources at each row.
    cursors: Vec<Cursor>,
    nodes: Vec<Node>,
}

impl Growth {
    /// The best tree by what `sources` say, corrected by the calibration and cut to what pays where these are given.
    pub(super) fn grow(
        &mut self,
        sources: &impl Sources,
        shape: Shape,
        calibration: Option<&StreamCalibration>,
        cost: Option<&CostCurve>,
    ) -> &[Node] {
        let shape = Shape { budget: shape.budget.min(MAX_NODES), ..shape };
        self.nodes.clear();
        self.heap.clear();
        self.cursors.clear();
        sources.roots(&mut self.cursors);
        let mut parent = END_OF_TEXT;
        while self.nodes.len() < shape.budget {
            if let Some(parent) = self.copy(sources, shape, calibration, parent) {
                self.expand(sources, shape, calibration, parent);
            }
            let Some(best) = self.heap.pop() else { break };
            self.nodes.push(best);
            if self.nodes.len() < shape.budget {
                let first = best.parent_row as usize * sources.n_sources();
                sources.step(&mut self.cursors, first, best.token);
                parent = best.as_parent(self.nodes.len());
            }
        }
        if let Some(cost) = cost {
            let n_paying = cost.n_paying(self.nodes.iter().map(|node| node.path_prob));
            self.nodes.truncate(n_paying);
        }
        &self.nodes
    }

    /// Drafts what follows the last row as long as that is all there is to draft. Returns the row that goes on in another
    /// way, if there is one.
    fn copy(
        &mut self,
        sources: &impl Sources,
        shape: Shape,
        calibration: Option<&StreamCalibration>,
        mut parent: Parent,
    ) -> Option<Parent> {
        let first = parent.row as usize * sources.n_sources();
        let copy = if self.heap.is_empty() { sources.copy(&self.cursors[first..]) } else { None };
        let Some(copy) = copy else { return Some(parent) };
        for (n_tokens, &token) in (copy.n_tokens..).zip(copy.tokens) {
            let child = parent.child(token, alone(OTHER, n_tokens), calibration, || {
                cell(copy.source, n_tokens, parent.depth)
            });
            if token == END_OF_DOCUMENT || child.path_prob < shape.min_prob {
                break;
            }
            self.nodes.push(child);
            if self.nodes.len() == shape.budget {
                break;
            }
            let first = parent.row as usize * sources.n_sources();
            parent = child.as_parent(self.nodes.len());
            if !sources.follow(&mut self.cursors, first, token) {
                return Some(parent);
            }
        }
        None
    }

    /// Says of each of `tokens` behind the end of the text what all sources knew before it.
    pub(super) fn visit(
        &mut self,
        sources: &impl Sources,
        tokens: &[TokenId],
        mut came: impl FnMut(&Levels, TokenId),
    ) {
        self.cursors.clear();
        sources.roots(&mut self.cursors);
        for (row, &token) in tokens.iter().enumerate() {
            let first = row * sources.n_sources();
            self.levels.clear();
            sources.levels(&self.cursors[first..], &mut self.levels);
            self.levels.sort();
            came(&self.levels, token);
            sources.step(&mut self.cursors, first, token);
        }
    }

    /// Puts the children of the last row on the heap.
    fn expand(
        &mut self,
        sources: &impl Sources,
        shape: Shape,
        calibration: Option<&StreamCalibration>,
        parent: Parent,
    ) {
        let first = parent.row as usize * sources.n_sources();
        self.levels.clear();
        sources.levels(&self.cursors[first..], &mut self.levels);
        if self.levels.is_empty() {
            return;
        }
        self.levels.sort();
        if let Some(calibration) = calibration {
            calibration.weigh(&mut self.levels);
        }
        blend(&self.levels, shape.min_prob / parent.path_prob.max(parent.claim), &mut self.guesses);
        if shape.is_chain && self.guesses.len() > 1 {
            let better = |best: Guess, next: Guess| if next.prob > best.prob { next } else { best };
            let best = self.guesses.drain(..).reduce(better);
            self.guesses.extend(best);
        }
        let mut rank = parent.row * NODES_PER_ROW;
        for &Guess { token, prob, level } in &self.guesses {
            let Level { source, n_tokens, .. } = *self.levels.level(level);
            let child = parent.child(token, prob, calibration, || cell(source, n_tokens, parent.depth));
            if child.path_prob >= shape.min_prob {
                self.heap.push(Node { rank, ..child });
                rank += 1;
            }
        }
    }
}

impl Node {
    fn as_parent(self, row: usize) -> Parent {
        Parent { row: row as u32, depth: self.depth, path_prob: self.path_prob, claim: self.claim }
    }
}

/// A row that may have children.
#[derive(Clone, Copy, Debug)]
struct Parent {
    row: u32,
    depth: u32,
    /// Its own probability, corrected, ...
    path_prob: f32,
    /// ... and as it was promised.
    claim: f32,
}

const END_OF_TEXT: Parent = Parent { row: 0, depth: 0, path_prob: 1.0, claim: 1.0 };

impl Parent {
    /// A child of probability `prob`, corrected where there is a calibration.
    #[inline]
    fn child(
        self,
        token: TokenId,
        prob: f32,
        calibration: Option<&StreamCalibration>,
        cell: impl FnOnce() -> Cell,
    ) -> Node {
        let claim = self.claim * prob;
        let (cell, path_prob, prob) = match calibration {
            None => (0, claim, prob),
            Some(calibration) => {
                let cell = cell();
                let path_prob = calibration.correct(cell, claim).min(CERTAIN * self.path_prob);
                (cell, path_prob, if self.path_prob > 0.0 { path_prob / self.path_prob } else { 0.0 })
            }
        };
        Node { path_prob, claim, cell, prob, rank: 0, token, depth: self.depth + 1, parent_row: self.row }
    }
}

/// The floor of a path is a probability.
pub(super) fn check_min_prob(min_prob: f64) -> Result<f32, DraftError> {
    if !(0.0..=1.0).contains(&min_prob) {
        return Err(DraftErrorKind::MinProb { min_prob }.into());
    }
    Ok(min_prob as f32)
}

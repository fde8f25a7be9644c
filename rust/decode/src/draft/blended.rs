//! How do several places of evidence draft one tree?
//!
//! All sources follow the text; a proposal grows one tree from what they say together. Where a [`StreamCalibration`] is given, each
//! commit is compared with the tree proposed before it, and later probabilities are corrected by what came. Where a
//! [`CostCurve`] is given, the tree is cut to the nodes that pay.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::calibration::{Cell, StreamCalibration};
use super::cost::CostCurve;
use super::growth::{Node, Shape, Workspaces};
use super::source::Source;
use super::sources::Sources;
use super::stream::{Commit, Ended, Proposer};
use super::suffix::Occurrence;
use super::tree::DraftTree;

/// Sources that draft together.
#[derive(Debug)]
pub(super) struct Blended<S> {
    sources: S,
    min_prob: f32,
    cost: Option<Arc<CostCurve>>,
    pub(super) calibration: Option<StreamCalibration>,
    /// What was proposed last, where there is somebody to learn from it and nothing was committed since.
    proposed: Option<Vec<Node>>,
    workspaces: Arc<Workspaces>,
}

impl<S: Sources> Blended<S> {
    pub(super) fn new(
        sources: S,
        min_prob: f32,
        cost: Option<Arc<CostCurve>>,
        workspaces: &Arc<Workspaces>,
    ) -> Self {
        let workspaces = Arc::clone(workspaces);
        Self { sources, min_prob, cost, calibration: None, proposed: None, workspaces }
    }

    /// Compares what was proposed last with what came: the draft, and what the sources knew up to the first token that
    /// was not drafted.
    fn learn(&mut self, tokens: &[TokenId]) {
        let (Some(calibration), Some(nodes)) = (&mut self.calibration, self.proposed.take()) else { return };
        let n_accepted = judge(&nodes, tokens, |cell, claim, came| calibration.learn(cell, claim, came));
        let seen = &tokens[..tokens.len().min(n_accepted + 1)];
        self.workspaces.lend(|growth| {
            growth.visit(&self.sources, seen, |levels, token| calibration.learn_shares(levels, token));
        });
    }
}

impl<S: Sources> Proposer for Blended<S> {
    fn commit(&mut self, commit: &Commit<'_>) {
        if !commit.is_prompt && !commit.tokens.is_empty() {
            self.learn(commit.tokens);
        }
        for source in self.sources.each() {
            source.commit(commit);
        }
    }

    fn propose(&mut self, budget: usize, is_chain: bool, tree: &mut DraftTree) {
        self.sources.ask();
        for source in self.sources.each() {
            source.prepare(budget);
        }
        let shape = Shape { budget, min_prob: self.min_prob, is_chain };
        self.workspaces.lend(|growth| {
            let nodes = growth.grow(&self.sources, shape, self.calibration.as_ref(), self.cost.as_deref());
            // Nodes came best first, so the first child listed is the best one.
            tree.set_branches(nodes, |node| (node.token, node.parent_row as usize, node.prob));
            if self.calibration.is_some() {
                self.proposed = Some(nodes.to_vec());
            }
        });
    }

    fn reads_drafts(&self) -> bool {
        self.sources.all().any(|source| source.reads_drafts())
    }

    fn guide(&mut self, trees: &[DraftTree]) {
        let mut trees = trees.iter();
        for source in self.sources.each() {
            source.guide(&mut trees);
        }
    }

    fn end(self: Box<Self>) -> Vec<Ended> {
        if let Some(calibration) = self.calibration {
            calibration.share();
        }
        self.sources.into_all().flat_map(|source| source.end()).collect()
    }

    fn occurrence(&self) -> Option<Occurrence> {
        self.sources.all().find_map(|source| source.occurrence())
    }

    fn n_matched(&mut self) -> usize {
        let matched = |source: &mut dyn Source| {
            source.prepare(0);
            source.n_matched()
        };
        self.sources.each().map(matched).max().unwrap_or(0)
    }

    fn n_bytes(&self) -> usize {
        self.sources.all().map(|source| source.n_bytes()).sum()
    }
}

/// Says of each node of a proposal what was promised and whether it came, as far as `tokens` reach. How many came.
fn judge(nodes: &[Node], tokens: &[TokenId], mut judged: impl FnMut(Cell, f32, bool)) -> usize {
    let mut n_came = 0;
    // Behind the last of the tokens nothing is known.
    let mut came = vec![Some(true); nodes.len() + 1];
    for (row, node) in (1..).zip(nodes) {
        let token = tokens.get(node.depth as usize - 1);
        came[row] = match came[node.parent_row as usize] {
            Some(true) => token.map(|&token| token == node.token),
            other => other,
        };
        if let Some(came) = came[row] {
            judged(node.cell, node.claim, came);
            n_came += usize::from(came);
        }
    }
    n_came
}

//! How do several places of evidence draft one tree?
//!
//! All sources follow the text; a proposal grows one tree from what they say together. Where a [`StreamCalibration`] is given, each
//! commit is compared with the tree proposed before it, and later probabilities are corrected by what came. Where a
//! [`CostCurve`] is given, the tree is cut to the nodes that pay.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::calibration::StreamCalibration;
use super::cost::CostCurve;
use super::growth::{Growth, Shape};
use super::source::Source;
use super::stream::{Commit, Ended, Proposer};
use super::suffix::Occurrence;
use super::tree::DraftTree;

/// Sources that draft together.
#[derive(Debug)]
pub(super) struct Blended {
    pub(super) sources: Vec<Box<dyn Source>>,
    pub(super) min_prob: f32,
    pub(super) cost: Option<Arc<CostCurve>>,
    pub(super) calibration: Option<StreamCalibration>,
    pub(super) growth: Growth,
}

impl Blended {
    pub(super) fn new(sources: Vec<Box<dyn Source>>, min_prob: f32, cost: Option<Arc<CostCurve>>) -> Self {
        Self { sources, min_prob, cost, calibration: None, growth: Growth::default() }
    }

    /// Compares what was proposed last with what came.
    fn learn(&mut self, tokens: &[TokenId]) {
        let Some(calibration) = &mut self.calibration else { return };
        self.growth.judge(tokens, |cell, claim, came| calibration.learn(cell, claim, came));
        self.growth.forget();
    }
}

impl Proposer for Blended {
    fn commit(&mut self, commit: &Commit<'_>) {
        if !commit.is_prompt && !commit.tokens.is_empty() {
            self.learn(commit.tokens);
        }
        for source in &mut self.sources {
            source.commit(commit);
        }
    }

    fn propose(&mut self, budget: usize, is_chain: bool) -> DraftTree {
        for source in &mut self.sources {
            source.prepare(budget);
        }
        let shape = Shape { budget, min_prob: self.min_prob, is_chain };
        self.growth.grow(&self.sources, shape, self.calibration.as_ref(), self.cost.as_deref())
    }

    fn guide(&mut self, trees: &[DraftTree]) {
        let mut trees = trees.iter();
        for source in &mut self.sources {
            source.guide(&mut trees);
        }
    }

    fn end(self: Box<Self>) -> Vec<Ended> {
        if let Some(calibration) = self.calibration {
            calibration.share();
        }
        self.sources.into_iter().flat_map(Source::end).collect()
    }

    fn occurrence(&self) -> Option<Occurrence> {
        self.sources.iter().find_map(|source| source.occurrence())
    }

    fn n_bytes(&self) -> usize {
        self.sources.iter().map(|source| source.n_bytes()).sum()
    }
}

//! What do several drafters say together?
//!
//! One best-first tree from the evidence of all of them. Drafters that can say at any node what they know are asked there
//! (suffix, recycling); of the others the tree they would propose is taken as evidence. The shares of contexts and the
//! probabilities of paths are corrected online by what came ([`super::trust`], [`super::calibration`]), so a source that
//! is wrong on this text, or repeats what another one knows, loses its say.

use std::sync::Arc;

use super::blended::Blended;
use super::calibration::{Calibration, StreamCalibration};
use super::cost::CostCurve;
use super::error::DraftError;
use super::growth::{Workspaces, check_min_prob};
use super::index::History;
use super::source::Source;
use super::stream::{Drafter, Proposer};
use super::told::Told;

/// A drafter of several.
#[derive(Debug)]
pub struct Merged {
    drafters: Vec<Arc<dyn Drafter>>,
    /// How many trees the caller hands in.
    n_told: usize,
    min_prob: f32,
    cost: Option<Arc<CostCurve>>,
    calibration: Arc<Calibration>,
    workspaces: Arc<Workspaces>,
}

impl Merged {
    /// Merges `drafters` and `n_told` trees of the caller's.
    ///
    /// # Errors
    /// [`super::DraftErrorKind::MinProb`].
    pub fn new(
        drafters: Vec<Arc<dyn Drafter>>,
        n_told: usize,
        min_prob: f64,
        cost: Option<CostCurve>,
    ) -> Result<Self, DraftError> {
        let (min_prob, cost) = (check_min_prob(min_prob)?, cost.map(Arc::new));
        let n_sources = n_told + drafters.iter().map(|drafter| drafter.sources().len().max(1)).sum::<usize>();
        let (calibration, workspaces) = (Arc::new(Calibration::new(n_sources)), Arc::default());
        Ok(Self { drafters, n_told, min_prob, cost, calibration, workspaces })
    }
}

impl Drafter for Merged {
    fn open(&self) -> Box<dyn Proposer> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        for drafter in &self.drafters {
            let own = drafter.sources();
            match own.is_empty() {
                true => sources.push(Box::new(Told::new(Some(drafter.open())))),
                false => sources.extend(own),
            }
        }
        sources.extend((0..self.n_told).map(|_| Box::new(Told::new(None)) as Box<dyn Source>));
        let mut blended = Blended::new(sources, self.min_prob, self.cost.clone(), &self.workspaces);
        blended.calibration = Some(StreamCalibration::new(&self.calibration));
        Box::new(blended)
    }

    fn n_bytes(&self) -> usize {
        self.drafters.iter().map(|drafter| drafter.n_bytes()).sum()
    }

    fn n_tokens(&self) -> usize {
        self.drafters.iter().map(|drafter| drafter.n_tokens()).sum()
    }

    fn learned(&self) -> Vec<f32> {
        self.calibration.counters()
    }

    fn learn_from(&self, counters: &[f32]) -> Result<(), DraftError> {
        self.calibration.restore(counters)
    }

    fn history(&self) -> Option<&Arc<History>> {
        self.drafters.iter().find_map(|drafter| drafter.history())
    }
}

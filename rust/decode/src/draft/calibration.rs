//! How often were tokens right that were drafted like this one?
//!
//! Counters for each (source, length of the context, depth in the draft): what was promised, the sum of the probabilities of
//! whole paths, and what came, the number accepted. The ratio, held near one until there is evidence, corrects later
//! promises of the same kind. Whole paths, not steps: a step is judged only behind right ones, where the text is easy, and
//! ratios of steps, taken there, would multiply along paths that are wrong already.
//!
//! Streams start from what all ended ones saw and add what they saw themselves when they end, so nothing is locked.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::{DraftError, DraftErrorKind};

/// Sources that are told apart; later ones share the last place.
const N_SOURCES: usize = 12;
/// Contexts of this length and longer are one kind.
const N_LENGTHS: usize = 17;
/// Nodes of this depth and deeper are one kind.
const N_DEPTHS: usize = 4;
/// Promises that are taken on trust.
const PRIOR: f32 = 10.0;
/// Beyond this many promises older ones fade.
const MEMORY: f32 = 4000.0;

/// Which counter.
pub(super) type Cell = u16;

/// What was promised and what came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counter {
    promised: f32,
    came: f32,
}

/// The counters of all ended streams of a drafter.
#[derive(Debug)]
pub(super) struct Calibration {
    cells: ArcSwap<Vec<Counter>>,
}

/// The counters as one stream sees them.
#[derive(Clone, Debug)]
pub(super) struct StreamCalibration {
    shared: Arc<Calibration>,
    start: Arc<Vec<Counter>>,
    now: Arc<Vec<Counter>>,
}

/// The counter of a token that a context of `n_tokens` in a source promises.
pub(super) fn cell(source: u8, n_tokens: u32, depth: u32) -> Cell {
    let source = usize::from(source).min(N_SOURCES - 1);
    let length = (n_tokens as usize).min(N_LENGTHS - 1);
    ((source * N_LENGTHS + length) * N_DEPTHS + (depth as usize).min(N_DEPTHS - 1)) as Cell
}

impl Calibration {
    pub(super) fn new() -> Self {
        let cells = vec![Counter::default(); N_SOURCES * N_LENGTHS * N_DEPTHS];
        Self { cells: ArcSwap::from_pointee(cells) }
    }

    /// What was promised and what came, of each kind in turn.
    pub(super) fn counters(&self) -> Vec<f32> {
        self.cells.load().iter().flat_map(|cell| [cell.promised, cell.came]).collect()
    }

    /// Goes on from [`Calibration::counters`] of another one.
    pub(super) fn restore(&self, counters: &[f32]) -> Result<(), DraftError> {
        let expected = 2 * self.cells.load().len();
        let n_wrong = counters.iter().filter(|&&counter| !(0.0..f32::INFINITY).contains(&counter)).count();
        if counters.len() != expected || n_wrong > 0 {
            return Err(DraftErrorKind::Counters { expected, found: counters.len(), n_wrong }.into());
        }
        let pairs = counters.as_chunks().0.iter();
        self.cells.store(Arc::new(pairs.map(|&[promised, came]| Counter { promised, came }).collect()));
        Ok(())
    }
}

impl StreamCalibration {
    pub(super) fn new(shared: &Arc<Calibration>) -> Self {
        let start = shared.cells.load_full();
        Self { shared: Arc::clone(shared), now: Arc::clone(&start), start }
    }

    /// The corrected probability of a path.
    pub(super) fn correct(&self, cell: Cell, prob: f32) -> f32 {
        let Counter { promised, came } = self.now[usize::from(cell)];
        prob * (came + PRIOR) / (promised + PRIOR)
    }

    /// A path that was promised with `prob` before correction came, or another one did.
    pub(super) fn learn(&mut self, cell: Cell, prob: f32, came: bool) {
        let counter = &mut Arc::make_mut(&mut self.now)[usize::from(cell)];
        counter.promised += prob;
        counter.came += f32::from(u8::from(came));
    }

    /// Adds what this stream saw to what all see.
    pub(super) fn share(self) {
        if Arc::ptr_eq(&self.now, &self.start) {
            return;
        }
        self.shared.cells.rcu(|cells| {
            let mut cells = Vec::clone(cells);
            for (cell, (now, start)) in cells.iter_mut().zip(self.now.iter().zip(&*self.start)) {
                cell.promised += now.promised - start.promised;
                cell.came += now.came - start.came;
                if cell.promised > MEMORY {
                    (cell.promised, cell.came) = (cell.promised / 2.0, cell.came / 2.0);
                }
            }
            cells
        });
    }
}

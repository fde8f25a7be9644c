//! How often were tokens right that were drafted like this one?
//!
//! Counters for each (source, length of the context, depth in the draft): what was promised, the sum of the probabilities of
//! whole paths, and what came, the number accepted. The ratio, held near one until there is evidence, corrects later
//! promises of the same kind. Whole paths, not steps: a step is judged only behind right ones, where the text is easy, and
//! ratios of steps, taken there, would multiply along paths that are wrong already.
//!
//! The same counters, two for each kind of context, say how far contexts are to be trusted ([`super::trust`]).
//!
//! Streams start from what all ended ones saw and add what they saw themselves when they end, so nothing is locked.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::{DraftError, DraftErrorKind};
use super::source::{ContextKind, N_KINDS};

/// Sources that are told apart; later ones share the last place.
const N_SOURCES: usize = 12;
/// Contexts of this length and longer are one kind.
const N_LENGTHS: usize = 17;
/// Nodes of this depth and deeper are one kind.
const N_DEPTHS: usize = 4;
/// The counters of a source, by length: those of paths by depth, then two for each kind of context.
const PER_LENGTH: usize = N_DEPTHS + 2 * N_KINDS;
/// Promises that are taken on trust.
const PRIOR: f32 = 300.0;
/// So many promises of all ended streams count, ...
const MEMORY: f32 = 4000.0;
/// ... and so many times that a context was asked: how far it is to be trusted differs from text to text.
const CONTEXT_MEMORY: f32 = 20.0;

/// Which counter.
pub(super) type Cell = u16;

/// What was promised and what came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counter {
    promised: f32,
    came: f32,
}

impl Counter {
    /// What came of what was promised, nearly one until more than `prior` was promised.
    pub(super) fn ratio(self, prior: f32) -> f32 {
        (self.came + prior) / (self.promised + prior)
    }

    pub(super) fn add(&mut self, promised: f32, came: f32) {
        self.promised += promised;
        self.came += came;
    }

    /// Of counters that count the same cases, only `limit` cases are kept, in the same ratios.
    fn fade(together: &mut [Counter], limit: f32) {
        let n_cases: f32 = together.iter().map(|counter| counter.promised).sum();
        let kept = limit / n_cases.max(limit);
        for counter in together {
            (counter.promised, counter.came) = (counter.promised * kept, counter.came * kept);
        }
    }
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
    first_cell(source, n_tokens) + depth.min(N_DEPTHS as u32 - 1) as Cell
}

/// The first of the two counters of a kind of context.
pub(super) fn context_cell(source: u8, n_tokens: u32, kind: ContextKind) -> Cell {
    first_cell(source, n_tokens) + (N_DEPTHS + 2 * kind as usize) as Cell
}

fn first_cell(source: u8, n_tokens: u32) -> Cell {
    let source = usize::from(source).min(N_SOURCES - 1);
    let length = (n_tokens as usize).min(N_LENGTHS - 1);
    ((source * N_LENGTHS + length) * PER_LENGTH) as Cell
}

impl Calibration {
    /// Nothing is known of `n_sources` yet.
    pub(super) fn new(n_sources: usize) -> Self {
        let cells = vec![Counter::default(); n_sources.min(N_SOURCES) * N_LENGTHS * PER_LENGTH];
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
        prob * self.counter(cell).ratio(PRIOR)
    }

    /// A path that was promised with `prob` before correction came, or another one did.
    pub(super) fn learn(&mut self, cell: Cell, prob: f32, came: bool) {
        self.counter_mut(cell).add(prob, f32::from(u8::from(came)));
    }

    pub(super) fn counter(&self, cell: Cell) -> Counter {
        self.now[usize::from(cell)]
    }

    pub(super) fn counter_mut(&mut self, cell: Cell) -> &mut Counter {
        &mut Arc::make_mut(&mut self.now)[usize::from(cell)]
    }

    /// Adds what this stream saw to what all see.
    pub(super) fn share(self) {
        if Arc::ptr_eq(&self.now, &self.start) {
            return;
        }
        self.shared.cells.rcu(|cells| {
            let mut cells = Vec::clone(cells);
            for (cell, (now, start)) in cells.iter_mut().zip(self.now.iter().zip(&*self.start)) {
                cell.add(now.promised - start.promised, now.came - start.came);
            }
            for of_length in cells.chunks_exact_mut(PER_LENGTH) {
                let (paths, contexts) = of_length.split_at_mut(N_DEPTHS);
                paths.chunks_exact_mut(1).for_each(|path| Counter::fade(path, MEMORY));
                contexts.chunks_exact_mut(2).for_each(|both| Counter::fade(both, CONTEXT_MEMORY));
            }
            cells
        });
    }
}

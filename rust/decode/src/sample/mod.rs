//! How is the next token drawn from a row of logits?
//!
//! Work out which logits the text changes (`adjust`), read the row once (`row`), find the tokens that the rules keep
//! (`keep`, in the order of `order`), let them race (`race`) with waiting times that belong to (seed, position, token)
//! (`noise`). The arithmetic has the same bits on every machine and on the GPU (`math`), and nothing depends on the
//! other rows of a batch. `shape` and `adjust` are what a kernel gets in place of [`Params`].
//!
//! Linear in the row for every rule and every input.

mod adjust;
mod combine;
mod finishers;
mod forbid;
mod keep;
mod mass;
pub(crate) mod math;
mod mixture;
pub(crate) mod noise;
mod order;
mod params;
mod race;
mod repeats;
mod row;
mod rows;
mod several;
mod shape;
mod stats;
mod weighted;

pub use adjust::{Adjust, History, adjustments};
pub use combine::{Contrast, cap, contrast, guide};
pub use finishers::{Finisher, RaceOrder};
pub use forbid::{Word, forbid};
pub use mixture::fill_mixture;
pub use order::{Op, Order};
pub use params::{Lists, Params, ParamsError, Phrase};
pub use row::{Logits, Status};
pub use rows::{Rows, RowsError, RowsErrorKind, Texts};
pub use several::{Child, Distinct, Node, beam_step};
pub use shape::Shape;
pub use stats::{LogitStats, N_QUANTILES, QUANTILES, Report, Wanted};
pub use weighted::WeightedRace;

use crate::rng::{Purpose, Rng};
use keep::Kept;
use row::{Row, RowBuffers};
use stats::Look;

/// The widest row that can be drawn from.
pub const MAX_VOCAB: usize = math::MAX_VOCAB;

/// What a row is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// At most [`MAX_VOCAB`].
    pub logits: Logits<'a>,
    /// Bit `t % 32` of word `t / 32` allows token `t`; `None` allows all.
    pub mask: Option<&'a [u32]>,
    /// The rules.
    pub params: &'a Params,
    /// The text so far.
    pub history: History<'a>,
    /// The state of mirostat, in bits; NaN for a text that begins.
    pub mu: f32,
}

impl Source<'_> {
    /// Is the row drawn from as the model gave it?
    fn is_plain(&self) -> bool {
        self.mask.is_none() && self.params.lists.allowed.is_empty() && !self.params.changes_logits()
    }

    fn mu(&self) -> f32 {
        if self.mu.is_nan() { 2.0 * self.params.mirostat_tau as f32 } else { self.mu }
    }
}

/// A drawn token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// The token.
    pub token: u32,
    /// The natural logarithm of the probability with which the rules draw it; 0 where the temperature is 0.
    pub log_prob: f32,
    /// How clear the choice was, in nats: the gap between the two earliest arrivals, or between the two best logits where
    /// the temperature is 0; infinite where there was one candidate.
    pub margin: f32,
    /// The state of mirostat after this token; as it was where mirostat is off.
    pub mu: f32,
}

/// Draws rows; keeps the memory of one row between them.
#[derive(Default)]
pub struct Sampler {
    buffers: RowBuffers,
}

impl Sampler {
    /// Draw from a row.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn draw(&mut self, source: Source<'_>, rng: Rng, purpose: Purpose) -> Result<Draw, Status> {
        self.with_kept(source, rng, |row, kept| draw(row, kept, source, rng, purpose))
    }

    /// Draw from a row, and tell what it looks like: see [`Report`].
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn report(
        &mut self,
        source: Source<'_>,
        rng: Rng,
        purpose: Purpose,
        wanted: Wanted,
    ) -> Result<Report, Status> {
        let (draw, top, raw) = self.with_kept(source, rng, |row, mut kept| {
            let top = if wanted.processed { kept.top(wanted.n_top) } else { vec![] };
            let draw = draw(row, kept, source, rng, purpose);
            let raw = source.is_plain().then(|| stats::look(row, draw.token, wanted));
            (draw, top, raw)
        })?;
        let Look { stats, raw_log_prob, top: raw_top } =
            raw.unwrap_or_else(|| match self.buffers.read(source.logits, None, &[], &[]) {
                Ok(row) => stats::look(&row, draw.token, wanted),
                Err(_) => Look::UNKNOWN,
            });
        Ok(Report { draw, raw_log_prob, stats, top: if wanted.processed { top } else { raw_top } })
    }

    /// The tokens that the rules keep, in order of id. XTC is decided by the coin of `rng`.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn keep_set(&mut self, source: Source<'_>, rng: Rng) -> Result<Vec<u32>, Status> {
        self.with_kept(source, rng, |_, kept| {
            let mut tokens: Vec<u32> = kept.into_entries().iter().map(|entry| entry.token()).collect();
            tokens.sort_unstable();
            tokens
        })
    }

    /// The distribution that [`Sampler::draw`] draws from: exact probabilities, in f64, of the tokens that the rules keep.
    /// The logits of `source` decide what is kept; `exact` are the same numbers before they were rounded to f32.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from; `probs` is then zero.
    pub fn fill_probs<T: Copy + Into<f64>>(
        &mut self,
        source: Source<'_>,
        rng: Rng,
        exact: &[T],
        probs: &mut [f64],
    ) -> Result<(), Status> {
        probs.fill(0.0);
        let params = source.params;
        let adjusts = adjustments(params, source.history, exact.len());
        let logit = |token: u32| -> f64 {
            let logit = exact[token as usize].into();
            match adjusts.binary_search_by_key(&token, |adjust| adjust.token) {
                Ok(at) => adjusts[at].apply_exactly(logit),
                Err(_) => logit,
            }
        };
        self.with_kept(source, rng, |_, kept| {
            let rounded = kept.scale.temperature;
            let is_fixed = rounded == params.temperature as f32;
            let temperature = if is_fixed { params.temperature } else { f64::from(rounded) };
            let tokens: Vec<u32> = kept.into_entries().iter().map(|entry| entry.token()).collect();
            let max = tokens.iter().map(|&token| logit(token)).fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            for &token in &tokens {
                let weight = ((logit(token) - max) / temperature).exp();
                probs[token as usize] = weight;
                total += weight;
            }
            tokens.iter().for_each(|&token| probs[token as usize] /= total);
        })
    }

    /// The logits that are left: adjusted and divided by the temperature, `-inf` for what the rules remove. The best token
    /// of a temperature of zero has a logit of 0.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from; `processed` is then NaN.
    pub fn fill_processed(
        &mut self,
        source: Source<'_>,
        rng: Rng,
        processed: &mut [f32],
    ) -> Result<(), Status> {
        processed.fill(f32::NAN);
        self.with_kept(source, rng, |_, kept| {
            processed.fill(f32::NEG_INFINITY);
            let (temperature, is_greedy) = (kept.scale.temperature, kept.greedy_margin.is_some());
            for entry in kept.into_entries() {
                processed[entry.token() as usize] = if is_greedy { 0.0 } else { entry.logit() / temperature };
            }
        })
    }

    fn with_kept<R>(
        &mut self,
        source: Source<'_>,
        rng: Rng,
        finish: impl FnOnce(&Row<'_>, Kept<'_, '_>) -> R,
    ) -> Result<R, Status> {
        let Source { logits, mask, params, history, .. } = source;
        let adjusts = adjustments(params, history, logits.len());
        let row = self.buffers.read(logits, mask, &params.lists.allowed, &adjusts)?;
        let shape = Shape::new(params, logits.len());
        let coin = if shape.xtc_cells > 0 { rng.word(0, Purpose::XTC) } else { 0 };
        let kept = Kept::shaped(&row, &shape, coin, source.mu());
        Ok(finish(&row, kept))
    }
}

fn draw(row: &Row<'_>, kept: Kept<'_, '_>, source: Source<'_>, rng: Rng, purpose: Purpose) -> Draw {
    let (token, log_prob, margin) = if let Some(margin) = kept.greedy_margin {
        (kept.into_entries().first().map_or(0, |entry| entry.token()), 0.0, margin)
    } else {
        let finish = race::race(row, &kept, rng, purpose);
        let log_weight = kept.scale.log_weight(row.reader.logit(finish.token));
        (finish.token, log_weight - math::ln_mass(finish.total_mass), finish.margin())
    };
    let (params, mut mu) = (source.params, source.mu());
    if params.mirostat > 0 {
        let surprise_bits = -log_prob * std::f32::consts::LOG2_E;
        mu -= params.mirostat_eta as f32 * (surprise_bits - params.mirostat_tau as f32);
    }
    Draw { token, log_prob, margin, mu }
}

/// The waiting times of tokens `0 .. n_tokens`, for the equality test of the kernel and for looking at a race.
pub fn waiting_times(rng: Rng, purpose: Purpose, n_tokens: usize) -> Vec<f32> {
    let mut waits = vec![0.0; n_tokens];
    noise::fill_all_waits(&rng, purpose, &mut waits);
    waits
}

//! How is the next token drawn from a row of logits?
//!
//! Read the row once (`row`), find the tokens that the rules keep (`keep`), let them race (`race`) with waiting times
//! that belong to (seed, position, token) (`noise`). The arithmetic has the same bits on every machine and on the GPU
//! (`math`), and nothing depends on the other rows of a batch.
//!
//! Linear in the row for every rule and every input. Not here: penalties and biases, which change logits; other orders of
//! the rules.

mod arrivals;
mod keep;
mod math;
mod noise;
mod params;
mod race;
mod row;
mod rows;
mod weighted;

pub use arrivals::{Arrival, Arrivals, LogProb};
pub use params::{Params, ParamsError};
pub use row::Status;
pub use rows::{Rows, RowsError, RowsErrorKind};
pub use weighted::WeightedRace;

use crate::rng::{Purpose, Rng};
use keep::{Kept, Scale};
use row::{Row, RowBuffers};

/// The widest row that can be drawn from.
pub const MAX_VOCAB: usize = math::MAX_VOCAB;

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
}

/// Draws rows; keeps the memory of one row between them.
#[derive(Default)]
pub struct Sampler {
    buffers: RowBuffers,
}

impl Sampler {
    /// Draw from a row of at most [`MAX_VOCAB`] logits. Bit `t % 32` of `mask[t / 32]` allows token `t`.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn draw(
        &mut self,
        logits: &[f32],
        mask: Option<&[u32]>,
        params: &Params,
        rng: Rng,
        purpose: Purpose,
    ) -> Result<Draw, Status> {
        let row = self.buffers.read(logits, mask)?;
        if params.is_greedy() {
            let token = row.best();
            return Ok(Draw { token, log_prob: 0.0, margin: row.max - row.runner_up(token) });
        }
        let scale = scale(&row, params);
        let kept = Kept::new(&row, scale, params);
        let finish = race::race(&row, &kept, scale, rng, purpose);
        let log_weight = scale.log_weight(row.logits[finish.token as usize]);
        Ok(Draw {
            token: finish.token,
            log_prob: log_weight - math::ln_mass(finish.total_mass),
            margin: finish.margin(),
        })
    }

    /// The tokens that the rules keep, in order of id.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from.
    pub fn keep_set(
        &mut self,
        logits: &[f32],
        mask: Option<&[u32]>,
        params: &Params,
    ) -> Result<Vec<u32>, Status> {
        let row = self.buffers.read(logits, mask)?;
        if params.is_greedy() {
            return Ok(vec![row.best()]);
        }
        let entries = Kept::new(&row, scale(&row, params), params).into_entries(&row, f32::NEG_INFINITY);
        let mut tokens: Vec<u32> = entries.iter().map(|entry| entry.token()).collect();
        tokens.sort_unstable();
        Ok(tokens)
    }

    /// The distribution that [`Sampler::draw`] draws from: exact probabilities, in f64, of the tokens that the rules keep.
    /// `logits` decide what is kept; `exact` are the same numbers before they were rounded to f32, if they were.
    ///
    /// # Errors
    /// The [`Status`] of a row that cannot be drawn from; `probs` is then zero.
    pub fn fill_probs<T: Copy + Into<f64>>(
        &mut self,
        logits: &[f32],
        exact: &[T],
        mask: Option<&[u32]>,
        params: &Params,
        probs: &mut [f64],
    ) -> Result<(), Status> {
        probs.fill(0.0);
        let tokens = self.keep_set(logits, mask, params)?;
        let logit = |token: u32| -> f64 { exact[token as usize].into() };
        let max = tokens.iter().map(|&token| logit(token)).fold(f64::NEG_INFINITY, f64::max);
        // A greedy row has one token, whose probability is 1 at any temperature.
        let temperature = if params.is_greedy() { 1.0 } else { params.temperature };
        let mut total = 0.0;
        for &token in &tokens {
            let weight = ((logit(token) - max) / temperature).exp();
            probs[token as usize] = weight;
            total += weight;
        }
        tokens.iter().for_each(|&token| probs[token as usize] /= total);
        Ok(())
    }
}

fn scale(row: &Row<'_>, params: &Params) -> Scale {
    Scale { max: row.max, temperature: params.temperature as f32 }
}

/// The waiting times of tokens `0 .. n_tokens`, for the equality test of the kernel and for looking at a race.
pub fn waiting_times(rng: Rng, purpose: Purpose, n_tokens: usize) -> Vec<f32> {
    let mut waits = vec![0.0; n_tokens];
    noise::fill_all_waits(&rng, purpose, &mut waits);
    waits
}

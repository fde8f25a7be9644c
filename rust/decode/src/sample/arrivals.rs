//! Which tokens arrive after the first, and how much mass is still under way?
//!
//! The order of arrival in the race is a draw without replacement. A caller that rejects tokens needs the next few, not
//! all: one pass finds the `ROUNDS[0]` earliest, a threshold on the key keeps everything else out without a division,
//! and only when they are used up another pass finds more. Every pass sees the tokens that are left alone, scaled by
//! the best of them, so the masses keep their precision however much was taken before, and a token 1000 nats below the
//! best still has its turn. After the last round the rest is sorted.
//!
//! Cost: one read of the row for the first tokens, O(V log V) for all of them, whatever the probabilities are.

use super::noise::{CHUNK, fill_waits, wait};
use crate::dist::{DistError, DistErrorKind};
use crate::rng::{Purpose, Rng};
use crate::wide::wide;

/// How many tokens each pass finds; the pass after the last finds all.
const ROUNDS: [usize; 3] = [64, 256, 1024];
/// A round ends before what is left of its mass drowns in the rounding of its sum.
const PRECISE_SHARE: f64 = 1e-3;
const LANES: usize = 8;

/// A token in the order of the race.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// The token.
    pub token: u32,
    /// The logarithm of its mass.
    pub log_mass: f64,
    /// The logarithm of its mass and that of all tokens behind it.
    pub log_rest: f64,
}

/// A number that a row can be made of.
pub trait LogProb: Copy + Into<f64> + Sync {
    #[doc(hidden)]
    fn select(row: &[Self], max: f64, rng: &Rng, purpose: Purpose, selection: &mut Selection<'_>);
}

/// The tokens of a row of natural log-probabilities, which need not be normalised, in the order of the race.
pub struct Arrivals<'a, T> {
    row: &'a [T],
    rng: Rng,
    purpose: Purpose,
    /// Tokens that were found, ascending.
    seen: Vec<u32>,
    /// Found and not yet taken, the earliest last.
    queue: Vec<Arrival>,
    n_rounds: usize,
}

impl<'a, T: LogProb> Arrivals<'a, T> {
    /// Checks the row; nothing is drawn yet.
    ///
    /// # Errors
    /// [`DistError`] for NaN or `+inf`, and where every entry is `-inf`.
    pub fn new(row: &'a [T], rng: Rng, purpose: Purpose) -> Result<Self, DistError> {
        let is_bad = |value: &T| {
            let value: f64 = (*value).into();
            value.is_nan() | (value == f64::INFINITY)
        };
        // A fold without early exit runs in vectors; the culprit is looked for only when there is one.
        if row.iter().fold(false, |bad, value| bad | is_bad(value)) {
            let token = row.iter().position(is_bad).unwrap_or(0);
            return Err(DistErrorKind::NotFinite { row: 0, token, value: row[token].into() }.into());
        }
        let arrivals = Self { row, rng, purpose, seen: Vec::new(), queue: Vec::new(), n_rounds: 0 };
        match arrivals.best_left() > f64::NEG_INFINITY {
            true => Ok(arrivals),
            false => Err(DistErrorKind::NoMass { row: 0, n_tokens: row.len() }.into()),
        }
    }

    /// The best log-probability among the tokens that were not found yet.
    fn best_left(&self) -> f64 {
        let mut start = 0;
        let mut max = f64::NEG_INFINITY;
        for end in self.seen.iter().map(|&token| token as usize).chain([self.row.len()]) {
            max = max_of(&self.row[start..end]).max(max);
            start = end + 1;
        }
        max
    }

    fn refill(&mut self) {
        let max = self.best_left();
        if max == f64::NEG_INFINITY {
            return;
        }
        match ROUNDS.get(self.n_rounds) {
            Some(&n_keep) => self.select(max, n_keep),
            None => self.sort_rest(),
        }
        self.n_rounds += 1;
        self.seen.extend(self.queue.iter().map(|arrival| arrival.token));
        self.seen.sort_unstable();
        self.queue.reverse();
    }

    fn select(&mut self, max: f64, n_keep: usize) {
        let mut selection = Selection::new(n_keep, &self.seen);
        T::select(self.row, max, &self.rng, self.purpose, &mut selection);
        let Selection { mut entries, total, .. } = selection;
        entries.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        entries.truncate(n_keep);
        let mut rest = total;
        for (_, token, weight) in entries {
            if rest < total * PRECISE_SHARE && !self.queue.is_empty() {
                return;
            }
            let log_rest = max + rest.max(weight).ln();
            self.queue.push(Arrival { token, log_mass: max + weight.ln(), log_rest });
            rest -= weight;
        }
    }

    fn sort_rest(&mut self) {
        let row = self.row.iter().map(|&log_prob| Into::<f64>::into(log_prob));
        let mut keys: Vec<(f64, u32)> = (0u32..)
            .zip(row)
            .filter(|&(token, log_prob)| {
                log_prob > f64::NEG_INFINITY && self.seen.binary_search(&token).is_err()
            })
            .map(|(token, log_prob)| (f64::from(wait(&self.rng, token, self.purpose)).ln() - log_prob, token))
            .collect();
        keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut log_rest = f64::NEG_INFINITY;
        for &(_, token) in keys.iter().rev() {
            let log_mass = self.row[token as usize].into();
            log_rest = log_add(log_rest, log_mass);
            self.queue.push(Arrival { token, log_mass, log_rest });
        }
        self.queue.reverse();
    }
}

impl<T: LogProb> Iterator for Arrivals<'_, T> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        if self.queue.is_empty() {
            self.refill();
        }
        self.queue.pop()
    }
}

/// `ln(e^a + e^b)`.
fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

fn max_of<T: LogProb>(row: &[T]) -> f64 {
    let mut lanes = [f64::NEG_INFINITY; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            let value = value.into();
            *lane = if value > *lane { value } else { *lane };
        }
    }
    tail.iter().map(|&value| value.into()).chain(lanes).fold(f64::NEG_INFINITY, f64::max)
}

/// The earliest arrivals so far, and the mass of everything seen.
#[doc(hidden)]
pub struct Selection<'a> {
    n_keep: usize,
    /// Tokens that do not take part, ascending.
    seen: &'a [u32],
    /// `(key, token, weight)`: all that came before `bound`.
    entries: Vec<(f64, u32, f64)>,
    bound: f64,
    total: f64,
}

impl<'a> Selection<'a> {
    fn new(n_keep: usize, seen: &'a [u32]) -> Self {
        Self { n_keep, seen, entries: Vec::with_capacity(2 * n_keep), bound: f64::INFINITY, total: 0.0 }
    }

    fn push(&mut self, key: f64, token: u32, weight: f64) {
        self.entries.push((key, token, weight));
        if self.entries.len() == 2 * self.n_keep {
            self.entries
                .select_nth_unstable_by(self.n_keep - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            self.entries.truncate(self.n_keep);
            self.bound = self.entries[self.n_keep - 1].0;
        }
    }
}

#[inline(always)]
fn select_row<T: Copy + Into<f64>>(
    row: &[T],
    max: f64,
    rng: &Rng,
    purpose: Purpose,
    selection: &mut Selection<'_>,
) {
    let mut waits = [0f32; CHUNK];
    let mut weights = [0f64; CHUNK];
    let mut totals = [0f64; LANES];
    for (n_chunk, chunk) in row.chunks(CHUNK).enumerate() {
        let first = n_chunk * CHUNK;
        for (weight, &log_prob) in weights.iter_mut().zip(chunk) {
            *weight = exp_negative(log_prob.into() - max);
        }
        weights[chunk.len()..].fill(0.0);
        while let [token, rest @ ..] = selection.seen
            && (*token as usize) < first + CHUNK
        {
            weights[*token as usize - first] = 0.0;
            selection.seen = rest;
        }
        fill_waits(rng, first as u32, purpose, &mut waits);
        let mut is_early = false;
        for step in (0..CHUNK).step_by(LANES) {
            for lane in 0..LANES {
                let (wait, weight) = (f64::from(waits[step + lane]), weights[step + lane]);
                totals[lane] += weight;
                is_early |= wait <= selection.bound * weight;
            }
        }
        if is_early {
            for (offset, (&wait, &weight)) in waits.iter().zip(&weights).enumerate() {
                if f64::from(wait) <= selection.bound * weight {
                    selection.push(f64::from(wait) / weight, (first + offset) as u32, weight);
                }
            }
        }
    }
    selection.total = totals.iter().sum();
}

wide! {
    fn select_f32(row: &[f32], max: f64, rng: &Rng, purpose: Purpose, selection: &mut Selection<'_>) {
        select_row(row, max, rng, purpose, selection);
    }
}

wide! {
    fn select_f64(row: &[f64], max: f64, rng: &Rng, purpose: Purpose, selection: &mut Selection<'_>) {
        select_row(row, max, rng, purpose, selection);
    }
}

impl LogProb for f32 {
    fn select(row: &[Self], max: f64, rng: &Rng, purpose: Purpose, selection: &mut Selection<'_>) {
        select_f32(row, max, rng, purpose, selection);
    }
}

impl LogProb for f64 {
    fn select(row: &[Self], max: f64, rng: &Rng, purpose: Purpose, selection: &mut Selection<'_>) {
        select_f64(row, max, rng, purpose, selection);
    }
}

/// `e^x` for `x <= 0` in f64, relative error below 4e-16; zero below -708. A loop over it runs in vectors, unlike one
/// over the C library's.
#[inline(always)]
fn exp_negative(x: f64) -> f64 {
    /// Added and subtracted, it rounds an f64 below 2^51 to an integer.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x.max(-709.0) * std::f64::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x.max(-709.0) - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = 1.0 / 6_227_020_800.0;
    for coefficient in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits());
    let scaled = f64::from_bits(sum.to_bits().wrapping_add(exponent << 52));
    if x >= -708.0 { scaled } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_the_last_places() {
        for step in 0..=708_000u32 {
            let x = -f64::from(step) * 1e-3;
            assert!((exp_negative(x) / x.exp() - 1.0).abs() < 4e-16, "{x}");
        }
        assert_eq!(exp_negative(-709.5), 0.0);
        assert_eq!(exp_negative(f64::NEG_INFINITY), 0.0);
    }

    /// Widths around the chunk and every round, ties, gaps and a span of a thousand nats.
    #[test]
    fn all_tokens_arrive_once_in_the_order_of_their_keys() {
        for n_vocab in [1usize, 63, 64, 65, 300, 1500, 3000] {
            let row: Vec<f64> = (0..n_vocab)
                .map(|token| match token % 7 {
                    0 => f64::NEG_INFINITY,
                    1 => -1000.0,
                    2 => -40.0,
                    _ => -((token * 7919 % 1000) as f64) * 0.01,
                })
                .collect();
            let rng = Rng::new(n_vocab as u64, 5);
            let Ok(arrivals) = Arrivals::new(&row, rng, Purpose::SAMPLE) else {
                assert_eq!(n_vocab, 1);
                continue;
            };
            let arrivals: Vec<Arrival> = arrivals.collect();
            let key = |token: u32| f64::from(wait(&rng, token, Purpose::SAMPLE)).ln() - row[token as usize];
            let mut expected: Vec<u32> =
                (0..n_vocab as u32).filter(|&token| row[token as usize] > f64::NEG_INFINITY).collect();
            expected.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
            assert_eq!(arrivals.iter().map(|arrival| arrival.token).collect::<Vec<_>>(), expected);
            let mut log_rest = f64::NEG_INFINITY;
            for arrival in arrivals.iter().rev() {
                let log_mass = row[arrival.token as usize];
                log_rest = log_add(log_rest, log_mass);
                assert!((arrival.log_mass - log_mass).abs() < 1e-12);
                assert!((arrival.log_rest - log_rest).abs() < 1e-11, "{arrival:?} {log_rest}");
            }
        }
    }

    #[test]
    fn single_precision_rows_arrive_alike() {
        let wide: Vec<f64> = (0..5000).map(|token| f64::from((token as f32 * 0.37).sin() * 6.0)).collect();
        let narrow: Vec<f32> = wide.iter().map(|&value| value as f32).collect();
        let rng = Rng::new(1, 2);
        let first: Vec<Arrival> = Arrivals::new(&wide, rng, Purpose::SAMPLE).unwrap().take(80).collect();
        assert_eq!(first, Arrivals::new(&narrow, rng, Purpose::SAMPLE).unwrap().take(80).collect::<Vec<_>>());
    }
}

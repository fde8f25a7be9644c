//! How much mass, entropy and spread is in a row?
//!
//! Sums over all tokens that may be drawn, in integers (`math::mass`), so that no sum depends on its order. A block whose
//! best token has no mass adds nothing and is not read. One pass each.

use super::keep::{Entry, Scale};
use super::math::{exp_negative, mass};
use super::row::{BLOCK, Row, reaching};
use crate::wide::wide;

/// Lanes of the loops over a whole row.
pub(super) const LANES: usize = 16;
/// Below this log-weight a mass is zero (2^-42 is `e^-29.11`).
const NO_MASS: f32 = -29.2;
/// Below this log-weight the product of weight and squared log-weight has no mass either.
const NO_SURPRISE: f32 = -37.0;

/// Sums of masses, in two parts that vector units can add: `mass = high 2^22 + low`, where `high` is the nearest multiple
/// of 2^-20 and `low`, which may be below zero, is rounded down.
#[derive(Default, Clone, Copy)]
pub(super) struct MassLanes {
    /// Sums of the bits of `high + 2^23`, which is `high` in the low bits of an f32.
    high: [u32; LANES],
    /// Sums of the bits of `low + 1.5 2^23`.
    low: [u32; LANES],
    /// Additions to each lane.
    n_steps: u32,
}

impl MassLanes {
    /// Additions to a lane after which the sums must be drained: each low part is at most 2^21 from zero.
    pub(super) const MAX_STEPS: usize = 1 << 9;
    /// The same in blocks.
    pub(super) const MAX_BLOCKS: usize = Self::MAX_STEPS / (BLOCK / LANES);

    /// Add a weight to each lane. Exact but for the rounding of `low`: scaling by powers of two, and what is left of a number
    /// after its nearest integer. Rust's own conversion looks for values that do not fit, which vector units cannot do.
    #[inline(always)]
    pub(super) fn add(&mut self, weights: &[f32; LANES]) {
        self.n_steps += 1;
        for (lane, &weight) in weights.iter().enumerate() {
            let scaled = weight * 1_048_576.0;
            let shifted = scaled + HIGH_SHIFT;
            let low = (scaled - (shifted - HIGH_SHIFT)) * 4_194_304.0;
            let shifted_low = low + LOW_SHIFT;
            let is_above = shifted_low - LOW_SHIFT > low;
            self.high[lane] = self.high[lane].wrapping_add(shifted.to_bits());
            self.low[lane] =
                self.low[lane].wrapping_add(shifted_low.to_bits()).wrapping_sub(u32::from(is_above));
        }
    }

    #[inline(always)]
    pub(super) fn drain(&mut self) -> u64 {
        let of_shift = |shift: f32| shift.to_bits().wrapping_mul(self.n_steps);
        let (of_high, of_low) = (of_shift(HIGH_SHIFT), of_shift(LOW_SHIFT));
        let high: u64 = self.high.iter().map(|&lane| u64::from(lane.wrapping_sub(of_high))).sum();
        let low: i64 = self.low.iter().map(|&lane| i64::from(lane.wrapping_sub(of_low) as i32)).sum();
        *self = Self::default();
        (high << 22).wrapping_add_signed(low)
    }
}

/// Added, it leaves the nearest integer of an f32 between 0 and 2^23 in its low bits.
const HIGH_SHIFT: f32 = 8_388_608.0;
/// The same for numbers between -2^22 and 2^22.
const LOW_SHIFT: f32 = 12_582_912.0;

/// Sums over the tokens of a distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moments {
    /// Of the weights.
    pub(super) total: u64,
    /// Of weight times surprise, both relative to the best token.
    pub(super) surprise: u64,
    /// Of weight times squared surprise.
    pub(super) surprise_squares: u64,
    /// Of the squared weights.
    pub(super) squares: u64,
}

impl Moments {
    #[inline(always)]
    pub(super) fn add(&mut self, log_weight: f32, weight: f32) {
        // At most 1/e and 4/e^2, so both have a mass. The product of zero and infinity is no number.
        let surprise = if weight > 0.0 { weight * -log_weight } else { 0.0 };
        let square = if weight > 0.0 { surprise * -log_weight } else { 0.0 };
        self.total += mass(weight);
        self.surprise += mass(surprise);
        self.surprise_squares += mass(square);
        self.squares += mass(weight * weight);
    }

    /// The mean of the surprise relative to the best token: the entropy without the logarithm of the total.
    pub(super) fn center(&self) -> f32 {
        (self.surprise as f64 / self.total as f64) as f32
    }
}

wide! {
    pub(super) fn total_mass(row: &Row<'_>, scale: Scale) -> u64 {
        let mut buffer = [0.0; BLOCK];
        let mut total = 0;
        let mut lanes = MassLanes::default();
        for (n_block, &max) in row.maxima.iter().enumerate() {
            if scale.log_weight(max) >= NO_MASS {
                for quarter in row.reader.block(n_block, &mut buffer).as_chunks::<LANES>().0 {
                    let mut weights = [0.0; LANES];
                    for (weight, &logit) in weights.iter_mut().zip(quarter) {
                        *weight = scale.weight(logit);
                    }
                    lanes.add(&weights);
                }
            }
            if n_block % MassLanes::MAX_BLOCKS == MassLanes::MAX_BLOCKS - 1 {
                total += lanes.drain();
            }
        }
        total + lanes.drain()
    }
}

wide! {
    /// The mass of all tokens, and those whose logit reaches `bound`, with their masses and in no order.
    pub(super) fn total_and_listed(row: &Row<'_>, scale: Scale, bound: f32) -> (u64, Vec<(Entry, u64)>) {
        let mut buffer = [0.0; BLOCK];
        let (mut total, mut listed) = (0, Vec::with_capacity(row.reader.n_vocab() / 16));
        let mut lanes = MassLanes::default();
        for (n_block, &max) in row.maxima.iter().enumerate() {
            if scale.log_weight(max) >= NO_MASS {
                let block = row.reader.block(n_block, &mut buffer);
                let mut weights = [0.0; BLOCK];
                for (weights, quarter) in weights.as_chunks_mut().0.iter_mut().zip(block.as_chunks::<LANES>().0) {
                    for (weight, &logit) in weights.iter_mut().zip(quarter) {
                        *weight = scale.weight(logit);
                    }
                    lanes.add(weights);
                }
                if max >= bound {
                    for offset in reaching(block, bound) {
                        let token = (n_block * BLOCK + offset) as u32;
                        listed.push((Entry::new(block[offset], token), mass(weights[offset])));
                    }
                }
            }
            if n_block % MassLanes::MAX_BLOCKS == MassLanes::MAX_BLOCKS - 1 {
                total += lanes.drain();
            }
        }
        (total + lanes.drain(), listed)
    }
}

/// About how much mass there is at each log-weight among the tokens that do not reach a ceiling, from every sixteenth
/// block.
pub(super) struct RestEstimate {
    /// Bin `i` is for log-weights between `-(i + 1)` and `-i`, times [`Self::WIDTH`].
    bins: [f32; Self::N_BINS],
}

impl RestEstimate {
    const N_BINS: usize = 512;
    const WIDTH: f32 = 1.0 / 16.0;
    const STRIDE: usize = 16;

    pub(super) fn of(row: &Row<'_>, scale: Scale, ceiling: f32) -> Self {
        let mut bins = [0.0; Self::N_BINS];
        fill_rest(row, scale, ceiling, &mut bins);
        Self { bins }
    }

    /// The log-weight below which there is at most `share` of all mass, where tokens that reach the ceiling have the mass
    /// `above`; `None` where that is true of the ceiling.
    pub(super) fn log_weight_above(&self, share: f32, above: f32) -> Option<f64> {
        let mut left = share * (above + self.bins.iter().sum::<f32>());
        for (n_bin, &weight) in self.bins.iter().enumerate().rev() {
            left -= weight;
            if left < 0.0 {
                return Some(f64::from(-((n_bin + 1) as f32) * Self::WIDTH));
            }
        }
        None
    }
}

wide! {
    fn fill_rest(row: &Row<'_>, scale: Scale, ceiling: f32, bins: &mut [f32; RestEstimate::N_BINS]) {
        let mut buffer = [0.0; BLOCK];
        for n_block in (0..row.maxima.len()).step_by(RestEstimate::STRIDE) {
            let block = row.reader.block(n_block, &mut buffer);
            let (mut weights, mut places) = ([0.0; BLOCK], [0i32; BLOCK]);
            for (offset, &logit) in block.iter().enumerate() {
                let log_weight = scale.log_weight(logit).max(-(RestEstimate::N_BINS as f32) * RestEstimate::WIDTH);
                let weight = exp_negative(log_weight) * RestEstimate::STRIDE as f32;
                weights[offset] = if logit < ceiling { weight } else { 0.0 };
                places[offset] = (-log_weight / RestEstimate::WIDTH) as i32;
            }
            for (&place, weight) in places.iter().zip(weights) {
                bins[(place as usize).min(RestEstimate::N_BINS - 1)] += weight;
            }
        }
    }
}

wide! {
    pub(super) fn moments(row: &Row<'_>, scale: Scale) -> Moments {
        let mut buffer = [0.0; BLOCK];
        let mut sums = Moments::default();
        let (mut totals, mut surprises) = (MassLanes::default(), MassLanes::default());
        let (mut surprise_squares, mut squares) = (MassLanes::default(), MassLanes::default());
        for (n_block, &max) in row.maxima.iter().enumerate() {
            if scale.log_weight(max) >= NO_SURPRISE {
                for quarter in row.reader.block(n_block, &mut buffer).as_chunks::<LANES>().0 {
                    let (mut weights, mut weight_squares) = ([0.0; LANES], [0.0; LANES]);
                    let (mut firsts, mut seconds) = ([0.0; LANES], [0.0; LANES]);
                    for lane in 0..LANES {
                        let weight = scale.weight(quarter[lane]);
                        weights[lane] = weight;
                        weight_squares[lane] = weight * weight;
                        let surprise = if weight > 0.0 { -scale.log_weight(quarter[lane]) } else { 0.0 };
                        firsts[lane] = weight * surprise;
                        seconds[lane] = weight * surprise * surprise;
                    }
                    totals.add(&weights);
                    surprises.add(&firsts);
                    surprise_squares.add(&seconds);
                    squares.add(&weight_squares);
                }
            }
            if n_block % MassLanes::MAX_BLOCKS == MassLanes::MAX_BLOCKS - 1 {
                sums.total += totals.drain();
                sums.surprise += surprises.drain();
                sums.surprise_squares += surprise_squares.drain();
                sums.squares += squares.drain();
            }
        }
        sums.total += totals.drain();
        sums.surprise += surprises.drain();
        sums.surprise_squares += surprise_squares.drain();
        sums.squares += squares.drain();
        sums
    }
}

wide! {
    /// How many logits are above `-inf`, and the least of them.
    pub(super) fn count_and_min(row: &Row<'_>) -> (u64, f32) {
        let mut buffer = [0.0; BLOCK];
        let mut counts = [0u32; LANES];
        let mut least = [f32::INFINITY; LANES];
        for (n_block, &max) in row.maxima.iter().enumerate() {
            if max > f32::NEG_INFINITY {
                for quarter in row.reader.block(n_block, &mut buffer).as_chunks::<LANES>().0 {
                    for (lane, &logit) in quarter.iter().enumerate() {
                        let is_finite = logit > f32::NEG_INFINITY;
                        counts[lane] += u32::from(is_finite);
                        least[lane] = if is_finite && logit < least[lane] { logit } else { least[lane] };
                    }
                }
            }
        }
        (counts.iter().map(|&count| u64::from(count)).sum(), least.iter().fold(f32::INFINITY, |a, &b| a.min(b)))
    }
}

wide! {
    /// The sums of `x` and of its square, `x` a [`deviation`] between 0 and 1, over logits above `-inf`.
    pub(super) fn deviations(row: &Row<'_>, max: f32, unit: f32) -> (u64, u64) {
        let mut buffer = [0.0; BLOCK];
        let (mut sum, mut sum_squares) = (0, 0);
        let (mut firsts, mut squares) = (MassLanes::default(), MassLanes::default());
        for (n_block, &block_max) in row.maxima.iter().enumerate() {
            if block_max > f32::NEG_INFINITY {
                for quarter in row.reader.block(n_block, &mut buffer).as_chunks::<LANES>().0 {
                    let (mut deviations, mut deviation_squares) = ([0.0; LANES], [0.0; LANES]);
                    for (lane, &logit) in quarter.iter().enumerate() {
                        let x = if logit > f32::NEG_INFINITY { deviation(logit, max, unit) } else { 0.0 };
                        (deviations[lane], deviation_squares[lane]) = (x, x * x);
                    }
                    firsts.add(&deviations);
                    squares.add(&deviation_squares);
                }
            }
            if n_block % MassLanes::MAX_BLOCKS == MassLanes::MAX_BLOCKS - 1 {
                sum += firsts.drain();
                sum_squares += squares.drain();
            }
        }
        (sum + firsts.drain(), sum_squares + squares.drain())
    }
}

/// Deviations are this much smaller than the differences of logits, which might overflow.
pub(super) const SHRINK: f32 = 0.125;

/// How far a logit lies below `max`, in a unit that the caller chooses.
#[inline(always)]
pub(super) fn deviation(logit: f32, max: f32, unit: f32) -> f32 {
    (max * SHRINK - logit * SHRINK) * unit
}

#[cfg(test)]
mod tests {
    use super::super::row::{Logits, RowBuffers};
    use super::*;

    #[test]
    fn lanes_add_up_to_the_masses() {
        let logits: Vec<f32> = (0..40_007).map(|n| -((n * 7919 % 10_007) as f32) * 6e-3).collect();
        let scale = Scale { max: 0.0, temperature: 0.9 };
        let mut expected = Moments::default();
        for &logit in &logits {
            expected.add(scale.log_weight(logit), scale.weight(logit));
        }
        let mut buffers = RowBuffers::default();
        let row = buffers.read(Logits::F32(&logits), None, &[], &[]).unwrap();
        assert_eq!(moments(&row, scale), expected);
        assert_eq!(total_mass(&row, scale), expected.total);
        assert_eq!(count_and_min(&row), (40_007, -10_006.0 * 6e-3));
        let (sum, sum_squares) = deviations(&row, 0.0, 1.0 / 32.0);
        let x = |logit: &f32| deviation(*logit, 0.0, 1.0 / 32.0);
        assert_eq!(sum, logits.iter().map(|logit| mass(x(logit))).sum::<u64>());
        assert_eq!(sum_squares, logits.iter().map(|logit| mass(x(logit) * x(logit))).sum::<u64>());
    }
}

//! How much mass, entropy and spread is in a row?
//!
//! Sums over all tokens that may be drawn, in integers (`math::mass`), so that no sum depends on its order. A block whose
//! best token has no mass adds nothing and is not read. One pass each.

use super::keep::{Entry, Scale};
use super::math::mass;
use super::row::{BLOCK, Row};
use crate::wide::wide;

/// Lanes of the loops over a whole row.
pub(super) const LANES: usize = 16;
/// Below this log-weight a mass is zero (2^-42 is `e^-29.11`).
const NO_MASS: f32 = -29.2;
/// Below this log-weight the product of weight and squared log-weight has no mass either.
const NO_SURPRISE: f32 = -37.0;

/// Sums of masses, in two halves that vector units can add: `mass = high 2^22 + low`.
#[derive(Default, Clone, Copy)]
pub(super) struct MassLanes {
    pub(super) high: [u32; LANES],
    pub(super) low: [u32; LANES],
}

impl MassLanes {
    /// Additions after which the halves must be drained: the low halves are below 2^22.
    pub(super) const MAX_STEPS: usize = 1 << 10;
    /// The same in blocks.
    pub(super) const MAX_BLOCKS: usize = Self::MAX_STEPS / (BLOCK / LANES);

    /// Returns the whole multiples of 2^-20.
    #[inline(always)]
    pub(super) fn add(&mut self, lane: usize, weight: f32) -> u32 {
        // Exact: scaling by powers of two, and the fraction that truncation leaves.
        let scaled = weight * 1_048_576.0;
        let (high, whole) = floor(scaled);
        let (low, _) = floor((scaled - whole) * 4_194_304.0);
        self.high[lane] += high;
        self.low[lane] += low;
        high
    }

    #[inline(always)]
    pub(super) fn drain(&mut self) -> u64 {
        let sum = |lanes: &[u32; LANES]| lanes.iter().map(|&lane| u64::from(lane)).sum::<u64>();
        let total = (sum(&self.high) << 22) + sum(&self.low);
        *self = Self::default();
        total
    }
}

/// The whole part of a number between 0 and 2^22, twice. Rust's own conversion looks for values that do not fit, which
/// vector units cannot do.
#[inline(always)]
fn floor(x: f32) -> (u32, f32) {
    /// Added, it leaves an f32 below 2^22 the nearest integer in its low bits.
    const ROUNDER: f32 = 8_388_608.0;
    let shifted = x + ROUNDER;
    let nearest = shifted - ROUNDER;
    let is_above = nearest > x;
    let whole = if is_above { nearest - 1.0 } else { nearest };
    ((shifted.to_bits() & 0x007F_FFFF) - u32::from(is_above), whole)
}

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
                    for (lane, &logit) in quarter.iter().enumerate() {
                        lanes.add(lane, scale.weight(logit));
                    }
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
    /// The mass of all tokens, and at least how much of it belongs to those whose logit reaches `bound`.
    pub(super) fn total_and_above(row: &Row<'_>, scale: Scale, bound: f32) -> (u64, u64) {
        let mut buffer = [0.0; BLOCK];
        let (mut total, mut above) = (0, 0);
        let (mut totals, mut aboves) = (MassLanes::default(), [0u32; LANES]);
        for (n_block, &max) in row.maxima.iter().enumerate() {
            if scale.log_weight(max) >= NO_MASS {
                for quarter in row.reader.block(n_block, &mut buffer).as_chunks::<LANES>().0 {
                    for (lane, &logit) in quarter.iter().enumerate() {
                        let high = totals.add(lane, scale.weight(logit));
                        aboves[lane] += if logit >= bound { high } else { 0 };
                    }
                }
            }
            if n_block % MassLanes::MAX_BLOCKS == MassLanes::MAX_BLOCKS - 1 {
                total += totals.drain();
                above += aboves.iter().map(|&high| u64::from(high)).sum::<u64>();
                aboves = [0; LANES];
            }
        }
        above += aboves.iter().map(|&high| u64::from(high)).sum::<u64>();
        (total + totals.drain(), above << 22)
    }
}

wide! {
    /// The logits of every `stride`-th block with their masses.
    pub(super) fn sampled(row: &Row<'_>, scale: Scale, stride: usize) -> Vec<(Entry, u64)> {
        let mut buffer = [0.0; BLOCK];
        let mut seen = Vec::with_capacity(row.maxima.len().div_ceil(stride) * BLOCK);
        for n_block in (0..row.maxima.len()).step_by(stride) {
            for (offset, &logit) in row.reader.block(n_block, &mut buffer).iter().enumerate() {
                seen.push((Entry::new(logit, (n_block * BLOCK + offset) as u32), mass(scale.weight(logit))));
            }
        }
        seen
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
                    for (lane, &logit) in quarter.iter().enumerate() {
                        let weight = scale.weight(logit);
                        let surprise = if weight > 0.0 { -scale.log_weight(logit) } else { 0.0 };
                        totals.add(lane, weight);
                        surprises.add(lane, weight * surprise);
                        surprise_squares.add(lane, weight * surprise * surprise);
                        squares.add(lane, weight * weight);
                    }
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
                    for (lane, &logit) in quarter.iter().enumerate() {
                        let x = if logit > f32::NEG_INFINITY { deviation(logit, max, unit) } else { 0.0 };
                        firsts.add(lane, x);
                        squares.add(lane, x * x);
                    }
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

//! How much mass lies in each part of a row?
//!
//! A row of natural log-probabilities is cut into blocks of [`BLOCK`] tokens. Of each block the best entry and the sum of
//! the weights relative to it are found while it lies in the nearest cache, so the row is read from memory once. Nothing as
//! long as the row is allocated, and a block a thousand nats below another one keeps its precision.
//!
//! Linear in the row. Rows of f64 are summed in f64. Rows of f32 are summed in f32 within a block: an exponential has a
//! relative error below 2e-7 (1 + |x|), x how far the entry lies below the block's best; the mean of |x| over a block's mass
//! is below 4, and the sums of eight and of 32 terms round by 13 units of 2^-24 at most. So a block's mass is right to 2^-18;
//! blocks are joined in f64.

use crate::dist::{DistError, DistErrorKind};
use crate::wide::widest;

/// Tokens of a block; a multiple of 64.
pub(super) const BLOCK: usize = 256;
/// Tokens looked at together: enough that one's latency hides behind the others.
const LANES: usize = 32;

/// A number that a row can be made of.
pub trait LogProb: Copy + Into<f64> + Sync {
    #[doc(hidden)]
    fn fill_blocks(row: &[Self], mask: Option<&[u32]>, blocks: &mut Vec<BlockMass>) -> bool;
}

/// The best entry of a block, and the sum of `e^(entry - best)`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct BlockMass {
    pub(super) best: f64,
    pub(super) log_mass: f64,
}

/// A row that was checked, and the masses of its blocks.
pub struct RowMass<'a, T> {
    row: &'a [T],
    mask: Option<&'a [u32]>,
    pub(super) blocks: Vec<BlockMass>,
}

impl<'a, T: LogProb> RowMass<'a, T> {
    /// Reads the row. Bit `t % 32` of `mask[t / 32]` keeps token `t`; beyond the mask nothing is kept. `index` only names
    /// the row in errors.
    ///
    /// # Errors
    /// [`DistError`] for NaN or `+inf`, and where nothing above `-inf` is kept.
    pub fn new(row: &'a [T], mask: Option<&'a [u32]>, index: usize) -> Result<Self, DistError> {
        let mut blocks = Vec::with_capacity(row.len().div_ceil(BLOCK));
        if T::fill_blocks(row, mask, &mut blocks) {
            let is_bad = |value: f64| value.is_nan() || value == f64::INFINITY;
            let token = row.iter().position(|&value| is_bad(value.into())).unwrap_or(0);
            return Err(DistErrorKind::NotFinite { row: index, token, value: row[token].into() }.into());
        }
        if blocks.iter().all(|block| block.best == f64::NEG_INFINITY) {
            return Err(DistErrorKind::NoMass { row: index, n_tokens: row.len() }.into());
        }
        Ok(Self { row, mask, blocks })
    }

    /// The tokens of a block that can occur, with their log-probabilities.
    pub(super) fn entries(&self, block: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let first = block * BLOCK;
        let values = &self.row[first..self.row.len().min(first + BLOCK)];
        (first as u32..)
            .zip(values)
            .filter(|&(token, _)| self.mask.is_none_or(|mask| is_kept(mask, token)))
            .map(|(token, &value)| (token, value.into()))
            .filter(|&(_, log_prob)| log_prob > f64::NEG_INFINITY)
    }

    /// The log-probability of a token, `-inf` where it cannot occur or is none of the row.
    pub fn log_prob(&self, token: u32) -> f64 {
        let is_out = self.mask.is_some_and(|mask| !is_kept(mask, token));
        match self.row.get(token as usize) {
            Some(&value) if !is_out => value.into(),
            _ => f64::NEG_INFINITY,
        }
    }
}

fn is_kept(mask: &[u32], token: u32) -> bool {
    mask.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// Joins the lanes, halves with halves, as vector units do. Loops, because a closure is not compiled for the vector unit.
macro_rules! fold_halves {
    ($float:ty, $lanes:expr, $a:ident, $b:ident, $join:expr) => {{
        let lanes: [$float; LANES] = $lanes;
        let (mut half, mut quarter) = ([0.0; LANES / 2], [0.0; LANES / 4]);
        for lane in 0..LANES / 2 {
            let ($a, $b) = (lanes[lane], lanes[lane + LANES / 2]);
            half[lane] = $join;
        }
        for lane in 0..LANES / 4 {
            let ($a, $b) = (half[lane], half[lane + LANES / 4]);
            quarter[lane] = $join;
        }
        let mut all = quarter[0];
        for &$b in &quarter[1..] {
            let $a = all;
            all = $join;
        }
        all
    }};
}

/// Fills `blocks`; whether an entry is NaN or `+inf`, kept or not.
macro_rules! fill_blocks {
    ($name:ident, $float:ty, $exp:path) => {
        widest! {
            fn $name(row: &[$float], mask: Option<&[u32]>, blocks: &mut Vec<BlockMass>) -> bool {
                let mut is_bad = false;
                let mut scratch = [<$float>::NEG_INFINITY; BLOCK];
                for (n_block, values) in row.chunks(BLOCK).enumerate() {
                    // The last block is padded, a masked one is copied; others are read in place.
                    let values: &[$float; BLOCK] = if mask.is_none()
                        && let Ok(values) = values.try_into()
                    {
                        values
                    } else {
                        is_bad |= values.iter().any(|value| value.is_nan() | (*value == <$float>::INFINITY));
                        scratch[values.len()..].fill(<$float>::NEG_INFINITY);
                        for (offset, (kept, &value)) in scratch.iter_mut().zip(values).enumerate() {
                            let token = (n_block * BLOCK + offset) as u32;
                            let is_out = mask.is_some_and(|mask| !is_kept(mask, token));
                            *kept = if is_out { <$float>::NEG_INFINITY } else { value };
                        }
                        &scratch
                    };
                    let (steps, _) = values.as_chunks::<LANES>();
                    let mut lanes = [<$float>::NEG_INFINITY; LANES];
                    for step in steps {
                        for lane in 0..LANES {
                            lanes[lane] = if step[lane] > lanes[lane] { step[lane] } else { lanes[lane] };
                        }
                    }
                    let best = fold_halves!($float, lanes, a, b, if a > b { a } else { b });
                    let mut sums = [0.0; LANES];
                    for step in steps {
                        for lane in 0..LANES {
                            sums[lane] += $exp(step[lane] - best);
                        }
                    }
                    let total = fold_halves!($float, sums, a, b, a + b);
                    // NaN and +inf are no maximum or leave no number behind.
                    is_bad |= if best > <$float>::NEG_INFINITY {
                        total.is_nan()
                    } else {
                        values.iter().any(|value| value.is_nan())
                    };
                    let (best, total) = (f64::from(best), f64::from(total));
                    let log_mass = if best > f64::NEG_INFINITY { best + total.ln() } else { best };
                    blocks.push(BlockMass { best, log_mass });
                }
                is_bad
            }
        }
    };
}

fill_blocks!(fill_blocks_f32, f32, exp_short);
fill_blocks!(fill_blocks_f64, f64, exp_long);

impl LogProb for f32 {
    fn fill_blocks(row: &[Self], mask: Option<&[u32]>, blocks: &mut Vec<BlockMass>) -> bool {
        fill_blocks_f32(row, mask, blocks)
    }
}

impl LogProb for f64 {
    fn fill_blocks(row: &[Self], mask: Option<&[u32]>, blocks: &mut Vec<BlockMass>) -> bool {
        fill_blocks_f64(row, mask, blocks)
    }
}

/// `e^x` for `x <= 0` in f32, relative error below 2e-7 (1 + |x|); `e^-87` for all below -87, which is nothing beside the
/// best entry; NaN for NaN. Half as many operations as `sample::math`'s, whose last place counts.
#[inline(always)]
fn exp_short(x: f32) -> f32 {
    /// Added and subtracted, it rounds an f32 below 2^22 to an integer.
    const ROUNDER: f32 = 12_582_912.0;
    /// Near the logarithm of 2, but the best for this polynomial.
    #[allow(clippy::approx_constant)]
    const LINEAR: f32 = 0.693_147;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let f = x.mul_add(std::f32::consts::LOG2_E, ROUNDER - shifted);
    // 2^f, minimax.
    let mut q = 0.001_326_464_5;
    q = f.mul_add(q, 0.009_671_576);
    q = f.mul_add(q, 0.055_507_347);
    q = f.mul_add(q, 0.240_222_41);
    q = f.mul_add(q, LINEAR);
    q = f.mul_add(q, 1.0);
    f32::from_bits(q.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// [`exp_negative`]; NaN for NaN.
#[inline(always)]
fn exp_long(x: f64) -> f64 {
    if x.is_nan() { x } else { exp_negative(x) }
}

/// `e^x` for `x <= 0` in f64, relative error below 4e-16; zero below -708 and for NaN. A loop over it runs in vectors,
/// unlike one over the C library's.
#[inline(always)]
pub(super) fn exp_negative(x: f64) -> f64 {
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
        assert_eq!(exp_negative(f64::NAN), 0.0);
    }

    #[test]
    fn the_short_exp_is_as_close_as_it_says() {
        for step in 0..=870_000u32 {
            let x = -(step as f32) * 1e-4;
            let error = (f64::from(exp_short(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 2e-7 * (1.0 - f64::from(x)), "{x} {error}");
        }
        assert_eq!(exp_short(0.0), 1.0);
        for x in [-88.0, f32::MIN, f32::NEG_INFINITY] {
            assert!((0.0..1.7e-38).contains(&exp_short(x)));
        }
        assert!(exp_short(f32::NAN).is_nan() && exp_long(f64::NAN).is_nan());
    }

    /// The bound of the header, on blocks whose mass lies where it is tightest.
    #[test]
    fn a_block_of_f32_is_right_to_its_bound() {
        for case in 0..400u32 {
            let depth = f64::from(case % 20);
            let row: Vec<f32> = (0..BLOCK as u32)
                .map(|token| match token {
                    7 => -3.0,
                    _ => {
                        (-3.0 - depth - f64::from(token.wrapping_mul(2_654_435_761 + case) >> 22) * 1e-3)
                            as f32
                    }
                })
                .collect();
            let expected = row.iter().map(|&value| f64::from(value).exp()).sum::<f64>().ln();
            let found = RowMass::new(&row, None, 0).unwrap().blocks[0].log_mass;
            assert!((found - expected).abs() < 2f64.powi(-18), "{case} {found} {expected}");
        }
        // A block without mass has none, beside one that has.
        let mut row = vec![f32::NEG_INFINITY; 2 * BLOCK];
        row[BLOCK + 3] = -1e30;
        let found = RowMass::new(&row, None, 0).unwrap();
        assert_eq!(found.blocks[0].log_mass, f64::NEG_INFINITY);
        assert_eq!(found.blocks[1].log_mass, f64::from(-1e30f32));
    }

    #[test]
    fn blocks_add_up_whatever_the_mask() {
        for n_vocab in [1usize, 63, 512, 513, 3000] {
            let wide: Vec<f64> =
                (0..n_vocab).map(|token| (token as f64 * 0.37).sin() * 6.0 - 800.0).collect();
            let narrow: Vec<f32> = wide.iter().map(|&value| value as f32).collect();
            let words: Vec<u32> =
                (0..n_vocab.div_ceil(32) as u32).map(|n| 0x9E37_79B9u32.rotate_left(n)).collect();
            for mask in [None, Some(&words[..])] {
                let kept = |token: &usize| mask.is_none_or(|mask| is_kept(mask, *token as u32));
                let expected =
                    (0..n_vocab).filter(kept).map(|token| (wide[token] + 800.0).exp()).sum::<f64>().ln();
                let total = |blocks: &[BlockMass]| {
                    blocks.iter().map(|block| (block.log_mass + 800.0).exp()).sum::<f64>().ln()
                };
                let found = RowMass::new(&wide, mask, 0).unwrap();
                assert!((total(&found.blocks) - expected).abs() < 1e-12);
                assert!((total(&RowMass::new(&narrow, mask, 0).unwrap().blocks) - expected).abs() < 1e-4);
                let n_entries: usize =
                    (0..found.blocks.len()).map(|block| found.entries(block).count()).sum();
                assert_eq!(n_entries, (0..n_vocab).filter(kept).count());
            }
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for (row, token) in [(vec![0.0, f32::NAN], 1), (vec![f32::INFINITY; 600], 0)] {
            let error = RowMass::new(&row, None, 0).err().unwrap();
            assert!(matches!(error.kind(), DistErrorKind::NotFinite { token: found, .. } if *found == token));
        }
        let mut long = vec![0.0f64; 1024];
        long[700] = f64::NAN;
        assert!(RowMass::new(&long, None, 0).is_err());
        assert!(RowMass::new(&[0.0f64, 1.0], Some(&[0]), 0).is_err());
        // At every place of a whole block and of a part of one, between numbers, beside the best, and in a block of nothing.
        for n_vocab in [BLOCK, BLOCK + 9] {
            for token in 0..n_vocab {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
                    for other in [-1.0, f32::NEG_INFINITY, 3e38] {
                        let mut row = vec![other; n_vocab];
                        row[token] = bad;
                        let wide: Vec<f64> = row.iter().map(|&value| value.into()).collect();
                        assert!(
                            RowMass::new(&row, None, 0).is_err() && RowMass::new(&wide, None, 0).is_err()
                        );
                    }
                }
            }
        }
        assert!(RowMass::<f64>::new(&[], None, 0).is_err());
    }
}

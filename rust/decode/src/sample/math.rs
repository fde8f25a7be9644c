//! Which exponential and logarithm have the same bits on every machine?
//!
//! The C library's and the GPU's differ in the last place, and then two devices disagree on a near tie. These are made of
//! IEEE additions, multiplications and fused multiply-adds alone, in one order, so the kernel in `cuda/math.cuh`
//! (compiled without contraction) and every CPU return the same f32. Minimax polynomials: relative error below 1.5e-7.
//!
//! [`mass`] turns a weight into an integer, because integer sums do not depend on the order of addition: a cut by
//! cumulative probability is then the same at every block size.

/// Added and subtracted, it rounds an f32 below 2^22 to an integer.
const ROUNDER: f32 = 12_582_912.0;
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Below this `exp_negative` is zero; above it the result is a normal number.
pub(super) const EXP_FLOOR: f32 = -87.0;

/// Bits after the point of a [`mass`].
pub(super) const MASS_BITS: i32 = 42;
/// Rows are limited so that the sum of all masses fits 64 bits.
pub(super) const MAX_VOCAB: usize = 1 << (64 - MASS_BITS);

/// `e^x` for `x <= 0`; zero below -87 and for NaN.
#[inline(always)]
pub(crate) fn exp_negative(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-LN_2_HIGH, x);
    let r = n.mul_add(-LN_2_LOW, r);
    let mut q = 0.001_381_446_7;
    q = r.mul_add(q, 0.008_368_781);
    q = r.mul_add(q, 0.041_668_393);
    q = r.mul_add(q, 0.166_665_2);
    q = r.mul_add(q, 0.499_999_94);
    let fraction = (r * r).mul_add(q, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits());
    let scaled = f32::from_bits(fraction.to_bits().wrapping_add(exponent << 23));
    if x >= EXP_FLOOR { scaled } else { 0.0 }
}

/// `ln(1 + r)` for `r` between `sqrt(1/2) - 1` and `sqrt(2) - 1`, to full relative precision near zero.
#[inline(always)]
pub(super) fn ln_1p_reduced(r: f32) -> f32 {
    let mut q = -0.076_221_1;
    q = r.mul_add(q, 0.129_046_92);
    q = r.mul_add(q, -0.132_429_76);
    q = r.mul_add(q, 0.141_817_8);
    q = r.mul_add(q, -0.166_090_77);
    q = r.mul_add(q, 0.200_019_76);
    q = r.mul_add(q, -0.250_015_83);
    q = r.mul_add(q, 0.333_333_25);
    q = r.mul_add(q, -0.499_999_88);
    (r * r).mul_add(q, r)
}

/// Exponent `e` and `r` with `x = 2^e (1 + r)`, `r` in the range of [`ln_1p_reduced`]; `x` positive, normal and finite.
#[inline(always)]
pub(super) fn split_exponent(x: f32) -> (f32, f32) {
    const SQRT_HALF_BITS: u32 = 0x3F35_04F3;
    let exponent = (x.to_bits().wrapping_sub(SQRT_HALF_BITS) as i32) >> 23;
    let fraction = f32::from_bits(x.to_bits().wrapping_sub((exponent as u32) << 23));
    (exponent as f32, fraction - 1.0)
}

/// `ln(x)` for a positive, normal, finite `x`.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    let (exponent, r) = split_exponent(x);
    exponent.mul_add(std::f32::consts::LN_2, ln_1p_reduced(r))
}

/// A weight in [0, 1] as a multiple of 2^-42, rounded down. Exact in every step: scaling by a power of two, truncation.
#[inline(always)]
pub(super) fn mass(weight: f32) -> u64 {
    (weight * 4_398_046_511_104.0) as u64
}

/// `ln` of a sum of masses that holds a whole one.
#[inline(always)]
pub(super) fn ln_mass(total: u64) -> f32 {
    ln(total as f32 * 2.273_736_8e-13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_and_monotone_where_it_matters() {
        assert_eq!(exp_negative(0.0), 1.0);
        assert_eq!(exp_negative(-0.0), 1.0);
        assert_eq!(exp_negative(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_negative(f32::NAN), 0.0);
        assert!(exp_negative(EXP_FLOOR) >= f32::MIN_POSITIVE);
        let mut worst = 0.0f64;
        for step in 0..=1_000_000u32 {
            let x = -(step as f32) * 8.7e-5;
            let (found, expected) = (f64::from(exp_negative(x)), f64::from(x).exp());
            if x >= EXP_FLOOR {
                worst = worst.max((found / expected - 1.0).abs());
            }
        }
        assert!(worst < 1.5e-7, "{worst}");
    }

    #[test]
    fn ln_is_close_even_near_one() {
        let mut worst = 0.0f64;
        for step in 1..=1_000_000u32 {
            let x = step as f32 * 1e-3;
            let expected = f64::from(x).ln();
            worst = worst.max((f64::from(ln(x)) - expected).abs() / expected.abs().max(1.0));
        }
        assert!(worst < 1.5e-7, "{worst}");
        for r in [1e-30f32, -1e-12, 1e-5, -0.29, 0.41] {
            let expected = f64::from(r).ln_1p();
            assert!((f64::from(ln_1p_reduced(r)) / expected - 1.0).abs() < 1.5e-7, "{r}");
        }
    }

    #[test]
    fn masses_are_the_truncated_weights() {
        assert_eq!(mass(1.0), 1 << MASS_BITS);
        assert_eq!(mass(0.3), (f64::from(0.3f32) * (1u64 << MASS_BITS) as f64) as u64);
        assert_eq!(mass(1e-13), 0);
        assert_eq!(ln_mass(1 << MASS_BITS), 0.0);
        assert!((ln_mass(3 << MASS_BITS) - 3f32.ln()).abs() < 1e-6);
    }
}

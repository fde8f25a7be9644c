//! How long does each token wait in the race for the next position?
//!
//! Give every token an exponential waiting time divided by its probability: the first to arrive is a draw from the
//! distribution (the Gumbel-max trick in another coordinate, without the double logarithm). A waiting time is a function
//! of (seed, position, token), so removing tokens does not change the times of the others: the same seed gives the same
//! token under every truncation that keeps it.
//!
//! A waiting time is `-ln(1 - u)` in f32 with `u = (word + 1/2) / 2^32`. Winners have `u` near zero, which is where
//! 32 bits would run out: a token 20 nats below the top wins in cells of a few words. A word below 2^20 (one in 4096)
//! therefore takes 31 more bits, so the relative resolution stays at the 24 bits of f32 and the tail reaches 43 nats;
//! 24-bit uniforms end at 16.6. No waiting time is zero. At the losing end (`u` near one) 31 bits are kept.
//!
//! Linear; ten Philox rounds for four tokens and one logarithm a token. Twin of `cuda/noise.cuh`, bit for bit.

use super::math::{ln_1p_reduced, split_exponent};
use crate::rng::{MULTIPLIERS, Purpose, Rng, WEYL};
use crate::wide::wide;

/// Words below this are refined.
const REFINE_BELOW: u32 = 1 << 20;
/// `(1 - sqrt(1/2)) 2^32`: below it `1 - u` needs no exponent.
const NEAR_ZERO: u32 = 0x4AFB_0CCC;
const SCALE_32: f32 = 2.328_306_4e-10;
const SCALE_31: f32 = 4.656_613e-10;
/// Tokens filled together.
pub(crate) const CHUNK: usize = 64;

/// The waiting time of a word that needs no refinement.
#[inline(always)]
fn coarse_wait(word: u32) -> f32 {
    let is_near = word < NEAR_ZERO;
    // Both readings fit a signed conversion, which every vector unit has.
    let (cell, scale) = if is_near { (word, SCALE_32) } else { (!word >> 1, SCALE_31) };
    let fraction = (cell as i32 as f32 + 0.5) * scale;
    let (exponent, r) = split_exponent(fraction);
    let (exponent, r) = if is_near { (0.0, -fraction) } else { (exponent, r) };
    -exponent.mul_add(std::f32::consts::LN_2, ln_1p_reduced(r))
}

/// The waiting time of a small word and the next word of the same token.
#[inline(always)]
fn fine_wait(word: u32, refinement: u32) -> f32 {
    let fraction = ((refinement >> 1) as i32 as f32 + 0.5) * SCALE_31;
    -ln_1p_reduced(-((word as i32 as f32 + fraction) * SCALE_32))
}

/// The waiting time of one token.
#[inline]
pub(super) fn wait(rng: &Rng, token: u32, purpose: Purpose) -> f32 {
    wait_of(rng, token, rng.word(token, purpose), purpose)
}

/// The waiting time of a token whose first word is known.
#[inline(always)]
pub(super) fn wait_of(rng: &Rng, token: u32, word: u32, purpose: Purpose) -> f32 {
    if word < REFINE_BELOW { fine_wait(word, rng.refinement(token, purpose)) } else { coarse_wait(word) }
}

/// Philox of the counters in the lanes.
#[inline(always)]
fn philox_lanes<const N: usize>(
    c0: &mut [u32; N],
    c1: &mut [u32; N],
    c2: &mut [u32; N],
    c3: &mut [u32; N],
    key: [u32; 2],
) {
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        for lane in 0..N {
            let left = u64::from(MULTIPLIERS[0]) * u64::from(c0[lane]);
            let right = u64::from(MULTIPLIERS[1]) * u64::from(c2[lane]);
            c0[lane] = (right >> 32) as u32 ^ c1[lane] ^ k0;
            c1[lane] = right as u32;
            c2[lane] = (left >> 32) as u32 ^ c3[lane] ^ k1;
            c3[lane] = left as u32;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
}

/// The first words of `CHUNK` tokens from block `first_block` on: Philox with the blocks in the lanes of a vector.
#[inline(always)]
pub(super) fn chunk_words(rng: &Rng, first_block: u32, purpose: Purpose) -> [u32; CHUNK] {
    const N_BLOCKS: usize = CHUNK / 4;
    let mut c0 = [first_block; N_BLOCKS];
    for (lane, c0) in c0.iter_mut().enumerate() {
        *c0 = c0.wrapping_add(lane as u32);
    }
    let mut c1 = [rng.position as u32; N_BLOCKS];
    let mut c2 = [(rng.position >> 32) as u32; N_BLOCKS];
    let mut c3 = [purpose.word(); N_BLOCKS];
    philox_lanes(&mut c0, &mut c1, &mut c2, &mut c3, rng.key());
    let mut words = [0; CHUNK];
    for lane in 0..N_BLOCKS {
        words[4 * lane] = c0[lane];
        words[4 * lane + 1] = c1[lane];
        words[4 * lane + 2] = c2[lane];
        words[4 * lane + 3] = c3[lane];
    }
    words
}

/// The first words of tokens from anywhere: Philox with one token in each lane.
#[inline(always)]
pub(super) fn gathered_words<const N: usize>(rng: &Rng, tokens: &[u32; N], purpose: Purpose) -> [u32; N] {
    let mut c0 = *tokens;
    for c0 in &mut c0 {
        *c0 >>= 2;
    }
    let mut c1 = [rng.position as u32; N];
    let mut c2 = [(rng.position >> 32) as u32; N];
    let mut c3 = [purpose.word(); N];
    philox_lanes(&mut c0, &mut c1, &mut c2, &mut c3, rng.key());
    let mut words = [0; N];
    for lane in 0..N {
        words[lane] = match tokens[lane] & 3 {
            0 => c0[lane],
            1 => c1[lane],
            2 => c2[lane],
            _ => c3[lane],
        };
    }
    words
}

/// The waiting times of the tokens `first .. first + CHUNK`; `first` is a multiple of four.
#[inline(always)]
pub(crate) fn fill_waits(rng: &Rng, first: u32, purpose: Purpose, waits: &mut [f32; CHUNK]) {
    let words = chunk_words(rng, first >> 2, purpose);
    let mut smallest = u32::MAX;
    for (wait, &word) in waits.iter_mut().zip(&words) {
        *wait = coarse_wait(word);
        smallest = smallest.min(word);
    }
    if smallest < REFINE_BELOW {
        for (offset, &word) in words.iter().enumerate().filter(|(_, word)| **word < REFINE_BELOW) {
            waits[offset] = fine_wait(word, rng.refinement(first + offset as u32, purpose));
        }
    }
}

wide! {
    /// The waiting times of tokens `0 .. waits.len()`.
    pub(crate) fn fill_all_waits(rng: &Rng, purpose: Purpose, waits: &mut [f32]) {
        let mut chunk = [0f32; CHUNK];
        for (n_chunk, out) in waits.chunks_mut(CHUNK).enumerate() {
            fill_waits(rng, (n_chunk * CHUNK) as u32, purpose, &mut chunk);
            out.copy_from_slice(&chunk[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_equal_single_tokens() {
        let rng = Rng::new(0x1234_5678_9ABC_DEF0, (5 << 32) + 9);
        let mut waits = vec![0.0; 40_001];
        fill_all_waits(&rng, Purpose::SAMPLE, &mut waits);
        for (token, &found) in waits.iter().enumerate() {
            assert_eq!(found.to_bits(), wait(&rng, token as u32, Purpose::SAMPLE).to_bits(), "{token}");
        }
    }

    #[test]
    fn waits_follow_the_exact_exponential_of_the_same_bits() {
        let rng = Rng::new(1, 2);
        for token in 0..200_000 {
            let (found, exact) =
                (f64::from(wait(&rng, token, Purpose::SAMPLE)), rng.exponential(token, Purpose::SAMPLE));
            // The coarse form sees 32 of the 64 bits, 31 of them at the losing end, then rounds to f32.
            let tolerance = 1e-6 * exact + 2f64.powi(-31) * exact.exp();
            assert!((found - exact).abs() < tolerance, "{token}: {found} {exact}");
        }
    }

    #[test]
    fn both_ends_are_finite_and_positive() {
        assert!(fine_wait(0, 0) > 1e-20);
        assert!(coarse_wait(u32::MAX) < 23.0);
        for word in [REFINE_BELOW, NEAR_ZERO - 1, NEAR_ZERO, u32::MAX / 2, u32::MAX - 1] {
            let u = (f64::from(word) + 0.5) / 2f64.powi(32);
            let exact = -(-u).ln_1p();
            assert!(
                (f64::from(coarse_wait(word)) / exact - 1.0).abs() < 3e-7 || word > u32::MAX - 2,
                "{word}"
            );
        }
    }

    #[test]
    fn waits_grow_with_the_word() {
        let words =
            [0, 1, 1 << 19, REFINE_BELOW - 1, REFINE_BELOW, NEAR_ZERO - 1, NEAR_ZERO, 1 << 31, u32::MAX];
        let waits: Vec<f32> = words
            .iter()
            .map(|&word| if word < REFINE_BELOW { fine_wait(word, 1 << 31) } else { coarse_wait(word) })
            .collect();
        assert!(waits.is_sorted() && waits[0] > 0.0, "{waits:?}");
    }
}

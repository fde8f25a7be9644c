//! Which random number belongs to this seed, position, token and purpose?
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is a keyed bijection of a
//! 128-bit counter, so a random number is looked up, not produced by a state: the key is the seed, the counter is
//! `(token / 4, position low, position high, purpose)` and the word is `token % 4`. Batch order, batch size, thread
//! count and device cannot matter, and a run can be resumed at any position.
//!
//! Cost: ten rounds of two 32x32 multiplications for four tokens. There is no worst input and no state. A purpose keeps
//! draws that must not share noise apart: a draft that reused the noise of its own verification would bias the output.
//! Bit 31 of the purpose word is taken by the second word of a token ([`Rng::refinement`]).
//!
//! Not cryptographic: the seed can be recovered from the output.

pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const REFINEMENT_BIT: u32 = 1 << 31;

/// The ten-round bijection of Philox4x32 under `key`.
#[inline(always)]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let left = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) =
            ((right >> 32) as u32 ^ c1 ^ k0, right as u32, (left >> 32) as u32 ^ c3 ^ k1, left as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// What a random number is used for; two purposes never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Purpose(u32);

impl Purpose {
    /// Drawing the next token, from a target model or while verifying.
    pub const SAMPLE: Self = Self(0);
    /// Drawing a drafted token.
    pub const DRAFT: Self = Self(1);
    /// Accepting or rejecting a drafted token.
    pub const ACCEPT: Self = Self(2);
    /// Drawing from what is left of the target after a rejection.
    pub const RESIDUAL: Self = Self(3);
    /// Choosing the ancestors of particles.
    pub const RESAMPLE: Self = Self(0x4000_0000);
    /// Whether XTC is applied. One coin a position, whatever the draw is for: it decides about the distribution itself.
    pub const XTC: Self = Self(0x4000_0001);
    const DERIVE: Self = Self(0x7FFF_FFFF);

    /// Pass `n_pass` of adaptive weighted rejection sampling: purposes 4, 5, ... up to `RESAMPLE`.
    #[inline]
    pub const fn awrs(n_pass: u32) -> Self {
        Self(4 + n_pass % (Self::RESAMPLE.0 - 4))
    }

    /// The purpose with this counter word; bit 31 is taken, see [`Rng::refinement`].
    #[inline]
    pub const fn from_word(word: u32) -> Option<Self> {
        if word & REFINEMENT_BIT == 0 { Some(Self(word)) } else { None }
    }

    /// The fourth counter word.
    #[inline]
    pub const fn word(self) -> u32 {
        self.0
    }
}

/// All the random numbers of one seed at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rng {
    /// The request's seed.
    pub seed: u64,
    /// The absolute position of the token that is being drawn.
    pub position: u64,
}

impl Rng {
    /// The numbers of `seed` at `position`.
    #[inline]
    pub const fn new(seed: u64, position: u64) -> Self {
        Self { seed, position }
    }

    /// The same seed at another position.
    #[inline]
    pub const fn at(self, position: u64) -> Self {
        Self { seed: self.seed, position }
    }

    /// An unrelated seed for row, request or particle `stream`, at the same position.
    pub fn derive(self, stream: u64) -> Self {
        let counter = [stream as u32, (stream >> 32) as u32, 0, Purpose::DERIVE.word()];
        let [low, high, ..] = philox4x32_10(counter, self.key());
        Self { seed: u64::from(high) << 32 | u64::from(low), position: self.position }
    }

    /// The Philox key: the seed.
    #[inline(always)]
    pub fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// The four words of the tokens `4 * block .. 4 * block + 4`.
    #[inline(always)]
    pub fn block(&self, block: u32, purpose: Purpose) -> [u32; 4] {
        philox4x32_10([block, self.position as u32, (self.position >> 32) as u32, purpose.word()], self.key())
    }

    /// The first 32 random bits of a token.
    #[inline(always)]
    pub fn word(&self, token: u32, purpose: Purpose) -> u32 {
        self.block(token >> 2, purpose)[(token & 3) as usize]
    }

    /// The next 32 random bits of a token, needed where the first are close to zero.
    #[inline]
    pub fn refinement(&self, token: u32, purpose: Purpose) -> u32 {
        self.word(token, Purpose(purpose.word() | REFINEMENT_BIT))
    }

    /// A uniform number in the open interval (0, 1), `(bits + 1/2) / 2^64` rounded to f64: the smallest is 2^-65, so
    /// tails reach 45 nats, and close to zero the relative resolution is that of f64.
    #[inline]
    pub fn uniform(&self, token: u32, purpose: Purpose) -> f64 {
        let bits = u64::from(self.word(token, purpose)) << 32 | u64::from(self.refinement(token, purpose));
        const ABOVE_ALL: f64 = 1.0 - f64::EPSILON / 2.0;
        ((bits as f64 + 0.5) * 2f64.powi(-64)).min(ABOVE_ALL)
    }

    /// A standard exponential number, `-log(1 - uniform)`: the winners of a race lie near zero, where the resolution is.
    #[inline]
    pub fn exponential(&self, token: u32, purpose: Purpose) -> f64 {
        -(-self.uniform(token, purpose)).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_matches_the_published_vectors() {
        // Random123 1.14, tests/kat_vectors, philox4x32 10.
        let ones = 0xFFFF_FFFF;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn every_part_of_the_address_changes_the_number() {
        let rng = Rng::new(7, 11);
        let base = rng.uniform(13, Purpose::SAMPLE);
        assert_ne!(base, rng.uniform(14, Purpose::SAMPLE));
        assert_ne!(base, rng.uniform(13, Purpose::ACCEPT));
        assert_ne!(base, rng.at(11 + (1 << 32)).uniform(13, Purpose::SAMPLE));
        assert_ne!(base, Rng::new(7 + (1 << 32), 11).uniform(13, Purpose::SAMPLE));
        assert_ne!(rng.derive(0).seed, rng.derive(1).seed);
        assert_ne!(rng.derive(0).seed, rng.derive(1 << 32).seed);
        assert_eq!(Purpose::awrs(0).word(), 4);
    }

    #[test]
    fn uniforms_stay_inside_and_have_the_right_moments() {
        let n_draws = 100_000u32;
        let (mut sum, mut sum_squares, mut sum_waits) = (0.0, 0.0, 0.0);
        for token in 0..n_draws {
            let rng = Rng::new(3, 5);
            let u = rng.uniform(token, Purpose::SAMPLE);
            assert!(u > 0.0 && u < 1.0);
            sum += u;
            sum_squares += u * u;
            sum_waits += rng.exponential(token, Purpose::SAMPLE);
        }
        let n = f64::from(n_draws);
        // Five standard errors each.
        assert!((sum / n - 0.5).abs() < 5.0 * (1.0 / 12.0 / n).sqrt());
        assert!((sum_squares / n - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / n).sqrt());
        assert!((sum_waits / n - 1.0).abs() < 5.0 * (1.0 / n).sqrt());
    }
}

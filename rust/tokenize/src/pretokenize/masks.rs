//! Which of the next 64 characters are letters, which are numbers, which are white?
//!
//! One 64-bit mask for each flag of a kind, so that a scanner decides about 64 characters with a few logical operations.
//! The masks come out of vector units where the machine has them: AVX-512 with byte permutes, AVX2, or NEON. The portable way
//! is always compiled; tests hold the others against it.

use super::kinds::Kind;

/// A bit for each of up to 64 characters in each mask; those behind the last one are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Masks {
    /// All characters there are.
    pub(crate) valid: u64,
    /// By the number of a flag's bit.
    flags: [u64; 8],
}

impl Masks {
    #[inline(always)]
    fn of(bit: impl Fn(Kind) -> u64, n_chars: usize) -> Self {
        let valid = if n_chars < 64 { (1 << n_chars) - 1 } else { u64::MAX };
        let of = |number: u32| bit(1 << number) & valid;
        // Masks that a scanner does not ask for are never made.
        Self { valid, flags: [of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)] }
    }

    /// The characters that have a flag of one bit.
    #[inline(always)]
    pub(crate) fn with(&self, flag: Kind) -> u64 {
        self.flags[flag.trailing_zeros() as usize]
    }
}

/// A way to make masks.
pub(crate) trait Vectors: Copy {
    /// The masks of the first `n_chars` kinds.
    fn of_kinds(self, kinds: &[Kind; 64], n_chars: usize) -> Masks;

    /// The masks of the first `n_chars` bytes where all 64 are ASCII, with kinds by `table`.
    fn of_ascii(self, bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks>;

    /// The places of the bits that are set, in order; behind them anything.
    #[inline(always)]
    fn places(self, mut bits: u64) -> [u8; 64] {
        let mut places = [0; 64];
        let (blocks, _) = places.as_chunks_mut::<8>();
        for block in blocks {
            if bits == 0 {
                break;
            }
            // Blocks of fixed size: a jump behind the last bit is guessed wrong in every window.
            for place in block {
                *place = bits.trailing_zeros() as u8;
                bits &= bits.wrapping_sub(1);
            }
        }
        places
    }
}

/// Eight bytes at a time in ordinary registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Vectors for Portable {
    #[inline(always)]
    fn of_kinds(self, kinds: &[Kind; 64], n_chars: usize) -> Masks {
        let (words, _) = kinds.as_chunks::<8>();
        let bit = |flag: Kind| {
            words.iter().rev().fold(0, |mask: u64, word| {
                let flags = u64::from_le_bytes(*word) >> flag.trailing_zeros() & 0x0101_0101_0101_0101;
                // Moves bit 0 of byte i to bit i of the highest byte.
                mask << 8 | flags.wrapping_mul(0x0102_0408_1020_4080) >> 56
            })
        };
        Masks::of(bit, n_chars)
    }

    #[inline(always)]
    fn of_ascii(self, bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
        bytes.is_ascii().then(|| self.of_kinds(&bytes.map(|byte| table[usize::from(byte & 127)]), n_chars))
    }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
pub(crate) use arm::Neon;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
#[allow(unsafe_code)]
mod arm {
    use std::arch::aarch64::*;

    use super::{Kind, Masks, Vectors};

    /// NEON, for which the whole program is compiled.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Neon;

    impl Vectors for Neon {
        #[inline(always)]
        fn of_kinds(self, kinds: &[Kind; 64], n_chars: usize) -> Masks {
            // SAFETY: this is compiled only where every machine has the feature.
            unsafe { of_kinds_neon(kinds, n_chars) }
        }

        #[inline(always)]
        fn of_ascii(self, bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
            // SAFETY: this is compiled only where every machine has the feature.
            unsafe { of_ascii_neon(bytes, n_chars, table) }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn of_kinds_neon(kinds: &[Kind; 64], n_chars: usize) -> Masks {
        masks(load(kinds), n_chars)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn of_ascii_neon(bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
        let text = load(bytes);
        let [a, b, c, d] = text;
        if vmaxvq_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))) >= 0x80 {
            return None;
        }
        let (halves, _) = table.as_chunks::<64>();
        let [lower, upper] = [&halves[0], &halves[1]].map(|half| {
            let [a, b, c, d] = load(half);
            uint8x16x4_t(a, b, c, d)
        });
        // A look-up beyond the 64 entries of a table gives 0.
        let kind =
            |text| vorrq_u8(vqtbl4q_u8(lower, text), vqtbl4q_u8(upper, vsubq_u8(text, vdupq_n_u8(64))));
        Some(masks(text.map(kind), n_chars))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn load(bytes: &[u8; 64]) -> [uint8x16_t; 4] {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| vcreate_u8(u64::from_le_bytes(words[at]));
        [0, 2, 4, 6].map(|at| vcombine_u8(word(at), word(at + 1)))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn masks(kinds: [uint8x16_t; 4], n_chars: usize) -> Masks {
        let place = vcreate_u8(0x8040_2010_0804_0201);
        let places = vcombine_u8(place, place);
        let bit = |flag: Kind| {
            // Each byte that has the flag is the bit of its place in eight; three sums of neighbours bring them together.
            let [a, b, c, d] = kinds.map(|part| vandq_u8(vtstq_u8(part, vdupq_n_u8(flag)), places));
            let all = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(all, all)))
        };
        Masks::of(bit, n_chars)
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kind, Masks, Vectors};

    /// AVX-512 with byte and word operations, byte permutes and byte compression: made where the machine has them.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx512(());

    /// AVX2: made where the machine has it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    impl Avx512 {
        pub(crate) fn detect() -> Option<Self> {
            let found = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2");
            (found && bit_instructions()).then_some(Self(()))
        }
    }

    impl Avx2 {
        pub(crate) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2") && bit_instructions()).then_some(Self(()))
        }
    }

    fn bit_instructions() -> bool {
        is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }

    impl Vectors for Avx512 {
        #[inline(always)]
        fn of_kinds(self, kinds: &[Kind; 64], n_chars: usize) -> Masks {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { of_kinds_512(kinds, n_chars) }
        }

        #[inline(always)]
        fn of_ascii(self, bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { of_ascii_512(bytes, n_chars, table) }
        }

        #[inline(always)]
        fn places(self, bits: u64) -> [u8; 64] {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { places_512(bits) }
        }
    }

    impl Vectors for Avx2 {
        #[inline(always)]
        fn of_kinds(self, kinds: &[Kind; 64], n_chars: usize) -> Masks {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { of_kinds_256(kinds, n_chars) }
        }

        #[inline(always)]
        fn of_ascii(self, bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
            // SAFETY: a value of this type exists only where the features were detected.
            unsafe { of_ascii_256(bytes, n_chars, table) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: 64 bytes are read from an array of 64.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn masks_512(kinds: __m512i, n_chars: usize) -> Masks {
        Masks::of(|flag| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(flag as i8)), n_chars)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of_kinds_512(kinds: &[Kind; 64], n_chars: usize) -> Masks {
        masks_512(load(kinds), n_chars)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of_ascii_512(bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
        let text = load(bytes);
        if _mm512_movepi8_mask(text) != 0 {
            return None;
        }
        let (halves, _) = table.as_chunks::<64>();
        let kinds = _mm512_permutex2var_epi8(load(&halves[0]), text, load(&halves[1]));
        Some(masks_512(kinds, n_chars))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
    fn places_512(bits: u64) -> [u8; 64] {
        const ALL: [u8; 64] = {
            let mut all = [0; 64];
            let mut place = 0;
            while place < 64 {
                all[place] = place as u8;
                place += 1;
            }
            all
        };
        let mut places = [0; 64];
        // SAFETY: 64 bytes are written to an array of 64.
        unsafe {
            _mm512_storeu_si512(places.as_mut_ptr().cast(), _mm512_maskz_compress_epi8(bits, load(&ALL)));
        }
        places
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_halves(bytes: &[u8; 64]) -> [__m256i; 2] {
        let (halves, _) = bytes.as_chunks::<32>();
        // SAFETY: 32 bytes are read from arrays of 32.
        unsafe {
            [_mm256_loadu_si256(halves[0].as_ptr().cast()), _mm256_loadu_si256(halves[1].as_ptr().cast())]
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn high_bits(halves: [__m256i; 2]) -> u64 {
        let [low, high] = halves.map(|half| _mm256_movemask_epi8(half) as u32);
        u64::from(low) | u64::from(high) << 32
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn masks_256(kinds: [__m256i; 2], n_chars: usize) -> Masks {
        let bit = |flag: Kind| {
            let flag = _mm256_set1_epi8(flag as i8);
            high_bits(kinds.map(|half| _mm256_cmpeq_epi8(_mm256_and_si256(half, flag), flag)))
        };
        Masks::of(bit, n_chars)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_kinds_256(kinds: &[Kind; 64], n_chars: usize) -> Masks {
        masks_256(load_halves(kinds), n_chars)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_ascii_256(bytes: &[u8; 64], n_chars: usize, table: &[Kind; 128]) -> Option<Masks> {
        let text = load_halves(bytes);
        if high_bits(text) != 0 {
            return None;
        }
        // A look-up in 16 entries for each value of the high half of a byte, of which the right one is kept.
        let (rows, _) = table.as_chunks::<16>();
        let kinds = text.map(|half| {
            let row_of = _mm256_and_si256(_mm256_srli_epi16::<4>(half), _mm256_set1_epi8(0x0F));
            rows.iter().enumerate().fold(_mm256_setzero_si256(), |kinds, (number, row)| {
                let row = _mm256_broadcastsi128_si256(_mm_set_epi64x(
                    i64::from_le_bytes([
                        row[8], row[9], row[10], row[11], row[12], row[13], row[14], row[15],
                    ]),
                    i64::from_le_bytes([row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]]),
                ));
                let here = _mm256_cmpeq_epi8(row_of, _mm256_set1_epi8(number as i8));
                _mm256_or_si256(kinds, _mm256_and_si256(here, _mm256_shuffle_epi8(row, half)))
            })
        });
        Some(masks_256(kinds, n_chars))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KIND_TABLE;
    use super::*;

    fn check(vectors: impl Vectors) {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u8
        };
        for round in 0..20_000 {
            let n_chars = round % 65;
            let mut bytes = std::array::from_fn(|_| random());
            let expected = |flag: Kind| {
                (0..n_chars).filter(|&at| bytes[at] & flag != 0).fold(0, |mask, at| mask | 1_u64 << at)
            };
            let expected = Masks::of(expected, n_chars);
            assert_eq!(vectors.of_kinds(&bytes, n_chars), expected);
            assert_eq!(vectors.of_ascii(&bytes, n_chars, &KIND_TABLE.ascii).is_some(), bytes.is_ascii());
            bytes.iter_mut().for_each(|byte| *byte &= 127);
            let kinds = bytes.map(|byte| KIND_TABLE.ascii[usize::from(byte)]);
            let of_ascii = vectors.of_ascii(&bytes, n_chars, &KIND_TABLE.ascii);
            assert_eq!(of_ascii, Some(vectors.of_kinds(&kinds, n_chars)));
            let bits = expected.with(1) & expected.with(2);
            let set: Vec<u8> = (0..64).filter(|place| bits >> place & 1 != 0).collect();
            assert_eq!(vectors.places(bits)[..set.len()], set);
        }
    }

    #[test]
    fn every_way_makes_the_masks_that_the_flags_say() {
        check(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            Avx2::detect().into_iter().for_each(check);
            Avx512::detect().into_iter().for_each(check);
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
        check(Neon);
    }
}

//! How does UTF-8 come from code points?
//!
//! Sixteen at a time, without asking each how long it is: all four bytes that it may have are made with the last one always in
//! the same place, and those that it has are moved together. AVX-512 moves 64 bytes in one step; the portable way, always
//! compiled, stores four bytes a character and goes on by as many as it has. Sixteen of ASCII are told by one look.
//!
//! The time is linear and depends little on what the characters are.

use crate::pretokenize::VectorUnit;

/// A number among code points that is no Unicode scalar value: a surrogate or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACharacter;

const BLOCK: usize = 16;
const MAX_BYTES: usize = 4 * BLOCK;

/// The bytes of so many are written before they are moved to the text; they stay in the innermost cache.
const N_AT_A_TIME: usize = 2048;

/// Appends the characters of `code_points`.
///
/// # Errors
/// One of them is no character; the text is as it was.
pub fn push(text: &mut String, code_points: &[u32]) -> Result<(), NotACharacter> {
    push_by(VectorUnit::detect(), text, code_points)
}

#[allow(unsafe_code)]
fn push_by(unit: VectorUnit, text: &mut String, code_points: &[u32]) -> Result<(), NotACharacter> {
    let n_before = text.len();
    let mut bytes = [0; MAX_BYTES * (N_AT_A_TIME / BLOCK + 1)];
    for part in code_points.chunks(N_AT_A_TIME) {
        let Some(n) = write_by(unit, part, &mut bytes) else {
            text.truncate(n_before);
            return Err(NotACharacter);
        };
        // SAFETY: the first `n` bytes are the UTF-8 of scalar values.
        text.push_str(unsafe { std::str::from_utf8_unchecked(&bytes[..n]) });
    }
    Ok(())
}

/// [`write()`] with the best instructions of a unit.
#[allow(unsafe_code)]
fn write_by(unit: VectorUnit, code_points: &[u32], bytes: &mut [u8]) -> Option<usize> {
    match unit {
        #[cfg(target_arch = "x86_64")]
        VectorUnit::Avx512(unit) => {
            #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
            fn write_512(unit: x86::Compress, code_points: &[u32], bytes: &mut [u8]) -> Option<usize> {
                write(unit, code_points, bytes)
            }
            // SAFETY: a value of type `Avx512` exists only where these features were detected.
            unsafe { write_512(x86::Compress(unit), code_points, bytes) }
        }
        #[cfg(target_arch = "x86_64")]
        VectorUnit::Avx2(_) => {
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            fn write_256(code_points: &[u32], bytes: &mut [u8]) -> Option<usize> {
                write(Portable, code_points, bytes)
            }
            // SAFETY: a value of type `Avx2` exists only where these features were detected.
            unsafe { write_256(code_points, bytes) }
        }
        _ => write(Portable, code_points, bytes),
    }
}

/// A way to write a block.
trait Blocks: Copy {
    /// Writes the UTF-8 of sixteen code points and returns its length; `None` if one of them is no character.
    fn write(self, code_points: &[u32; BLOCK], bytes: &mut [u8; MAX_BYTES]) -> Option<usize>;
}

/// Writes the UTF-8 of all code points to `bytes`, which are four for each and `MAX_BYTES` more, and returns its length.
#[inline(always)]
fn write(blocks: impl Blocks, code_points: &[u32], bytes: &mut [u8]) -> Option<usize> {
    let (whole, rest) = code_points.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in whole {
        at += blocks.write(block, bytes[at..].first_chunk_mut()?)?;
    }
    // Zeros behind the rest: one byte each, which do not count.
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    Some(at + blocks.write(&last, bytes[at..].first_chunk_mut()?)? - (BLOCK - rest.len()))
}

/// Whether some of them are surrogates or too large.
#[inline(always)]
fn has_others(code_points: &[u32; BLOCK]) -> bool {
    code_points.iter().fold(false, |found, &code| found | (code & !0x7ff == 0xd800) | (code > 0x0010_ffff))
}

#[derive(Clone, Copy)]
struct Portable;

impl Blocks for Portable {
    #[inline(always)]
    fn write(self, code_points: &[u32; BLOCK], bytes: &mut [u8; MAX_BYTES]) -> Option<usize> {
        if code_points.iter().fold(0, |all, &code| all | code) < 0x80 {
            for index in 0..BLOCK {
                bytes[index] = code_points[index] as u8;
            }
            return Some(BLOCK);
        }
        if has_others(code_points) {
            return None;
        }
        // Loops of nothing else, which become vector instructions.
        let (mut words, mut lengths) = ([0; BLOCK], [0; BLOCK]);
        for index in 0..BLOCK {
            words[index] = word(code_points[index]);
            lengths[index] = length(code_points[index]);
        }
        let mut at = 0;
        for index in 0..BLOCK {
            *bytes[at.min(MAX_BYTES - 4)..].first_chunk_mut()? = words[index].to_le_bytes();
            at += lengths[index] as usize;
        }
        Some(at)
    }
}

/// The bytes of a code point as they follow each other, the first one lowest, and zeros.
#[inline(always)]
fn word(code: u32) -> u32 {
    let part = |index: u32| code >> (6 * index) & 0x3f;
    match code {
        0..0x80 => code,
        0x80..0x800 => 0x80c0 | code >> 6 | part(0) << 8,
        0x800..0x1_0000 => 0x80_80e0 | code >> 12 | part(1) << 8 | part(0) << 16,
        _ => 0x8080_80f0 | code >> 18 | part(2) << 8 | part(1) << 16 | part(0) << 24,
    }
}

/// How many bytes a code point has.
#[inline(always)]
fn length(code: u32) -> u32 {
    1 + u32::from(code >= 0x80) + u32::from(code >= 0x800) + u32::from(code >= 0x1_0000)
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, Blocks, MAX_BYTES};
    use crate::pretokenize::Avx512;

    #[derive(Clone, Copy)]
    pub(super) struct Compress(pub(super) Avx512);

    impl Blocks for Compress {
        #[inline(always)]
        fn write(self, code_points: &[u32; BLOCK], bytes: &mut [u8; MAX_BYTES]) -> Option<usize> {
            // SAFETY: a value of type `Avx512` exists only where the features were detected.
            unsafe { write_512(code_points, bytes) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
    fn write_512(code_points: &[u32; BLOCK], bytes: &mut [u8; MAX_BYTES]) -> Option<usize> {
        let all = |value: u32| _mm512_set1_epi32(value as i32);
        // SAFETY: 64 bytes are read from an array of 16 words.
        let codes = unsafe { _mm512_loadu_si512(code_points.as_ptr().cast()) };
        let two = _mm512_cmpge_epu32_mask(codes, all(0x80));
        if two == 0 {
            // SAFETY: 16 bytes are written to an array of 64.
            unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(codes)) };
            return Some(BLOCK);
        }
        let surrogates = _mm512_cmpeq_epi32_mask(_mm512_and_si512(codes, all(!0x7ff)), all(0xd800));
        if surrogates | _mm512_cmpgt_epu32_mask(codes, all(0x0010_ffff)) != 0 {
            return None;
        }
        let three = _mm512_cmpge_epu32_mask(codes, all(0x800));
        let four = _mm512_cmpge_epu32_mask(codes, all(0x1_0000));
        // The last byte is the highest of its lane, as it is the last in memory.
        let last = _mm512_mask_and_epi32(codes, two, codes, all(0x3f));
        let third = _mm512_and_si512(_mm512_slli_epi32::<10>(codes), all(0x003f_0000));
        let second = _mm512_and_si512(_mm512_srli_epi32::<4>(codes), all(0x3f00));
        let bits = _mm512_or_si512(
            _mm512_or_si512(_mm512_slli_epi32::<24>(last), third),
            _mm512_or_si512(second, _mm512_srli_epi32::<18>(codes)),
        );
        let heads = _mm512_maskz_mov_epi32(two, all(0x80c0_0000));
        let heads = _mm512_mask_mov_epi32(heads, three, all(0x8080_e000));
        let heads = _mm512_mask_mov_epi32(heads, four, all(0x8080_80f0));
        // A byte is one of the character's if its head has the high bit, or if it is the last.
        let kept = _mm512_movepi8_mask(_mm512_or_si512(heads, all(0x8000_0000)));
        let moved = _mm512_maskz_compress_epi8(kept, _mm512_or_si512(bits, heads));
        // SAFETY: 64 bytes are written to an array of 64.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), moved) };
        Some(kept.count_ones() as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `unit` makes of `codes` behind a text.
    fn pushed(unit: VectorUnit, codes: &[u32]) -> Result<String, NotACharacter> {
        let mut text = "é".to_owned();
        let result = push_by(unit, &mut text, codes);
        assert!(result.is_ok() || text == "é");
        result.map(|()| text)
    }

    #[test]
    fn every_code_point_becomes_what_the_standard_library_makes_of_it() {
        let all: Vec<u32> = (0..=0x0010_ffff).filter(|&code| char::from_u32(code).is_some()).collect();
        let expected: String =
            ["é".into(), all.iter().filter_map(|&code| char::from_u32(code)).collect::<String>()].concat();
        for unit in VectorUnit::all() {
            assert_eq!(pushed(unit, &all).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn what_is_no_character_leaves_the_text_as_it_was() {
        for unit in VectorUnit::all() {
            for other in [0xd800, 0xdbff, 0xdc00, 0xdfff, 0x0011_0000, u32::MAX] {
                for n_before in (0..40).chain([5000]) {
                    let codes = [vec![0x4e00; n_before], vec![other], vec![0x61; 40]].concat();
                    assert_eq!(pushed(unit, &codes), Err(NotACharacter));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "([a-z ]{0,40}|[а-я ]{0,20}|\\PC{0,20}|[一-龠]{0,20}|[😀-😎]){0,8}") {
            let codes: Vec<u32> = text.chars().map(u32::from).collect();
            for unit in VectorUnit::all() {
                prop_assert_eq!(pushed(unit, &codes), Ok(format!("é{text}")));
            }
        }
    }
}

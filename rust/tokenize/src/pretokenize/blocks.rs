//! Where do the next pieces end, 64 characters at a time?
//!
//! A match looks forward only. So a window of 64 characters that begins where a piece begins needs to know nothing of the
//! text before it: the pattern's rules, written over masks of the window, say at once which of its characters start a piece.
//! A rule that would have to look behind the window stays silent; the next window begins at the last start that was found,
//! where a piece begins again. A window without a second start is left to the scanner that goes character by character,
//! and so is what the masks cannot tell. That scanner is the definition; tests compare.
//!
//! About one pass over the text, a window being read again from its last start on: O(n), at most 64 characters for a piece.

use std::ops::Deref;

use super::MAX_BATCH;
use super::kinds::{KindTable, Kinds};
#[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
use super::masks::Neon;
#[cfg(target_arch = "x86_64")]
use super::masks::{Avx2, Avx512};
use super::masks::{Masks, Portable, Vectors};
use crate::prefetch::prefetch;

/// The text is asked for so long before it is read.
const AHEAD_BYTES: usize = 512;

/// Rules over masks, beside a scanner.
pub(crate) trait Rules: Copy {
    /// The flags that the masks are made of.
    fn kinds(self) -> &'static KindTable;

    /// Which characters of the window certainly start a piece; the first one does.
    fn starts(self, window: &Window<'_, impl Fn(usize) -> usize>) -> Starts;

    /// The end of the piece that starts at `at`, which is before the end of the text.
    fn end(self, text: &[u8], at: usize) -> usize;
}

/// Characters of a window that start a piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts {
    pub(crate) bits: u64,
    /// There are no others, if the text ends with the window.
    pub(crate) are_all: bool,
}

/// Ends of pieces, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// Behind the first ones anything.
    at: Vec<usize>,
    n: usize,
}

impl Deref for Ends {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.at[..self.n]
    }
}

impl Ends {
    /// So many are written at once, whatever counts.
    const BLOCK: usize = 8;

    pub(crate) fn clear(&mut self) {
        self.n = 0;
    }

    pub(crate) fn make_room(&mut self) {
        if self.at.is_empty() {
            self.at.resize(MAX_BATCH + Self::BLOCK, 0);
        }
    }

    /// The room is there: at most [`MAX_BATCH`] ends are found.
    #[inline(always)]
    pub(crate) fn push(&mut self, end: usize) {
        if let Some(place) = self.at.get_mut(self.n) {
            *place = end;
            self.n += 1;
        }
    }

    /// Adds ends that `write` puts into the room behind the others; it says how many they are.
    #[inline(always)]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut [usize]) -> usize) {
        self.n += self.at.get_mut(self.n..).map_or(0, write);
    }

    /// Adds the positions of the first `n` places, in blocks of fixed size.
    #[inline(always)]
    fn push_all(&mut self, places: &[u8; 64], n: usize, position: impl Fn(usize) -> usize) {
        let (blocks, _) = places.as_chunks::<{ Self::BLOCK }>();
        let Some(room) = self.at.get_mut(self.n..) else { return };
        let (room, _) = room.as_chunks_mut::<{ Self::BLOCK }>();
        for (ends, places) in room.iter_mut().zip(blocks).take(n.div_ceil(Self::BLOCK)) {
            for (end, &place) in ends.iter_mut().zip(places) {
                *end = position(place.into());
            }
        }
        self.n += n;
    }

    /// Adds the places of the bits that are set, counted from `first`, in blocks of fixed size.
    #[inline(always)]
    pub(crate) fn push_bits(&mut self, first: usize, mut bits: u64) {
        let Some(room) = self.at.get_mut(self.n..) else { return };
        self.n += bits.count_ones() as usize;
        let (room, _) = room.as_chunks_mut::<{ Self::BLOCK }>();
        for ends in room {
            for end in ends {
                *end = first + bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
            }
            if bits == 0 {
                break;
            }
        }
    }
}

/// Up to 64 characters.
pub(crate) struct Window<'a, P> {
    pub(crate) masks: Masks,
    /// The text ends with the window.
    pub(crate) is_end: bool,
    pub(crate) text: &'a [u8],
    /// Where a character starts in `text`.
    pub(crate) position: P,
}

/// The vector unit of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VectorUnit {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
    Neon,
    #[cfg_attr(
        all(target_arch = "aarch64", target_endian = "little", target_feature = "neon", not(test)),
        expect(dead_code)
    )]
    Portable,
}

impl VectorUnit {
    /// The widest there is.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(unit) = Avx512::detect() {
                return Self::Avx512(unit);
            }
            if let Some(unit) = Avx2::detect() {
                return Self::Avx2(unit);
            }
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
        return Self::Neon;
        #[cfg(not(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon")))]
        Self::Portable
    }

    /// All that this machine can run.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = Avx512::detect().map(Self::Avx512).into_iter().chain(Avx2::detect().map(Self::Avx2));
            wide.chain([Self::Portable]).collect()
        }
        #[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
        return vec![Self::Neon, Self::Portable];
        #[cfg(not(any(
            target_arch = "x86_64",
            all(target_arch = "aarch64", target_endian = "little", target_feature = "neon")
        )))]
        vec![Self::Portable]
    }

    /// Appends the ends of pieces from `at` on, where one starts: at most `MAX_BATCH`, fewer only at the end of the text
    /// or where the next window might not fit.
    #[inline]
    pub(crate) fn ends(self, rules: impl Rules, text: &[u8], at: usize, ends: &mut Ends) {
        match self {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Self::Avx512(unit) => {
                #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
                fn ends_512(unit: Avx512, rules: impl Rules, text: &[u8], at: usize, ends: &mut Ends) {
                    fill(unit, rules, text, at, ends);
                }
                // SAFETY: a value of type `Avx512` exists only where these features were detected.
                unsafe { ends_512(unit, rules, text, at, ends) }
            }
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Self::Avx2(unit) => {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
                fn ends_256(unit: Avx2, rules: impl Rules, text: &[u8], at: usize, ends: &mut Ends) {
                    fill(unit, rules, text, at, ends);
                }
                // SAFETY: a value of type `Avx2` exists only where these features were detected.
                unsafe { ends_256(unit, rules, text, at, ends) }
            }
            #[cfg(all(target_arch = "aarch64", target_endian = "little", target_feature = "neon"))]
            Self::Neon => fill(Neon, rules, text, at, ends),
            Self::Portable => fill(Portable, rules, text, at, ends),
        }
    }
}

#[inline(always)]
fn fill(vectors: impl Vectors, rules: impl Rules, text: &[u8], mut at: usize, ends: &mut Ends) {
    ends.make_room();
    let table = &rules.kinds().ascii;
    while at < text.len() && ends.len() + 64 < MAX_BATCH {
        let mut padded = [0; 64];
        prefetch(text, at + AHEAD_BYTES);
        let rest = &text[at..];
        let chunk = rest.first_chunk::<64>().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        let n_chars = rest.len().min(64);
        let Some(masks) = vectors.of_ascii(chunk, n_chars, table) else {
            at = fill_mixed(vectors, rules, text, at, ends);
            continue;
        };
        let window = Window { masks, is_end: rest.len() <= 64, text, position: |index| at + index };
        at = push_ends(vectors, rules, &window, at, ends).0;
    }
}

/// Some windows of text that is not all ASCII. Where the next one begins.
#[inline(always)]
fn fill_mixed(vectors: impl Vectors, rules: impl Rules, text: &[u8], start: usize, ends: &mut Ends) -> usize {
    let mut read = Kinds::new();
    read.read(rules.kinds(), text, start);
    let ends_text = start + usize::from(read.offsets[read.n_chars]) == text.len();
    let (mut index, mut at) = (0, start);
    while at < text.len() && ends.len() + 64 < MAX_BATCH {
        let n_left = read.n_chars - index;
        if n_left < 64 && !ends_text {
            break;
        }
        let mut padded = [0; 64];
        let rest = &read.kinds[index..read.n_chars];
        let chunk = rest.first_chunk::<64>().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        let masks = vectors.of_kinds(chunk, n_left.min(64));
        let offsets = &read.offsets[index..];
        let position = |index: usize| start + usize::from(offsets[index % 64]);
        let window = Window { masks, is_end: ends_text && n_left <= 64, text, position };
        let n_passed;
        (at, n_passed) = push_ends(vectors, rules, &window, at, ends);
        match n_passed {
            Some(n_passed) => index += n_passed,
            // Behind a long piece: what was read may be behind it.
            None => break,
        }
    }
    at
}

/// Appends the ends that the window shows, at least one. Where the last of them is, in bytes and in characters; the latter
/// is not known where the window shows none.
#[inline(always)]
fn push_ends(
    vectors: impl Vectors,
    rules: impl Rules,
    window: &Window<'_, impl Fn(usize) -> usize>,
    mut at: usize,
    ends: &mut Ends,
) -> (usize, Option<usize>) {
    let Starts { bits, are_all } = rules.starts(window);
    let is_end = window.is_end && are_all;
    let starts = bits & !1;
    let last = (u64::BITS - 1).saturating_sub(starts.leading_zeros()) as usize;
    if starts == 0 && !is_end {
        at = rules.end(window.text, at);
        ends.push(at);
        return (at, None);
    }
    if starts != 0 {
        at = (window.position)(last);
        let n_starts = starts.count_ones() as usize;
        ends.push_all(&vectors.places(starts), n_starts, |index| (window.position)(index));
    }
    if is_end {
        at = window.text.len();
        ends.push(at);
    }
    (at, Some(last))
}

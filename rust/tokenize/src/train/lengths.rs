//! How is a corpus cut into pieces of random lengths?
//!
//! Words are not the only pieces that a training may count: cut anywhere, pieces hold parts of several words, and what
//! they share becomes tokens across spaces (supertokens; Sharthak and others 2025). Lengths are drawn in characters from
//! ranges with probabilities. The numbers drawn for a unit depend on the seed and on the bytes of the unit alone, so the
//! counts depend neither on the order of the corpus nor on its parts. O(n).

use super::WordCounts;

/// Lengths from `min` to `max` characters, drawn evenly, with a share among several such ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthRange {
    /// The fewest characters.
    pub min: usize,
    /// The most characters.
    pub max: usize,
    /// How often the range is drawn, as a part of the sum over all ranges.
    pub share: f64,
}

/// Counts the pieces of units, each as if it stood there `weight` times. `uniform` gives number `draw` of a unit, in (0, 1).
pub fn count_random_pieces(
    units: &[&[u8]],
    weight: u64,
    ranges: &[LengthRange],
    uniform: impl Fn(u64, u32) -> f64,
    counts: &mut WordCounts,
) {
    let all: f64 = ranges.iter().map(|range| range.share).sum();
    for unit in units {
        let ends = character_ends(unit);
        let key = fnv1a(unit);
        let (mut done, mut draw) = (0, 0u32);
        while done < ends.len() {
            let left = ends.len() - done;
            let mut place = uniform(key, draw) * all;
            let reached = |range: &&LengthRange| {
                place -= range.share;
                place < 0.0
            };
            let Some(range) = ranges.iter().find(reached).or(ranges.last()) else { return };
            let (min, max) = (range.min.clamp(1, left), range.max.clamp(1, left));
            let length = min + (uniform(key, draw + 1) * (max - min + 1) as f64) as usize;
            draw = draw.wrapping_add(2);
            let start = if done == 0 { 0 } else { ends[done - 1] };
            done += length.min(left);
            counts.add(&unit[start..ends[done - 1]], weight);
        }
    }
}

/// Where characters end; bytes that belong to none are one for each maximal invalid run.
fn character_ends(unit: &[u8]) -> Vec<usize> {
    let mut ends = Vec::with_capacity(unit.len());
    let mut at = 0;
    for chunk in unit.utf8_chunks() {
        for character in chunk.valid().chars() {
            at += character.len_utf8();
            ends.push(at);
        }
        if !chunk.invalid().is_empty() {
            at += chunk.invalid().len();
            ends.push(at);
        }
    }
    ends
}

/// The hash of Fowler, Noll and Vo.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

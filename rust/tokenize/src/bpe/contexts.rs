//! Between which characters of a text does no merge cross?
//!
//! Where merging starts from characters, a merge that crosses between two of them has a left part that ends with the first
//! one: it is that character alone, or it ends with the one before it, too; and so on the right. A merge of which neither
//! can be said of the characters that stand there never applies, so four characters rule out most merges that two let
//! pass. All such endings and beginnings of parts follow from the table. They are kept as a bitmap of a few bits a merge: what is
//! not among them may look as if it were, which costs a cut. What is asked about three characters serves two places: it is how a
//! right part begins and how a left part ends. O(1) a character, O(merges) to make.

use std::ops::Range;

use tokenloom_vocab::{TokenId, TokenTable};

use super::MergeTable;
use crate::pretokenize::Ends;

/// How the parts of merges end and begin: two bits for three characters.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    /// As many words as a power of two, less one.
    mask: usize,
    bits: Vec<u64>,
}

/// Some left part ends with the first two characters and the right one begins with the third.
const LEFT: u64 = 1;
/// Some left part ends with the first character and the right one begins with the other two. Where the first is none: the right
/// part is the third character alone.
const RIGHT: u64 = 2;

/// The bytes of a character as they follow each other, the first one lowest; or [`NO_CHAR`].
type Code = u32;

/// Beside a part that is one character, and behind a text. What is said of it is said of the character zero as well.
const NO_CHAR: Code = 0;

/// The character that begins at a byte, and where the next one does.
#[inline(always)]
fn code_at(text: &[u8], at: usize) -> (Code, usize) {
    /// By the upper half of the first byte.
    const N_BYTES: [u8; 16] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4];
    let bytes = match text.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => last_bytes(text, at),
    };
    let n_bytes = usize::from(N_BYTES[(bytes >> 4 & 0xF) as usize]);
    (bytes & u32::MAX >> (32 - 8 * n_bytes), at + n_bytes)
}

/// Fewer than four bytes, and zeros.
#[cold]
fn last_bytes(text: &[u8], at: usize) -> u32 {
    text.get(at..).unwrap_or_default().iter().rev().fold(0, |bytes, &byte| bytes << 8 | u32::from(byte))
}

/// Sums of products with odd numbers without a pattern are spread evenly over the high bits.
const FACTORS: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93, 0xA24B_AED4_963E_E407];

/// The part of a hash that the first of three characters has: of none nothing.
#[inline(always)]
fn one(c: Code) -> u64 {
    u64::from(c).wrapping_mul(FACTORS[0])
}

/// The part of the other two.
#[inline(always)]
fn two(second: Code, third: Code) -> u64 {
    u64::from(second).wrapping_mul(FACTORS[1]).wrapping_add(u64::from(third).wrapping_mul(FACTORS[2]))
}

/// How a token begins, `first` and `behind`, and how it ends, `before` and `last`.
#[derive(Clone, Copy, Debug)]
struct Edges {
    first: Code,
    behind: Code,
    before: Code,
    last: Code,
}

impl Edges {
    /// What is no text is not made of characters.
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = simdutf8::basic::from_utf8(bytes).ok()?;
        let code = |at: usize| code_at(bytes, at).0;
        let mut begins = text.char_indices().map(|(at, _)| at);
        let (first, behind) = (code(begins.next()?), begins.next().map_or(NO_CHAR, code));
        let mut ends = text.char_indices().rev().map(|(at, _)| at);
        let (last, before) = (code(ends.next()?), ends.next().map_or(NO_CHAR, code));
        Some(Self { first, behind, before, last })
    }
}

impl Contexts {
    const BITS_A_MERGE: usize = 4;

    /// Of merges of characters.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable) -> Self {
        let n_words = (Self::BITS_A_MERGE * merges.len() / 64).next_power_of_two();
        let mut this = Self { mask: n_words - 1, bits: vec![0; n_words] };
        // A token is a part of many merges.
        let edges: Vec<Option<Edges>> =
            (0..table.id_bound() as TokenId).map(|id| Edges::of(table.bytes(id)?)).collect();
        let edges_of = |id: TokenId| edges.get(id as usize).copied().flatten();
        for ((one, other), _) in merges.iter() {
            let (Some(one), Some(other)) = (edges_of(one), edges_of(other)) else { continue };
            this.add([one.before, one.last, other.first], LEFT);
            let right = match other.behind {
                NO_CHAR => [NO_CHAR, one.last, other.first],
                behind => [one.last, other.first, behind],
            };
            this.add(right, RIGHT);
        }
        this
    }

    fn add(&mut self, [first, second, third]: [Code; 3], bit: u64) {
        let hash = one(first).wrapping_add(two(second, third));
        self.bits[(hash >> 32) as usize & self.mask] |= bit.rotate_left((hash >> 58) as u32);
    }

    /// [`LEFT`] and [`RIGHT`] of three characters by their hash, and above them anything.
    #[inline(always)]
    fn get(&self, hash: u64) -> u64 {
        self.bits[(hash >> 32) as usize & self.mask].rotate_right((hash >> 58) as u32)
    }

    /// Appends the places inside the span, in order, that no merge crosses.
    pub(crate) fn cuts(&self, text: &str, span: Range<usize>, cuts: &mut Ends) {
        // From a character on that has two before it, if there are two.
        let first = text.floor_char_boundary(span.start);
        let start = text[..first].char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        let text = text.as_bytes();
        let (mut last, mut at) = code_at(text, start);
        let (mut first, mut behind_at) = code_at(text, at);
        let mut both = two(last, first);
        // Of the character before them and the two.
        let mut before = self.get(both);
        cuts.append(|room| {
            let mut n = 0;
            while at < span.end {
                let (behind, next_at) = code_at(text, behind_at);
                let alone = self.get(both);
                both = two(first, behind);
                let behind_too = self.get(one(last).wrapping_add(both));
                // No branch, as a guess where the cuts are is often wrong.
                let may_cross = ((alone | before) & LEFT != 0) & ((alone | behind_too) & RIGHT != 0);
                if let Some(cut) = room.get_mut(n) {
                    *cut = at;
                    n += usize::from((at > span.start) & !may_cross);
                }
                (last, first, before) = (first, behind, behind_too);
                (at, behind_at) = (behind_at, next_at);
            }
            n
        });
    }
}

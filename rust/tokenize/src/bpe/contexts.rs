//! Between which characters of a text does no merge cross?
//!
//! Where merging starts from characters, a merge that crosses between two of them has a left part that ends with the first
//! one: it is that character alone, or it ends with the one before it, too; and so on the right. A merge of which neither
//! can be said of the characters that stand there never applies, so four characters rule out most merges that two let
//! pass. All such endings and beginnings of parts follow from the table. They are kept as a bitmap of a few bits a merge: what is
//! not among them may look as if it were, which costs a cut. O(1) a character, O(merges) to make.

use std::ops::Range;

use tokenloom_vocab::{TokenId, TokenTable};

use super::MergeTable;

/// How the parts of merges end and begin.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    bits: Vec<u64>,
    shift: u32,
}

/// A character, or [`NO_CHAR`].
type Code = u32;

/// Where a part is one character. It fills the 21 bits that characters need and is none.
const NO_CHAR: Code = 0x1F_FFFF;

/// That a part ends with `before` and `last` and the other one begins with `first`.
#[inline]
fn left(before: Code, last: Code, first: Code) -> u64 {
    u64::from(before) << 42 | u64::from(last) << 21 | u64::from(first)
}

/// That a part ends with `last` and the other one begins with `first` and `behind`.
#[inline]
fn right(last: Code, first: Code, behind: Code) -> u64 {
    1 << 63 | left(last, first, behind)
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
        let (mut beginning, mut ending) = (text.chars(), text.chars().rev());
        let (first, last) = (beginning.next()?.into(), ending.next()?.into());
        let beside = |c: Option<char>| c.map_or(NO_CHAR, Code::from);
        Some(Self { first, behind: beside(beginning.next()), before: beside(ending.next()), last })
    }
}

impl Contexts {
    const BITS_A_MERGE: usize = 4;

    /// Of merges of characters.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable) -> Self {
        let n_bits = (Self::BITS_A_MERGE * merges.len()).next_power_of_two().max(64);
        let mut this = Self { bits: vec![0; n_bits / 64], shift: 64 - n_bits.trailing_zeros() };
        // A token is a part of many merges.
        let edges: Vec<Option<Edges>> =
            (0..table.id_bound() as TokenId).map(|id| Edges::of(table.bytes(id)?)).collect();
        let edges_of = |id: TokenId| edges.get(id as usize).copied().flatten();
        for ((one, other), _) in merges.iter() {
            let (Some(one), Some(other)) = (edges_of(one), edges_of(other)) else { continue };
            this.add(left(one.before, one.last, other.first));
            this.add(right(one.last, other.first, other.behind));
        }
        this
    }

    fn add(&mut self, key: u64) {
        let bit = self.bit(key);
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    #[inline]
    fn bit(&self, key: u64) -> usize {
        ((key ^ key >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    #[inline]
    fn has(&self, key: u64) -> bool {
        let bit = self.bit(key);
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Whether a merge may cross between the second and the third of four characters that follow each other.
    #[inline]
    fn may_cross(&self, [before, last, first, behind]: [Code; 4]) -> bool {
        (self.has(left(NO_CHAR, last, first)) || self.has(left(before, last, first)))
            && (self.has(right(last, first, NO_CHAR)) || self.has(right(last, first, behind)))
    }

    /// Calls `visit` with the places inside the span, in order, that no merge crosses.
    pub(crate) fn cuts(&self, text: &str, span: Range<usize>, mut visit: impl FnMut(usize)) {
        // From a character on that has two before it, if there are two.
        let start = (0..=span.start).rev().filter(|&at| text.is_char_boundary(at)).nth(2).unwrap_or(0);
        let mut chars = text[start..].char_indices().map(|(at, c)| (start + at, Code::from(c)));
        let mut next = || chars.next().unwrap_or((text.len(), NO_CHAR));
        let (mut before, (_, mut last), (mut at, mut first)) = (NO_CHAR, next(), next());
        while at < span.end {
            let (behind_at, behind) = next();
            if at > span.start && !self.may_cross([before, last, first, behind]) {
                visit(at);
            }
            (before, last, at, first) = (last, first, behind_at, behind);
        }
    }
}

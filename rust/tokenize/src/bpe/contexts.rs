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

/// How the parts of merges end and begin: two bits for three characters.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    bits: Vec<u64>,
    shift: u32,
}

/// Some left part ends with the first two characters and the right one begins with the third.
const LEFT: u64 = 1;
/// Some left part ends with the first character and the right one begins with the other two. Where the first is none: the right
/// part is the third character alone.
const RIGHT: u64 = 2;

/// A character, or [`NO_CHAR`].
type Code = u32;

/// Beside a part that is one character. It is none.
const NO_CHAR: Code = 0x1F_FFFF;

/// Sums of products with odd numbers without a pattern are spread evenly over the high bits.
const FACTORS: [u64; 3] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93, 0xA24B_AED4_963E_E407];

#[inline]
fn hash([one, two, three]: [Code; 3]) -> u64 {
    let product = |c: Code, at: usize| u64::from(c).wrapping_mul(FACTORS[at]);
    product(one, 0).wrapping_add(product(two, 1)).wrapping_add(product(three, 2))
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
        let mut this = Self { bits: vec![0; n_bits / 64], shift: 65 - n_bits.trailing_zeros() };
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

    /// Which word has the two bits, and from which bit on.
    #[inline]
    fn place(&self, chars: [Code; 3]) -> (usize, usize) {
        let pair = (hash(chars) >> self.shift) as usize;
        (pair / 32, pair % 32 * 2)
    }

    fn add(&mut self, chars: [Code; 3], bit: u64) {
        let (word, first) = self.place(chars);
        self.bits[word] |= bit << first;
    }

    /// [`LEFT`] and [`RIGHT`], and above them anything.
    #[inline]
    fn get(&self, chars: [Code; 3]) -> u64 {
        let (word, first) = self.place(chars);
        self.bits[word] >> first
    }

    /// Calls `visit` with the places inside the span, in order, that no merge crosses.
    pub(crate) fn cuts(&self, text: &str, span: Range<usize>, mut visit: impl FnMut(usize)) {
        // From a character on that has two before it, if there are two.
        let first = text.floor_char_boundary(span.start);
        let start = text[..first].char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        let mut chars = text[start..].char_indices().map(|(at, c)| (start + at, Code::from(c)));
        let mut next = || chars.next().unwrap_or((text.len(), NO_CHAR));
        let ((_, mut last), (mut at, mut first)) = (next(), next());
        // Of the character before them and the two.
        let mut before = self.get([NO_CHAR, last, first]);
        while at < span.end {
            let (behind_at, behind) = next();
            let (alone, behind_too) = (self.get([NO_CHAR, last, first]), self.get([last, first, behind]));
            let (left, right) = ((alone | before) & LEFT, (alone | behind_too) & RIGHT);
            // One branch for both, as a guess which one decides is often wrong.
            let may_cross = (left != 0) & (right != 0);
            if at > span.start && !may_cross {
                visit(at);
            }
            (last, at, first, before) = (first, behind_at, behind, behind_too);
        }
    }
}

//! Where may a text be cut so that its parts are merged by themselves?
//!
//! A merge crosses one place, that where its two parts meet, and the two bytes around that place are the last of one part
//! and the first of the other. So between two bytes that meet in no merge, and stand side by side in no symbol that
//! merging starts from, nothing ever crosses. One bit for each pair of bytes is all there is to know, and it holds for
//! any merge table. In SentencePiece vocabularies most cuts lie before a space, so a text without pretokens falls into
//! words.

use std::ops::Range;

use super::MergeTable;
use super::symbols::InitialSymbols;
use super::words::Word;
use tokenloom_vocab::TokenTable;

/// By two neighbouring bytes: the smallest rank of the merges that cross between them.
pub(crate) struct FirstRanks(Box<[u32]>);

/// Ranks lie between these two.
const ALWAYS: u32 = 0;
const NEVER: u32 = u32::MAX;

impl FirstRanks {
    /// Of all merges. A byte that is left out of the text separates nothing.
    pub(crate) fn new(table: &TokenTable, merges: &MergeTable, symbols: &InitialSymbols) -> Self {
        let mut ranks = vec![NEVER; 1 << 16].into_boxed_slice();
        for byte in (0..=255).filter(|&byte| symbols.of_byte(byte).is_none()) {
            for other in 0..=255 {
                ranks[index(byte, other)] = ALWAYS;
                ranks[index(other, byte)] = ALWAYS;
            }
        }
        for bytes in symbols.all(table).filter_map(|id| table.bytes(id)) {
            bytes.windows(2).for_each(|pair| ranks[index(pair[0], pair[1])] = ALWAYS);
        }
        for ((left, right), (rank, _)) in merges.iter() {
            let (left, right) =
                (table.bytes(left).unwrap_or_default(), table.bytes(right).unwrap_or_default());
            if let (Some(&before), Some(&behind)) = (left.last(), right.first()) {
                let first = &mut ranks[index(before, behind)];
                *first = rank.0.min(*first);
            }
        }
        Self(ranks)
    }

    /// From which rank on merges reach from one word into the next: the first that cross from a visible ASCII character to a
    /// space. Merges long before those of most such characters do not count, as tables have oddities. `None` if there is
    /// no such rank.
    pub(crate) fn transition(&self) -> Option<u32> {
        const N_ODD: usize = 3;
        let mut ranks: Vec<u32> = (b'!'..=b'~').map(|byte| self.0[index(byte, b' ')]).collect();
        ranks.sort_unstable();
        let usual = ranks[N_ODD];
        ranks.into_iter().find(|&rank| usual != NEVER && rank >= usual / 2)
    }
}

/// The pairs of bytes between which no merge of a stage crosses.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    crossed: Box<[u64; 1024]>,
}

impl Cuts {
    /// For the merges of ranks below `limit`.
    pub(crate) fn new(first: &FirstRanks, limit: u32) -> Self {
        let mut crossed = Box::new([0; 1024]);
        for (pair, _) in first.0.iter().enumerate().filter(|&(_, &rank)| rank < limit.max(ALWAYS + 1)) {
            crossed[pair / 64] |= 1 << (pair % 64);
        }
        Self { crossed }
    }

    #[inline]
    fn is_cut(&self, before: u8, behind: u8) -> bool {
        let pair = index(before, behind);
        self.crossed[pair / 64] >> (pair % 64) & 1 == 0
    }

    /// Whether there is a cut inside `bytes`.
    pub(crate) fn has_any(&self, bytes: &[u8]) -> bool {
        bytes.windows(2).any(|pair| self.is_cut(pair[0], pair[1]))
    }

    /// Appends the words of `span` of the text until there are `n_most`: those that fit, or all that are left. `words` holds
    /// fewer than that.
    #[inline]
    pub(crate) fn words(&self, text: &[u8], span: Range<usize>, n_most: usize, words: &mut Vec<Word>) {
        const BLOCK: usize = 64;
        let Range { mut start, end } = span;
        let Some(&first) = text.get(start) else { return };
        let mut before = first;
        let mut at = start + 1;
        while at < end {
            // A mask of a block, as a jump for each byte would be guessed wrong at every word.
            let block = &text[at..end.min(at + BLOCK)];
            let mut cuts = 0_u64;
            for (bit, &byte) in block.iter().enumerate() {
                cuts |= u64::from(self.is_cut(before, byte)) << bit;
                before = byte;
            }
            while cuts != 0 {
                let cut = at + cuts.trailing_zeros() as usize;
                words.push(Word::new(start, cut));
                if words.len() == n_most {
                    return;
                }
                start = cut;
                cuts &= cuts - 1;
            }
            at += block.len();
        }
        words.push(Word::new(start, end));
    }
}

#[inline]
fn index(before: u8, behind: u8) -> usize {
    usize::from(u16::from_be_bytes([before, behind]))
}

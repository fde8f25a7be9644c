//! Where may a text be cut so that its parts are merged by themselves?
//!
//! A merge crosses one place, that where its two parts meet, and the two bytes around that place are the last of one part
//! and the first of the other. So between two bytes that meet in no merge, and stand side by side in no symbol that
//! merging starts from, nothing ever crosses. A yes or no for each pair of bytes is all there is to know, and it holds for
//! any merge table. In SentencePiece vocabularies most cuts lie before a space, so a text without pretokens falls into
//! words.

use std::ops::Range;

use tokenloom_vocab::TokenTable;

use super::MergeTable;
use super::symbols::InitialSymbols;
use super::words::{Place, Word};
use crate::pretokenize::{Ends, MAX_BATCH};

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
                ranks[index([byte, other])] = ALWAYS;
                ranks[index([other, byte])] = ALWAYS;
            }
        }
        for bytes in symbols.all(table).filter_map(|id| table.bytes(id)) {
            bytes.windows(2).for_each(|pair| ranks[index([pair[0], pair[1]])] = ALWAYS);
        }
        for ((left, right), (rank, _)) in merges.iter() {
            let (left, right) =
                (table.bytes(left).unwrap_or_default(), table.bytes(right).unwrap_or_default());
            if let (Some(&before), Some(&behind)) = (left.last(), right.first()) {
                let first = &mut ranks[index([before, behind])];
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
        let mut ranks: Vec<u32> = (b'!'..=b'~').map(|byte| self.0[index([byte, b' '])]).collect();
        ranks.sort_unstable();
        let usual = ranks[N_ODD];
        ranks.into_iter().find(|&rank| usual != NEVER && rank >= usual / 2)
    }
}

/// The pairs of bytes between which no merge of a stage crosses.
#[derive(Clone, Debug)]
pub(crate) struct Cuts {
    /// A byte for each, as text is asked for all of its pairs.
    is_cut: Box<[bool; 1 << 16]>,
}

/// Longer words may be cut between characters as well.
const MAX_UNCUT_BYTES: usize = 16;

/// So many pairs of bytes are looked at before the cuts among them are.
const BLOCK: usize = 64;

impl Cuts {
    /// For the merges of ranks below `limit`.
    pub(crate) fn new(first: &FirstRanks, limit: u32) -> Self {
        let mut is_cut = Box::new([true; 1 << 16]);
        for (pair, _) in first.0.iter().enumerate().filter(|&(_, &rank)| rank < limit.max(ALWAYS + 1)) {
            is_cut[pair] = false;
        }
        Self { is_cut }
    }

    #[inline]
    fn is_cut(&self, pair: u16) -> bool {
        self.is_cut[usize::from(pair)]
    }

    /// Whether there is a cut inside `bytes`.
    pub(crate) fn has_any(&self, bytes: &[u8]) -> bool {
        bytes.array_windows().any(|&pair| self.is_cut(u16::from_le_bytes(pair)))
    }

    /// Calls `block` for each block of the text inside the span, in order, as long as that says to go on: with a bit for each of
    /// its bytes that a cut lies before. Bytes of one character that are cut from each other and from all else stay together:
    /// a word is looked up in the time of a byte.
    #[inline(always)]
    fn blocks(&self, text: &[u8], span: Range<usize>, mut block: impl FnMut(Range<usize>, u64) -> bool) {
        let mut at = span.start + 1;
        // Whether a cut lies before the byte before the block.
        let mut carry = 1;
        while at < span.end {
            let end = span.end.min(at + BLOCK);
            let mut padded = [0; BLOCK + 1];
            let pairs = text[at - 1..end].first_chunk().unwrap_or_else(|| {
                padded[..end - at + 1].copy_from_slice(&text[at - 1..end]);
                &padded
            });
            // No jump for each byte: a guess would be wrong at every word.
            let mut cuts = bits(pairs, |pair| self.is_cut(pair)) & u64::MAX >> (BLOCK - (end - at));
            let alone = cuts & (cuts << 1 | carry) & cuts >> 1;
            carry = cuts >> (BLOCK - 1);
            if alone != 0 && !pairs.is_ascii() {
                cuts &= !(alone & bits(pairs, |pair| pair & 0xC000 == 0x8000));
            }
            if !block(at..end, cuts) {
                return;
            }
            at = end;
        }
    }

    /// Appends words of the pieces from `place` on, and moves it behind them: of the pieces that follow each other without a gap,
    /// until there are `n_most`. `words` holds fewer than that.
    pub(crate) fn words(
        &self,
        text: &[u8],
        pieces: &[Range<usize>],
        place: &mut Place,
        n_most: usize,
        words: &mut Vec<Word>,
    ) {
        let pieces = &pieces[place.piece..];
        let mut pairs = pieces.array_windows().take(n_most);
        let last =
            pairs.position(|[one, next]| one.end != next.start).unwrap_or((pieces.len() - 1).min(n_most));
        let end = pieces[last].end;
        let mut n_pieces = 0;
        self.blocks(text, place.start..end, |block, mut cuts| {
            let ends = pieces[n_pieces..].iter().map(|piece| piece.end).take_while(|&end| end < block.end);
            ends.for_each(|end| cuts |= 1 << (end - block.start));
            while cuts != 0 {
                let end = block.start + cuts.trailing_zeros() as usize;
                let ends_piece = end == pieces[n_pieces].end;
                words.push(Word { start: place.start, end, ends_piece });
                place.start = end;
                n_pieces += usize::from(ends_piece);
                if words.len() == n_most {
                    return false;
                }
                cuts &= cuts - 1;
            }
            true
        });
        if words.len() < n_most {
            words.push(Word { start: place.start, end, ends_piece: true });
            n_pieces += 1;
            place.start = pieces.get(n_pieces).map_or(end, |piece| piece.start);
        }
        place.piece += n_pieces;
    }

    /// Appends the ends of words of `text` from byte `start` on, where one starts: at most [`MAX_BATCH`], fewer only at the end
    /// of the text or where those of the next block might not fit. Of long words `inside` appends
    /// where else they may be cut; it is asked about each place once.
    #[inline(always)]
    pub(crate) fn ends(
        &self,
        text: &[u8],
        start: usize,
        ends: &mut Ends,
        inside: impl Fn(Range<usize>, &mut Ends),
    ) {
        // Those of a block, and of the blocks before it the places that were not asked about.
        const MAX_A_BLOCK: usize = BLOCK + MAX_UNCUT_BYTES;
        ends.make_room();
        let (mut word, mut asked, mut is_all) = (start, start, true);
        self.blocks(text, start..text.len(), |block, mut cuts| {
            let reached = (1 << (MAX_UNCUT_BYTES + 1).saturating_sub(block.start - word)) - 1;
            if cuts != 0 && reached | behind(cuts) == u64::MAX {
                ends.push_bits(block.start, cuts);
                word = block.start + cuts.ilog2() as usize;
            } else {
                loop {
                    let end = block.end.min(block.start + cuts.trailing_zeros() as usize);
                    if end - word > MAX_UNCUT_BYTES {
                        inside(word.max(asked)..end, ends);
                        word = ends.last().copied().unwrap_or(start);
                        asked = end - 1;
                    }
                    if cuts == 0 {
                        break;
                    }
                    ends.push(end);
                    word = end;
                    cuts &= cuts - 1;
                }
            }
            is_all = ends.len() + MAX_A_BLOCK < MAX_BATCH;
            is_all
        });
        if is_all {
            ends.push(text.len());
        }
    }
}

/// Bit `i` says what `flag` says of bytes `i` and `i + 1`, the second one above the first. Eight at a time from two words: a loop
/// of known length becomes code without one.
#[inline(always)]
fn bits(bytes: &[u8; BLOCK + 1], flag: impl Fn(u16) -> bool) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    let (words_behind, _) = bytes[1..].as_chunks::<8>();
    let mut bits = 0;
    for (word, behind) in words.iter().zip(words_behind).rev() {
        let (word, behind) = (u64::from_le_bytes(*word), u64::from_le_bytes(*behind));
        for at in (1..8).rev() {
            bits = bits << 1 | u64::from(flag((behind >> (8 * (at - 1))) as u16));
        }
        bits = bits << 1 | u64::from(flag(word as u16));
    }
    bits
}

/// The [`MAX_UNCUT_BYTES`] places behind each place.
#[inline(always)]
fn behind(places: u64) -> u64 {
    const { assert!(MAX_UNCUT_BYTES.is_power_of_two()) };
    (0..MAX_UNCUT_BYTES.ilog2()).fold(places << 1, |all, step| all | all << (1 << step))
}

#[inline]
fn index(pair: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(pair))
}

//! What does a word look like after these merges?
//!
//! The merges are applied one after the other in their order, each to all its occurrences from left to right, as they
//! were made. That is *encoding* but for one case: a pair that begins after its turn has passed stays. Word by word with
//! a heap of (place in the order, slot): O(m log m) for a word of m symbols, whatever they are, and independent of the
//! number of merges.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::Merge;
use super::symbols::BOUNDARY;

/// Merges in an order, to be applied to many words.
pub(super) struct Replay<'a> {
    merges: &'a [Merge],
    turns: FxHashMap<(TokenId, TokenId), u32>,
    /// By turn: the next one of the same pair, or none.
    next_turns: Vec<u32>,
}

const NONE: u32 = u32::MAX;

/// Scratch space of one thread.
#[derive(Debug, Default)]
pub(super) struct Applied {
    symbols: Vec<TokenId>,
    widths: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl<'a> Replay<'a> {
    /// A replay of `merges`.
    pub(super) fn new(merges: &'a [Merge]) -> Self {
        let (mut turns, mut next_turns) = (FxHashMap::default(), vec![NONE; merges.len()]);
        for (turn, merge) in merges.iter().enumerate().rev() {
            next_turns[turn] = turns.insert((merge.left, merge.right), turn as u32).unwrap_or(NONE);
        }
        Self { merges, turns, next_turns }
    }

    /// The first turn of a pair behind `turn`.
    fn turn_behind(&self, turn: u32, left: TokenId, right: TokenId) -> Option<u32> {
        let mut later = self.turns.get(&(left, right)).copied()?;
        while later <= turn {
            later = self.next_turns[later as usize];
        }
        (later != NONE).then_some(later)
    }

    /// Appends what becomes of `word` to `tokens`.
    pub(super) fn apply(&self, word: &[TokenId], applied: &mut Applied, tokens: &mut Vec<TokenId>) {
        let Applied { symbols, widths, heap } = applied;
        symbols.clear();
        symbols.push(BOUNDARY);
        symbols.extend_from_slice(word);
        symbols.push(BOUNDARY);
        widths.clear();
        widths.resize(symbols.len(), 1);
        for slot in 1..=word.len() {
            if let Some(&turn) = self.turns.get(&(symbols[slot], symbols[slot + 1])) {
                heap.push(Reverse((turn, slot as u32)));
            }
        }
        while let Some(Reverse((turn, slot))) = heap.pop() {
            let merge = self.merges[turn as usize];
            let slot = slot as usize;
            if symbols[slot] != merge.left {
                continue;
            }
            let next = slot + widths[slot] as usize;
            if symbols[next] != merge.right {
                continue;
            }
            let width = widths[slot] + widths[next];
            let end = slot + width as usize;
            symbols[slot] = merge.result;
            symbols[next] = BOUNDARY;
            widths[slot] = width;
            widths[end - 1] = width;
            let before = slot - widths[slot - 1] as usize;
            for (at, left, right) in
                [(before, symbols[before], merge.result), (slot, merge.result, symbols[end])]
            {
                if let Some(later) = self.turn_behind(turn, left, right) {
                    heap.push(Reverse((later, at as u32)));
                }
            }
        }
        let mut slot = 1;
        while slot <= word.len() {
            tokens.push(symbols[slot]);
            slot += widths[slot] as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(merges: &[(TokenId, TokenId, TokenId)], word: &[u8]) -> Vec<TokenId> {
        let merges: Vec<Merge> =
            merges.iter().map(|&(left, right, result)| Merge { left, right, result }).collect();
        let word: Vec<TokenId> = word.iter().map(|&byte| TokenId::from(byte)).collect();
        let (mut applied, mut tokens) = (Applied::default(), Vec::new());
        Replay::new(&merges).apply(&word, &mut applied, &mut tokens);
        tokens
    }

    const A: TokenId = b'a' as TokenId;
    const B: TokenId = b'b' as TokenId;

    #[test]
    fn runs_merge_from_the_left() {
        assert_eq!(replay(&[(A, A, 300), (300, A, 301), (300, B, 302)], b"aaabaa"), [301, B, 300]);
    }

    #[test]
    fn a_pair_that_begins_after_its_turn_stays() {
        let merges = [(300, B, 301), (A, A, 300)];
        assert_eq!(replay(&merges, b"aab"), [300, B]);
        let twice = [merges[0], merges[1], merges[0]];
        assert_eq!(replay(&twice, b"aab"), [301]);
        assert_eq!(replay(&merges, b""), []);
    }
}

//! What does a chunk look like after merges made elsewhere?
//!
//! The merges are applied one after the other in their order, each to all its occurrences from left to right, as the
//! second stage of SuperBPE inherits the merges of the first. That is *encoding* but for one case: a pair that begins
//! after its turn has passed stays. Chunk by chunk with a heap of (place in the order, slot): O(m log m) for a chunk of
//! m bytes, whatever the bytes, and independent of the number of merges.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::Merge;
use super::symbols::BOUNDARY;

/// Merges in an order, to be applied to many chunks.
pub(super) struct Replay<'a> {
    merges: &'a [Merge],
    turns: FxHashMap<(TokenId, TokenId), u32>,
    byte_ids: &'a [TokenId; 256],
}

/// Scratch space of one thread, and which merges it has applied so far.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) is_used: Vec<bool>,
    tokens: Vec<TokenId>,
    widths: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl<'a> Replay<'a> {
    /// A replay of `merges`, whose pairs are distinct.
    pub(super) fn new(merges: &'a [Merge], byte_ids: &'a [TokenId; 256]) -> Self {
        let turns = merges.iter().enumerate().map(|(turn, m)| ((m.left, m.right), turn as u32)).collect();
        Self { merges, turns, byte_ids }
    }

    /// No merge used yet.
    pub(super) fn begin(&self) -> Applied {
        Applied {
            is_used: vec![false; self.merges.len()],
            tokens: Vec::new(),
            widths: Vec::new(),
            heap: BinaryHeap::new(),
        }
    }

    /// Appends the tokens of `chunk` to `tokens`.
    pub(super) fn apply(&self, chunk: &[u8], applied: &mut Applied, tokens: &mut Vec<TokenId>) {
        let Applied { is_used, tokens: symbols, widths, heap } = applied;
        symbols.clear();
        symbols.push(BOUNDARY);
        symbols.extend(chunk.iter().map(|&byte| self.byte_ids[byte as usize]));
        symbols.push(BOUNDARY);
        widths.clear();
        widths.resize(symbols.len(), 1);
        let turn_of = |left, right| self.turns.get(&(left, right)).copied();
        for slot in 1..=chunk.len() {
            if let Some(turn) = turn_of(symbols[slot], symbols[slot + 1]) {
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
            is_used[turn as usize] = true;
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
                if let Some(later) = turn_of(left, right).filter(|&later| later > turn) {
                    heap.push(Reverse((later, at as u32)));
                }
            }
        }
        let mut slot = 1;
        while slot <= chunk.len() {
            tokens.push(symbols[slot]);
            slot += widths[slot] as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(merges: &[(TokenId, TokenId, TokenId)], chunk: &[u8]) -> (Vec<TokenId>, Vec<bool>) {
        let merges: Vec<Merge> =
            merges.iter().map(|&(left, right, result)| Merge { left, right, result }).collect();
        let byte_ids = std::array::from_fn(|byte| byte as TokenId);
        let replay = Replay::new(&merges, &byte_ids);
        let (mut applied, mut tokens) = (replay.begin(), Vec::new());
        replay.apply(chunk, &mut applied, &mut tokens);
        (tokens, applied.is_used)
    }

    const A: TokenId = b'a' as TokenId;
    const B: TokenId = b'b' as TokenId;

    #[test]
    fn runs_merge_from_the_left() {
        let (tokens, used) = replay(&[(A, A, 300), (300, A, 301), (300, B, 302)], b"aaabaa");
        assert_eq!(tokens, [301, B, 300]);
        assert_eq!(used, [true, true, false]);
    }

    #[test]
    fn a_pair_that_begins_after_its_turn_stays() {
        let merges = [(300, B, 301), (A, A, 300)];
        assert_eq!(replay(&merges, b"aab").0, [300, B]);
        assert_eq!(replay(&merges, b"").0, []);
    }
}

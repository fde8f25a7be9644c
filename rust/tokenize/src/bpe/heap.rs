//! What does byte pair encoding make of these symbols, by its definition?
//!
//! While two neighbours merge, apply the merge of the smallest rank, the leftmost where ranks tie. A binary heap holds
//! `(rank, position)` of every pair that merges, packed into 64 bits; an entry is stale when the pair at its position
//! has another rank by now. O(n log n) time for any merge table, 28 bytes of scratch a symbol. This is the engine for
//! merge tables that the linear one is not made for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokenloom_vocab::TokenId;

use super::merges::MergesBelow;

/// Reusable memory of [`merge_all`].
#[derive(Clone, Debug, Default)]
pub(crate) struct HeapScratch {
    symbols: Vec<Symbol>,
    queue: Vec<Reverse<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: TokenId,
    /// Symbols before and behind; `NONE` at the ends.
    prev: u32,
    next: u32,
    /// Rank of the merge with the next symbol, `NONE` where there is none or this symbol is gone.
    rank: u32,
    /// What that merge makes.
    result: TokenId,
}

const NONE: u32 = u32::MAX;

impl HeapScratch {
    /// Adds a symbol behind the others.
    #[inline]
    pub(crate) fn push(&mut self, id: TokenId) {
        let at = self.symbols.len() as u32;
        self.symbols.push(Symbol { id, prev: at.wrapping_sub(1), next: at + 1, rank: NONE, result: 0 });
    }
}

/// Encodes the symbols that were pushed and calls `emit` for each token. Returns the last merge applied.
/// The caller keeps pieces below 2^32 symbols.
pub(crate) fn merge_all(
    merges: MergesBelow<'_>,
    scratch: &mut HeapScratch,
    emit: impl FnMut(TokenId),
) -> Option<(TokenId, TokenId)> {
    merge_some(merges, scratch, |_| false, emit)
}

/// The same with dropout: an entry of the heap for which `drops` answers true (it is told the result, `None` for a
/// stale entry) is put aside, and is back in the heap once another entry was taken. This is what Hugging Face
/// `tokenizers` does.
pub(crate) fn merge_some(
    merges: MergesBelow<'_>,
    scratch: &mut HeapScratch,
    mut drops: impl FnMut(Option<TokenId>) -> bool,
    mut emit: impl FnMut(TokenId),
) -> Option<(TokenId, TokenId)> {
    let HeapScratch { symbols: list, queue } = scratch;
    list.last_mut()?.next = NONE;
    let mut waiting = std::mem::take(queue);
    waiting.clear();
    for at in 0..list.len() - 1 {
        waiting.extend(look_up(merges, list, at as u32));
    }
    let mut heap = BinaryHeap::from(waiting);
    let mut dropped: Vec<Reverse<u64>> = Vec::new();
    let mut last_merge = None;
    while let Some(Reverse(entry)) = heap.pop() {
        let (rank, at) = ((entry >> 32) as u32, entry as u32);
        let Symbol { id, prev, next, rank: current, result } = list[at as usize];
        if drops((current == rank).then_some(result)) {
            dropped.push(Reverse(entry));
            continue;
        }
        heap.extend(dropped.drain(..));
        if current != rank {
            continue;
        }
        let right = list[next as usize];
        last_merge = Some((id, right.id));
        list[next as usize].rank = NONE;
        list[at as usize] = Symbol { id: result, prev, next: right.next, rank: NONE, result: 0 };
        if right.next != NONE {
            list[right.next as usize].prev = at;
            heap.extend(look_up(merges, list, at));
        }
        if prev != NONE {
            heap.extend(look_up(merges, list, prev));
        }
    }
    let mut at = 0;
    while at != NONE {
        emit(list[at as usize].id);
        at = list[at as usize].next;
    }
    list.clear();
    *queue = heap.into_vec();
    last_merge
}

/// Notes what the symbol at `at` becomes with the next one, and gives the entry of the heap for it.
#[inline]
fn look_up(merges: MergesBelow<'_>, list: &mut [Symbol], at: u32) -> Option<Reverse<u64>> {
    let symbol = list[at as usize];
    let found = merges.get(symbol.id, list[symbol.next as usize].id);
    let (rank, result) = found.map_or((NONE, 0), |(rank, result)| (rank.0, result));
    list[at as usize].rank = rank;
    list[at as usize].result = result;
    (rank != NONE).then_some(Reverse(u64::from(rank) << 32 | u64::from(at)))
}

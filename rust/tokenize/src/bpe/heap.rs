//! What does byte pair encoding make of these bytes, by its definition?
//!
//! Start from single bytes; while two neighbours merge, apply the merge of the smallest rank, the leftmost where
//! ranks tie. A binary heap holds `(rank, position)` of every pair that merges; an entry is stale when the pair at its
//! position has another rank by now. O(n log n) time for any merge table, 16 bytes of scratch a byte. This is the
//! engine for merge tables that the linear one is not made for, and its oracle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokenloom_vocab::TokenId;

use super::MergeTable;

/// Reusable memory of [`merge_all`].
#[derive(Clone, Debug, Default)]
pub(crate) struct HeapScratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: TokenId,
    prev: u32,
    next: u32,
    /// Rank of the merge with the next symbol, `NONE` where there is none or this symbol is gone.
    rank: u32,
}

const NONE: u32 = u32::MAX;

impl HeapScratch {
    /// Adds a symbol behind the others.
    #[inline]
    pub(crate) fn push(&mut self, id: TokenId) {
        let at = self.symbols.len() as u32;
        self.symbols.push(Symbol { id, prev: at.wrapping_sub(1), next: at + 1, rank: NONE });
    }
}

/// Encodes the symbols that were pushed and calls `emit` for each token. Returns the last merge applied.
/// The caller keeps pieces below 2^32 symbols.
pub(crate) fn merge_all(
    merges: &MergeTable,
    scratch: &mut HeapScratch,
    mut emit: impl FnMut(TokenId),
) -> Option<(TokenId, TokenId)> {
    let HeapScratch { symbols: list, queue } = scratch;
    queue.clear();
    list.last_mut()?.next = NONE;
    for at in 0..list.len() - 1 {
        push(merges, list, queue, at as u32);
    }
    let mut last_merge = None;
    while let Some(Reverse(entry)) = queue.pop() {
        let (rank, at) = ((entry >> 32) as u32, entry as u32);
        if list[at as usize].rank != rank {
            continue;
        }
        let Symbol { id, prev, next, .. } = list[at as usize];
        let right = list[next as usize];
        let Some((_, result)) = merges.get(id, right.id) else { continue };
        last_merge = Some((id, right.id));
        list[next as usize].rank = NONE;
        list[at as usize] = Symbol { id: result, prev, next: right.next, rank: NONE };
        if right.next != NONE {
            list[right.next as usize].prev = at;
            push(merges, list, queue, at);
        }
        if prev != NONE {
            push(merges, list, queue, prev);
        }
    }
    let mut at = 0;
    while at != NONE {
        emit(list[at as usize].id);
        at = list[at as usize].next;
    }
    list.clear();
    last_merge
}

fn push(merges: &MergeTable, list: &mut [Symbol], queue: &mut BinaryHeap<Reverse<u64>>, at: u32) {
    let symbol = list[at as usize];
    let rank = match merges.get(symbol.id, list[symbol.next as usize].id) {
        Some((rank, _)) => rank.0,
        None => NONE,
    };
    list[at as usize].rank = rank;
    if rank != NONE {
        queue.push(Reverse(u64::from(rank) << 32 | u64::from(at)));
    }
}

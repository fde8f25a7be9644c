//! Which pair is merged next?
//!
//! The one with the largest count; among equals the one with the smaller left id, then the smaller right id: the rule
//! of the Hugging Face trainer. A pair is queued under the count it has when it begins. Its count can only fall; when
//! it comes up under a count that is no longer true it goes back under the true one.
//!
//! No token is made in two steps, so no pair begins in two. Take a place where the token T stands in the end. Until T
//! was made nothing crossed its borders, so what happened inside did not depend on what stands outside (a run of equal
//! symbols that reaches over a border is paired from its left end, and no pair lay across, so the part inside is paired
//! from its own left end). Inside, then, the same happened at every such place: T was made of the same two tokens in
//! the same step. A pair that is refused or too long is so everywhere and changes nothing in this.
//!
//! Complexity: O(n log n) for n symbols of distinct words, whatever the words: each merge ends one symbol, lists two
//! slots and changes four counts, and a pair goes back into the queue only after a change.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use tokenloom_vocab::TokenId;

use super::inventory::{Inventory, MAX_TOKEN_BYTES};
use super::pairs::Pairs;
use super::step::{Merging, Step};
use super::symbols::Symbols;
use super::{Merge, Progress, Stage, TrainError, TrainErrorKind};

/// Slots that may be visited between two calls of the progress function.
const SLOTS_PER_REPORT: usize = 1 << 20;
/// Merges that may be made between two calls of the progress function.
const MERGES_PER_REPORT: usize = 64;

/// When to stop, and what not to merge.
pub(super) struct Rule<'a> {
    pub(super) vocab_size: usize,
    pub(super) min_frequency: u64,
    pub(super) max_token_length: usize,
    /// Whether the string of a merged token is refused.
    pub(super) is_refused: &'a dyn Fn(&[u8]) -> bool,
}

impl Rule<'_> {
    /// The Hugging Face trainer counts the pairs of single bytes before it looks at lengths.
    fn takes_length(&self, n_bytes: usize) -> bool {
        n_bytes <= 2 || n_bytes < self.max_token_length
    }
}

/// Count, ids and place of a pair: the largest comes up first.
type Entry = (i64, Reverse<(TokenId, TokenId)>, u32);

/// Merges pairs until the vocabulary is full or no pair is frequent enough, and adds each merge to `merges`.
pub(super) fn merge_pairs(
    mut symbols: Symbols,
    inventory: &mut Inventory,
    merges: &mut Vec<Merge>,
    rule: &Rule<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), TrainError> {
    symbols.check_counts()?;
    let mut pairs = Pairs::count(&symbols);
    let is_short = |at: &u32| {
        let pair = pairs.pair(*at);
        rule.takes_length(inventory.bytes(pair.left).len() + inventory.bytes(pair.right).len())
    };
    let mut queue: BinaryHeap<Entry> =
        (0..pairs.len()).filter(is_short).filter_map(|at| entry(&pairs, at)).collect();
    let mut step = Step::default();
    let (mut token, mut slots) = (Vec::new(), Vec::new());
    let first_size = inventory.len();
    let (mut n_slots_unreported, mut n_merges_unreported) = (SLOTS_PER_REPORT, 0);
    while inventory.len() < rule.vocab_size {
        if n_slots_unreported >= SLOTS_PER_REPORT || n_merges_unreported >= MERGES_PER_REPORT {
            let (done, total) = (inventory.len() - first_size, rule.vocab_size - first_size);
            if progress(Progress { stage: Stage::Merge, n_done: done as u64, n_total: total as u64 })
                .is_break()
            {
                return Err(TrainErrorKind::Interrupted.into());
            }
            (n_slots_unreported, n_merges_unreported) = (0, 0);
        }
        let Some((queued_count, _, at)) = queue.pop() else { break };
        let pair = pairs.pair(at);
        if pair.count != queued_count {
            queue.extend(entry(&pairs, at));
            continue;
        }
        if (pair.count as u64) < rule.min_frequency {
            break;
        }
        token.clear();
        token.extend_from_slice(inventory.bytes(pair.left));
        token.extend_from_slice(inventory.bytes(pair.right));
        if (rule.is_refused)(&token) {
            continue;
        }
        let merged = inventory.id_or_insert(&token);
        if inventory.n_bytes() > MAX_TOKEN_BYTES {
            let (n_bytes, limit) = (inventory.n_bytes() as u64, MAX_TOKEN_BYTES as u64);
            return Err(TrainErrorKind::TokensTooLong { n_bytes, limit, n_merges: merges.len() }.into());
        }
        merges.push(Merge { left: pair.left, right: pair.right, result: merged });
        slots.clear();
        slots.extend_from_slice(pairs.slots(at));
        let may_begin = |other| rule.takes_length(inventory.bytes(other).len() + token.len());
        let merging = Merging { left: pair.left, right: pair.right, merged };
        let first_begun = pairs.len();
        step.apply(merging, &slots, &mut symbols, &mut pairs, may_begin);
        queue.extend((first_begun..pairs.len()).filter_map(|at| entry(&pairs, at)));
        n_slots_unreported += slots.len();
        n_merges_unreported += 1;
    }
    Ok(())
}

/// The queue entry of a pair; none for a pair that occurs no more.
fn entry(pairs: &Pairs, at: u32) -> Option<Entry> {
    let pair = pairs.pair(at);
    (pair.count > 0).then_some((pair.count, Reverse((pair.left, pair.right)), at))
}

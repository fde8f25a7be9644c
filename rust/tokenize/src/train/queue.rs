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
//! the same step. A pair that is refused or too long is so everywhere and changes nothing in this. Only where the
//! symbols are those of an older tokenizer, or where symbols have prefixes or suffixes that texts may hold, too, can a string
//! be made that has an id already, and a pair begin again.
//!
//! Hence a bound: a pair that is rarer than `bound` stays so, and so does every pair that a later merge makes of its
//! two sides. While the best pair is not rarer than `bound`, leaving those out changes nothing. If the vocabulary is not
//! full when they run out, [`Outcome::BoundReached`] says so and the caller goes on with a lower bound.
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
use super::veto::Veto;
use super::{Merge, Progress, Stage, TrainError, TrainErrorKind};

/// Slots that may be visited between two calls of the progress function.
const SLOTS_PER_REPORT: usize = 1 << 20;
/// Merges that may be made between two calls of the progress function.
const MERGES_PER_REPORT: usize = 64;

/// When to stop, and what not to merge.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) stage: usize,
    pub(super) vocab_size: usize,
    pub(super) max_token_length: usize,
    pub(super) veto: &'a Veto,
    /// Rarer pairs are not merged.
    pub(super) min_count: i64,
    /// No merge makes a string that is a token already.
    pub(super) is_new_only: bool,
    /// A merge that makes one ends the merging before it is made: behind it pairs may begin again.
    pub(super) ends_at_known: bool,
}

impl Rule<'_> {
    /// The Hugging Face trainer counts the pairs of single symbols before it looks at lengths.
    fn takes_length(&self, width: usize) -> bool {
        width <= 2 || width < self.max_token_length
    }
}

/// How merging ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The vocabulary is full, or all that is left is too rare.
    Full,
    /// No pair above the bound is left.
    BoundReached,
    /// The next merge would make a string that is a token already.
    KnownReached,
}

/// What was merged so far.
pub(super) struct Merged {
    pub(super) inventory: Inventory,
    /// Each step; a pair that began again is here again.
    pub(super) merges: Vec<Merge>,
    /// How often the pair of each of the last steps occurred.
    pub(super) counts: Vec<i64>,
}

/// Count, ids and place of a pair: the largest comes up first.
type Entry = (i64, Reverse<(TokenId, TokenId)>, u32);

/// Merges pairs until the vocabulary is full or no pair is left, and adds each merge to `merged`.
pub(super) fn merge_pairs(
    mut symbols: Symbols,
    mut pairs: Pairs,
    merged: &mut Merged,
    rule: &Rule<'_>,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    let Merged { inventory, merges, counts } = merged;
    for at in 0..pairs.len() {
        let pair = pairs.pair(at);
        if !rule.takes_length(inventory.width(pair.left) + inventory.width(pair.right)) {
            pairs.give_up(at);
        }
    }
    let mut queue: BinaryHeap<Entry> = (0..pairs.len()).filter_map(|at| entry(&pairs, at)).collect();
    let mut step = Step::default();
    let (mut token, mut slots) = (Vec::new(), Vec::new());
    let (mut n_slots_unreported, mut n_merges_unreported) = (SLOTS_PER_REPORT, 0);
    while inventory.len() < rule.vocab_size {
        if n_slots_unreported >= SLOTS_PER_REPORT || n_merges_unreported >= MERGES_PER_REPORT {
            let (n_done, n_total) = (inventory.len() as u64, rule.vocab_size as u64);
            let (kind, stage, n_pairs) = (Stage::Merge, rule.stage, pairs.len() as u64);
            if progress(Progress { kind, stage, n_done, n_total, n_pairs, merges, counts }).is_break() {
                return Err(TrainErrorKind::Interrupted.into());
            }
            (n_slots_unreported, n_merges_unreported) = (0, 0);
        }
        let Some((queued_count, _, at)) = queue.pop() else { return Ok(Outcome::BoundReached) };
        let pair = pairs.pair(at);
        if pair.count != queued_count {
            queue.extend(entry(&pairs, at));
            continue;
        }
        if pair.count < rule.min_count {
            return Ok(Outcome::Full);
        }
        token.clear();
        inventory.join(pair.left, pair.right, &mut token);
        let is_known = || rule.is_new_only && inventory.id(&token).is_some();
        if rule.veto.refuses(&token) || inventory.is_taken(&token) || is_known() {
            pairs.give_up(at);
            continue;
        }
        if rule.ends_at_known && inventory.id(&token).is_some() {
            return Ok(Outcome::KnownReached);
        }
        let result = inventory.id_or_insert_joined(pair.left, pair.right, &token);
        if inventory.n_bytes() > MAX_TOKEN_BYTES {
            let (n_bytes, limit) = (inventory.n_bytes() as u64, MAX_TOKEN_BYTES as u64);
            return Err(TrainErrorKind::TokensTooLong { n_bytes, limit, n_merges: merges.len() }.into());
        }
        merges.push(Merge { left: pair.left, right: pair.right, result });
        counts.push(pair.count);
        slots.clear();
        slots.extend_from_slice(pairs.slots(at));
        pairs.give_up(at);
        let may_begin = |other| rule.takes_length(inventory.width(other) + inventory.width(result));
        let merging = Merging { left: pair.left, right: pair.right, merged: result };
        let first_begun = pairs.len();
        step.apply(merging, &slots, &mut symbols, &mut pairs, may_begin);
        queue.extend((first_begun..pairs.len()).filter_map(|at| entry(&pairs, at)));
        if pairs.is_idle() {
            pairs.compact(|slot, left, right| symbols.find(slot, left, right).is_some());
            queue.clear();
            queue.extend((0..pairs.len()).filter_map(|at| entry(&pairs, at)));
        }
        n_slots_unreported += slots.len();
        n_merges_unreported += 1;
    }
    Ok(Outcome::Full)
}

/// The queue entry of a pair; none for a pair that is gone.
fn entry(pairs: &Pairs, at: u32) -> Option<Entry> {
    let pair = pairs.pair(at);
    (pair.count > 0).then_some((pair.count, Reverse((pair.left, pair.right)), at))
}

//! Which two tokens merge, and when?
//!
//! One flat table from `(left, right)` to `(rank, result)`, open-addressed, two thirds full, four slots a cache line.
//! Nearly all questions are about pairs that do not merge, so a bitmap with eight bits a merge, small enough for the
//! second cache, answers most of them first. A file may list several merges for one result (every way to cut it), ranks
//! need not follow ids, and a part may itself be made by a later merge; nothing here assumes otherwise. Of two entries
//! for one pair the later one counts, as in Hugging Face `tokenizers`. O(1) a question, 25 bytes a merge.

use tokenloom_vocab::{Rank, TokenId, TokenTable};

use crate::BuildErrorKind;
use crate::large_pages::Table;
use crate::prefetch::prefetch;
use crate::spec::{Merge, Ranks};

/// The merges of a model, looked up by their two parts.
#[derive(Clone, Debug)]
pub struct MergeTable {
    slots: Table<Slot>,
    /// Bit `hash >> filter_shift` is set if some pair of that hash merges.
    filter: Vec<u64>,
    filter_shift: u32,
    n_merges: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `NO_KEY` where the slot is free.
    key: u64,
    rank: u32,
    result: TokenId,
}

/// No pair: ids are smaller.
const NO_KEY: u64 = u64::MAX;
/// The place of a merge is asked for while those before it are checked.
const AHEAD: usize = 8;
/// Above every rank.
const NO_RANK: u32 = u32::MAX;
const FREE: Slot = Slot { key: NO_KEY, rank: 0, result: 0 };

#[inline]
fn key(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The high bits depend on all of both ids.
#[inline]
fn hash(key: u64) -> u64 {
    (key ^ key >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Whether two tokens merge, on its way from memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Question {
    key: u64,
    hash: u64,
}

impl Question {
    #[inline]
    fn of(left: TokenId, right: TokenId) -> Self {
        let key = key(left, right);
        Self { key, hash: hash(key) }
    }
}

impl MergeTable {
    /// The largest number of merges: ranks and one more than a rank fit 32 bits.
    pub const MAX_MERGES: usize = (1 << 31) - 1;

    /// Builds the table and checks every merge against the token bytes. Merges that share a rank have that
    /// of the first of them.
    ///
    /// # Errors
    /// [`BuildErrorKind::UnknownMergeToken`], [`BuildErrorKind::MergeBytes`], [`BuildErrorKind::Ranks`], [`BuildErrorKind::TooManyMerges`].
    pub fn new(merges: &[Merge], ranks: &Ranks, table: &TokenTable) -> Result<Self, BuildErrorKind> {
        if merges.len() > Self::MAX_MERGES {
            return Err(BuildErrorKind::TooManyMerges { n_merges: merges.len(), limit: Self::MAX_MERGES });
        }
        let mut this = Self::with_room(merges.len());
        // By result, where merges of one result share a rank.
        let mut ranks_of_results = match ranks {
            Ranks::ByResult | Ranks::Splits => vec![NO_RANK; table.id_bound()],
            _ => Vec::new(),
        };
        let mut last_group: Option<(u32, Rank)> = None;
        for (index, &Merge { left, right, result }) in merges.iter().enumerate() {
            this.prefetch_of(merges.get(index + AHEAD));
            let are_joined = table.are_joined(left, right, result);
            if !are_joined.map_err(|id| BuildErrorKind::UnknownMergeToken { index, id })? {
                return Err(BuildErrorKind::MergeBytes { index, left, right, result });
            }
            let rank = Rank(index as u32);
            let rank = match ranks {
                Ranks::ByPlace => rank,
                Ranks::ByResult | Ranks::Splits => {
                    let first = &mut ranks_of_results[result as usize];
                    *first = rank.0.min(*first);
                    Rank(*first)
                }
                Ranks::Given(given) => {
                    let group = *given.get(index).ok_or(BuildErrorKind::Ranks { index })?;
                    match last_group {
                        Some((last, _)) if last > group => return Err(BuildErrorKind::Ranks { index }),
                        Some((last, first)) if last == group => first,
                        _ => {
                            last_group = Some((group, rank));
                            rank
                        }
                    }
                }
            };
            this.insert(Slot { key: key(left, right), rank: rank.0, result });
        }
        Ok(this)
    }

    /// The table of [`splits`](super::splits::splits), which need no check.
    pub(crate) fn of_splits(splits: &[Merge]) -> Self {
        let mut this = Self::with_room(splits.len());
        let mut rank = 0;
        for (index, &Merge { left, right, result }) in splits.iter().enumerate() {
            this.prefetch_of(splits.get(index + AHEAD));
            if index.checked_sub(1).is_some_and(|before| splits[before].result != result) {
                rank = index as u32;
            }
            this.insert(Slot { key: key(left, right), rank, result });
        }
        this
    }

    fn with_room(n_merges: usize) -> Self {
        let filter_bits = (8 * n_merges).next_power_of_two().max(64);
        Self {
            slots: Table::filled(FREE, n_merges + n_merges / 2 + 1),
            filter: vec![0; filter_bits / 64],
            filter_shift: 64 - filter_bits.trailing_zeros(),
            n_merges: 0,
        }
    }

    #[inline]
    fn prefetch_of(&self, merge: Option<&Merge>) {
        if let Some(merge) = merge {
            self.prefetch(merge.left, merge.right);
        }
    }

    fn insert(&mut self, slot: Slot) {
        let hash = hash(slot.key);
        let bit = self.filter_bit(hash);
        self.filter[bit / 64] |= 1 << (bit % 64);
        let mut at = self.start(hash);
        while self.slots[at].key != NO_KEY && self.slots[at].key != slot.key {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.n_merges += usize::from(self.slots[at].key == NO_KEY);
        self.slots[at] = slot;
    }

    #[inline]
    fn start(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// The rank of the merge of `left` and `right`, and what they become.
    #[inline]
    pub fn get(&self, left: TokenId, right: TokenId) -> Option<(Rank, TokenId)> {
        self.answer(Question::of(left, right))
    }

    /// Asks for the memory in which the answer will be. The slot too, although few pairs merge: to wait for the filter takes
    /// longer than to fetch a line in vain.
    #[inline]
    pub(crate) fn ask(&self, left: TokenId, right: TokenId) -> Question {
        let question = Question::of(left, right);
        prefetch(&self.filter, self.filter_bit(question.hash) / 64);
        prefetch(&self.slots, self.start(question.hash));
        question
    }

    #[inline]
    fn filter_bit(&self, hash: u64) -> usize {
        (hash >> self.filter_shift) as usize
    }

    /// The rank of the merge that was asked for, and its result.
    #[inline]
    pub(crate) fn answer(&self, Question { key, hash }: Question) -> Option<(Rank, TokenId)> {
        let bit = self.filter_bit(hash);
        if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let mut at = self.start(hash);
        loop {
            let slot = self.slots[at];
            if slot.key == key {
                return Some((Rank(slot.rank), slot.result));
            }
            if slot.key == NO_KEY {
                return None;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Asks for the memory that [`MergeTable::get`] reads where two tokens merge.
    #[inline]
    pub(crate) fn prefetch(&self, left: TokenId, right: TokenId) {
        prefetch(&self.slots, self.start(hash(key(left, right))));
    }

    /// The merges of ranks smaller than `limit`.
    pub(crate) fn below(&self, limit: u32) -> MergesBelow<'_> {
        MergesBelow { table: self, limit }
    }

    /// How many pairs merge.
    pub fn len(&self) -> usize {
        self.n_merges
    }

    /// Whether no pair merges.
    pub fn is_empty(&self) -> bool {
        self.n_merges == 0
    }

    /// All merges as `((left, right), (rank, result))`, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = ((TokenId, TokenId), (Rank, TokenId))> + '_ {
        let parts = |key: u64| ((key >> 32) as TokenId, key as TokenId);
        let taken = self.slots.iter().filter(|slot| slot.key != NO_KEY);
        taken.map(move |slot| (parts(slot.key), (Rank(slot.rank), slot.result)))
    }
}

/// The merges of a table whose ranks are smaller than a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergesBelow<'a> {
    table: &'a MergeTable,
    limit: u32,
}

impl<'a> MergesBelow<'a> {
    /// As [`MergeTable::get`].
    #[inline]
    pub(crate) fn get(self, left: TokenId, right: TokenId) -> Option<(Rank, TokenId)> {
        self.table.get(left, right).filter(|(rank, _)| rank.0 < self.limit)
    }

    /// As [`MergeTable::ask`].
    #[inline]
    pub(crate) fn ask(self, left: TokenId, right: TokenId) -> Question {
        self.table.ask(left, right)
    }

    /// As [`MergeTable::answer`].
    #[inline]
    pub(crate) fn answer(self, question: Question) -> Option<(Rank, TokenId)> {
        self.table.answer(question).filter(|(rank, _)| rank.0 < self.limit)
    }

    /// Above every rank, and at most half as many again as there are.
    pub(crate) fn rank_bound(self) -> usize {
        self.table.slots.len().min(self.limit as usize)
    }

    /// As [`MergeTable::iter`].
    pub(crate) fn iter(self) -> impl Iterator<Item = ((TokenId, TokenId), (Rank, TokenId))> + 'a {
        self.table.iter().filter(move |(_, (rank, _))| rank.0 < self.limit)
    }
}

/// Bytes and words as tokens, and the merges of each word from all of its cuts, in this order.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
pub(super) fn from_all_cuts(words: &[Vec<u8>]) -> (TokenTable, Vec<Merge>) {
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for word in words {
        if !tokens.contains(word) {
            tokens.push(word.clone());
        }
    }
    let table = TokenTable::new((0..).zip(&tokens)).unwrap();
    let cut = |word: &[u8], at: usize| {
        let (left, right) = word.split_at(at);
        Some(Merge { left: table.id(left)?, right: table.id(right)?, result: table.id(word)? })
    };
    let merges = words.iter().flat_map(|word| (1..word.len()).filter_map(|at| cut(word, at))).collect();
    (table, merges)
}

//! What do several short pretokens become, merged side by side?
//!
//! Merging one short word is a chain of look-ups in a table far larger than the inner caches: each merge waits for memory
//! before it says what to ask next. So up to [`MAX_ROWS`] words go on at once: a word asks for the memory of its next two
//! questions and the others have their turn until it is there. Each word goes by the definition, smallest rank first, the
//! leftmost of equal ones. The first questions, about pairs of bytes, have a table of their own that stays near.
//!
//! O(n²) time for a word of n bytes, at most 15.

use tokenloom_vocab::TokenId;

use super::merges::{MergesBelow, Question};
use crate::cache::{Key, MAX_KEY_BYTES, unpack};

/// So many words are merged side by side.
pub(crate) const MAX_ROWS: usize = 32;

const MAX_SYMBOLS: usize = MAX_KEY_BYTES;

/// No merge: above every rank.
const NONE: u64 = u64::MAX;

/// Words that are being merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// The first ones are words, the others were.
    rows: Vec<Row>,
    n_rows: usize,
    /// The rows that are not done.
    active: Vec<usize>,
}

/// Numbers behind `n_symbols` are of an earlier word.
#[derive(Clone, Debug, Default)]
struct Row {
    /// What the caller calls it.
    word: usize,
    n_symbols: usize,
    /// A bit for each symbol that was not merged into the one before it.
    alive: u32,
    ids: [TokenId; MAX_SYMBOLS],
    /// By symbol: the rank of its merge with the next one, above its own place.
    merges: [u64; MAX_SYMBOLS],
    results: [TokenId; MAX_SYMBOLS],
    /// What was asked of pairs, and the places of their left symbols.
    asked: [Option<Question>; 2],
    places: [usize; 2],
}

/// What pairs of bytes become, by their two bytes: the rank of the merge and its result; `u32::MAX` for none.
#[derive(Clone, Debug)]
pub(crate) struct BytePairs(Box<[(u32, TokenId)]>);

impl BytePairs {
    pub(crate) fn new(merges: MergesBelow<'_>, id_of_byte: impl Fn(u8) -> Option<TokenId>) -> Self {
        let pairs = (0..=u16::MAX).map(|pair| {
            let [left, right] = pair.to_be_bytes().map(&id_of_byte);
            let found = left.zip(right).and_then(|(left, right)| merges.get(left, right));
            found.map_or((u32::MAX, 0), |(rank, result)| (rank.0, result))
        });
        Self(pairs.collect())
    }

    #[inline]
    fn get(&self, left: u8, right: u8) -> (u32, TokenId) {
        self.0[usize::from(u16::from_be_bytes([left, right]))]
    }
}

impl Rows {
    pub(crate) fn clear(&mut self) {
        self.n_rows = 0;
        self.active.clear();
    }

    /// Adds a word; each of its bytes is a token.
    #[inline]
    pub(crate) fn push(
        &mut self,
        word: usize,
        key: Key,
        pairs: &BytePairs,
        id_of_byte: impl Fn(u8) -> Option<TokenId>,
    ) {
        if self.n_rows == self.rows.len() {
            self.rows.push(Row::default());
        }
        let Some(row) = self.rows.get_mut(self.n_rows) else { return };
        self.active.push(self.n_rows);
        self.n_rows += 1;
        let (bytes, n_symbols) = unpack(key);
        let bytes = &bytes[..n_symbols];
        (row.word, row.n_symbols, row.alive) = (word, n_symbols, (1 << n_symbols) - 1);
        for (id, &byte) in row.ids.iter_mut().zip(bytes) {
            *id = id_of_byte(byte).unwrap_or_default();
        }
        for (at, pair) in bytes.windows(2).enumerate() {
            let (rank, result) = pairs.get(pair[0], pair[1]);
            row.set(at, (rank != u32::MAX).then_some((rank, result)));
        }
        row.set(n_symbols - 1, None);
    }

    /// Merges all words and calls `done` with each of them and its ids.
    pub(crate) fn merge_all(&mut self, merges: MergesBelow<'_>, mut done: impl FnMut(usize, &[TokenId])) {
        let Self { rows, active, .. } = self;
        while !active.is_empty() {
            active.retain(|&index| {
                let row = &mut rows[index];
                let goes_on = row.advance(merges);
                if !goes_on {
                    let (ids, n_ids) = row.tokens();
                    done(row.word, &ids[..n_ids]);
                }
                goes_on
            });
        }
    }
}

impl Row {
    #[inline]
    fn set(&mut self, at: usize, merge: Option<(u32, TokenId)>) {
        match merge {
            Some((rank, result)) => {
                self.merges[at] = u64::from(rank) << 32 | at as u64;
                self.results[at] = result;
            }
            None => self.merges[at] = NONE,
        }
    }

    /// Hears the answers, merges once, and asks again. False where nothing is left to merge.
    #[inline]
    fn advance(&mut self, merges: MergesBelow<'_>) -> bool {
        for (question, at) in std::mem::take(&mut self.asked).into_iter().zip(self.places) {
            if let Some(question) = question {
                self.set(at, merges.answer(question).map(|(rank, result)| (rank.0, result)));
            }
        }
        let smallest =
            self.merges[..self.n_symbols].iter().fold(NONE, |smallest, &merge| smallest.min(merge));
        if smallest == NONE {
            return false;
        }
        let at = smallest as u32 as usize;
        let behind = self.alive & !((2 << at) - 1);
        let next = behind.trailing_zeros() as usize;
        self.alive &= !(1 << next);
        self.ids[at] = self.results[at];
        (self.merges[at], self.merges[next]) = (NONE, NONE);
        let after = self.alive & !((2 << at) - 1);
        let before = self.alive & ((1 << at) - 1);
        // Those that do not merge need no answer: their places hold no merge by now.
        if after != 0 {
            let next = after.trailing_zeros() as usize;
            (self.asked[0], self.places[0]) = (merges.ask(self.ids[at], self.ids[next]), at);
        }
        if before != 0 {
            let previous = before.ilog2() as usize;
            self.merges[previous] = NONE;
            (self.asked[1], self.places[1]) = (merges.ask(self.ids[previous], self.ids[at]), previous);
        }
        after != 0 || before != 0
    }

    fn tokens(&self) -> ([TokenId; MAX_SYMBOLS], usize) {
        let (mut ids, mut n_ids, mut left) = ([0; MAX_SYMBOLS], 0, self.alive);
        while left != 0 {
            ids[n_ids] = self.ids[left.trailing_zeros() as usize];
            n_ids += 1;
            left &= left - 1;
        }
        (ids, n_ids)
    }
}

#[cfg(test)]
mod tests {
    use super::super::merges::from_all_cuts;
    use super::super::{MergeTable, scan};
    use super::*;
    use crate::cache::pack;
    use crate::spec::Ranks;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn words_side_by_side_become_what_each_becomes_alone(
            tokens in prop::collection::vec(prop::collection::vec(97_u8..100, 2..6), 0..30),
            words in prop::collection::vec(prop::collection::vec(97_u8..101, 1..=MAX_SYMBOLS), 1..MAX_ROWS),
            by_result: bool,
            limit in prop_oneof![Just(u32::MAX), 0_u32..40],
        ) {
            let (tokens, merges) = from_all_cuts(&tokens);
            let ranks = if by_result { Ranks::ByResult } else { Ranks::ByPlace };
            let table = MergeTable::new(&merges, &ranks, &tokens).unwrap();
            let merges = table.below(limit);
            let id_of_byte = |byte| Some(TokenId::from(byte));
            let pairs = BytePairs::new(merges, id_of_byte);
            let mut rows = Rows::default();
            for _ in 0..2 {
                rows.clear();
                for (word, bytes) in words.iter().enumerate() {
                    rows.push(word, pack(bytes), &pairs, id_of_byte);
                }
                let mut n_done = 0;
                rows.merge_all(merges, |word, ids| {
                    let mut alone = scan::Row::new();
                    words[word].iter().for_each(|&byte| alone.push(byte.into()));
                    assert_eq!(ids, alone.merge_all(merges).0);
                    n_done += 1;
                });
                prop_assert_eq!(n_done, words.len());
            }
        }
    }
}

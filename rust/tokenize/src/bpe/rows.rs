//! What do several pretokens become, merged side by side?
//!
//! Merging one word is a chain of look-ups in a table far larger than the inner caches: each merge waits for memory
//! before it says what to ask next. So up to [`MAX_ROWS`] words go on at once: a word asks for the memory of its next
//! questions and the others have their turn until it is there. Each word goes by the definition, smallest rank first, the
//! leftmost of equal ones. The first questions, about pairs of bytes, have a table of their own that stays near; it also says
//! which bytes merge whatever is beside them, as the bytes of a character do, so that they start as one symbol.
//!
//! O(n²) time for a word of n bytes, at most [`MAX_ROW_BYTES`].

use tokenloom_vocab::{TokenId, TokenTable};

use super::merges::{MergesBelow, Question};

/// So many words are merged side by side.
pub(crate) const MAX_ROWS: usize = 32;

/// Longer words are quicker in the engine of long ones.
pub(crate) const MAX_ROW_BYTES: usize = 32;

/// Most words have no more symbols.
const FEW: usize = 16;

/// Ranks are below this where words are merged side by side.
pub(crate) const MAX_RANK_BOUND: usize = (NONE.to_bits() - FIRST) as usize / MAX_ROW_BYTES;

/// When a merge comes: by rank, then by place. As a positive number with a fraction, whose bits grow as it does: of these
/// every x86-64 finds the smaller four times at once.
type Turn = f32;

/// No merge: above every turn.
const NONE: Turn = Turn::MAX;
/// The bits of the smallest number that is normal; smaller ones may be slow.
const FIRST: u32 = Turn::MIN_POSITIVE.to_bits();

#[inline]
fn turn(rank: u32, place: usize) -> Turn {
    Turn::from_bits(FIRST + rank * MAX_ROW_BYTES as u32 + place as u32)
}

#[inline]
fn place(turn: Turn) -> usize {
    (turn.to_bits() - FIRST) as usize % MAX_ROW_BYTES
}

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
    /// A bit for each symbol that was not merged into the one before it.
    alive: u64,
    /// Whether there are no more than [`FEW`].
    has_few: bool,
    ids: [TokenId; MAX_ROW_BYTES],
    /// By symbol: when it is merged with the next one.
    turns: [Turn; MAX_ROW_BYTES],
    results: [TokenId; MAX_ROW_BYTES],
    /// What was asked of pairs, and the places of their left symbols.
    asked: [Question; MAX_ROW_BYTES],
    places: [usize; MAX_ROW_BYTES],
    n_asked: usize,
}

/// What pairs of bytes become, and when something else may become of one of the two.
#[derive(Clone, Debug)]
pub(crate) struct BytePairs(Box<[BytePair]>);

/// Ranks are [`NEVER`] where there is no merge. Four lie in a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct BytePair {
    /// With [`AFTER_OTHERS`] where some merge of the result does not come later, as it does in tables that were trained.
    rank: u32,
    result: TokenId,
    /// The smallest rank of the merges of the right byte alone with a token on its left that ends in the left byte,
    takes_right: u32,
    /// and of the left byte alone with a token on its right that starts with the right byte.
    takes_left: u32,
}

const NEVER: u32 = u32::MAX;
/// Above every rank, below [`NEVER`].
const AFTER_OTHERS: u32 = 1 << 31;

impl BytePair {
    /// Of what is no pair.
    const NONE: Self = Self { rank: NEVER, result: 0, takes_right: NEVER, takes_left: NEVER };

    fn merge(self) -> Option<(u32, TokenId)> {
        (self.rank != NEVER).then_some((self.rank & !AFTER_OTHERS, self.result))
    }

    /// Whether the merge comes before those of both ranks and of its result.
    fn is_before(self, one: u32, other: u32) -> bool {
        self.rank < one.min(other).min(AFTER_OTHERS)
    }
}

impl BytePairs {
    pub(crate) fn new(
        table: &TokenTable,
        merges: MergesBelow<'_>,
        id_of_byte: impl Fn(u8) -> Option<TokenId>,
    ) -> Self {
        let mut pairs = vec![BytePair::NONE; 1 << 16].into_boxed_slice();
        // Of the tokens of the two bytes: the smallest rank of a merge that has them as a part.
        let mut first_uses = vec![NEVER; 1 << 16];
        let is_alone = |id, bytes: &[u8]| matches!(bytes, &[byte] if id_of_byte(byte) == Some(id));
        for ((left, right), (rank, result)) in merges.iter() {
            let parts = [table.bytes(left).unwrap_or_default(), table.bytes(right).unwrap_or_default()];
            for part in parts {
                if let &[a, b] = part {
                    let first_use = &mut first_uses[index(a, b)];
                    *first_use = rank.0.min(*first_use);
                }
            }
            let ([.., last], [first, ..]) = (parts[0], parts[1]) else { continue };
            let pair = &mut pairs[index(*last, *first)];
            let alone = (is_alone(left, parts[0]), is_alone(right, parts[1]));
            if alone.0 {
                pair.takes_left = pair.takes_left.min(rank.0);
            }
            if alone.1 {
                pair.takes_right = pair.takes_right.min(rank.0);
            }
            if alone == (true, true) {
                (pair.rank, pair.result) = (rank.0, result);
            }
        }
        for (pair, first_use) in pairs.iter_mut().zip(first_uses) {
            if pair.rank >= first_use {
                pair.rank |= AFTER_OTHERS;
            }
        }
        Self(pairs)
    }

    /// The smallest rank of the merges that cross between the two bytes where one of them is alone.
    #[inline]
    pub(crate) fn first_rank(&self, left: u8, right: u8) -> u32 {
        let pair = self.get(left, right);
        (pair.rank & !AFTER_OTHERS).min(pair.takes_left).min(pair.takes_right)
    }

    #[inline]
    fn get(&self, left: u8, right: u8) -> BytePair {
        self.0[index(left, right)]
    }
}

fn index(left: u8, right: u8) -> usize {
    usize::from(u16::from_be_bytes([left, right]))
}

impl Rows {
    pub(crate) fn clear(&mut self) {
        self.n_rows = 0;
        self.active.clear();
    }

    fn next(&mut self, word: usize) -> Option<&mut Row> {
        if self.n_rows == self.rows.len() {
            self.rows.push(Row::default());
        }
        self.active.push(self.n_rows);
        self.n_rows += 1;
        let row = self.rows.get_mut(self.n_rows - 1)?;
        row.word = word;
        row.turns = [NONE; MAX_ROW_BYTES];
        Some(row)
    }

    /// Adds a word of at most [`MAX_ROW_BYTES`]; each of its bytes is a token.
    ///
    /// Two bytes merge at once where that comes before all that may become of either of them, and of the two together: as long
    /// as both are there their merge is possible, so nothing takes one of them away, and before it the others do not see it.
    pub(crate) fn push(
        &mut self,
        word: usize,
        bytes: &[u8],
        pairs: &BytePairs,
        merges: MergesBelow<'_>,
        id_of_byte: impl Fn(u8) -> Option<TokenId>,
    ) {
        let Some(row) = self.next(word) else { return };
        let pair_at = |at: usize| match bytes.get(at..) {
            Some(&[left, right, ..]) => pairs.get(left, right),
            _ => BytePair::NONE,
        };
        // By symbol: whether it is two bytes. Numbers stay out of the row until they are right, where each would wait for the last.
        let (mut joined, mut n_symbols, mut at) = (0_u64, 0, 0);
        // The rank from which on a token on the left may take the byte.
        let mut takes_first = NEVER;
        let mut pair = pair_at(0);
        while at < bytes.len() {
            let behind = pair_at(at + 1);
            let is_joined = pair.is_before(takes_first, behind.takes_left);
            row.ids[n_symbols] =
                if is_joined { pair.result } else { id_of_byte(bytes[at]).unwrap_or_default() };
            joined |= u64::from(is_joined) << n_symbols;
            n_symbols += 1;
            if is_joined {
                takes_first = behind.takes_right;
                at += 2;
                pair = pair_at(at);
            } else {
                takes_first = pair.takes_right;
                at += 1;
                pair = behind;
            }
        }
        let (mut start, mut n_asked) = (0, 0);
        for symbol in 0..n_symbols.saturating_sub(1) {
            let end = start + 1 + (joined >> symbol & 1) as usize;
            if joined >> symbol & 3 != 0 {
                row.ask(n_asked, symbol, symbol + 1, merges);
                n_asked += 1;
            } else if let Some((rank, result)) = pairs.get(bytes[start], bytes[end]).merge() {
                row.set(symbol, rank, result);
            }
            start = end;
        }
        row.begin(n_symbols, n_asked);
    }

    /// Adds a word of symbols, at most [`MAX_ROW_BYTES`].
    pub(crate) fn push_symbols(&mut self, word: usize, symbols: &[TokenId], merges: MergesBelow<'_>) {
        let Some(row) = self.next(word) else { return };
        row.ids[..symbols.len()].copy_from_slice(symbols);
        let n_asked = symbols.len().saturating_sub(1);
        (0..n_asked).for_each(|symbol| row.ask(symbol, symbol, symbol + 1, merges));
        row.begin(symbols.len(), n_asked);
    }

    /// Merges all words and calls `made` with what each merge makes, `done` with each word and its ids.
    pub(crate) fn merge_all(
        &mut self,
        merges: MergesBelow<'_>,
        mut made: impl FnMut(TokenId),
        mut done: impl FnMut(usize, &[TokenId]),
    ) {
        let Self { rows, active, .. } = self;
        while !active.is_empty() {
            let mut at = 0;
            while let Some(&index) = active.get(at) {
                let row = &mut rows[index];
                if row.advance(merges, &mut made) {
                    at += 1;
                } else {
                    let (ids, n_ids) = row.tokens();
                    done(row.word, &ids[..n_ids]);
                    active.swap_remove(at);
                }
            }
        }
    }
}

impl Row {
    /// All symbols are there, and so much was asked.
    fn begin(&mut self, n_symbols: usize, n_asked: usize) {
        (self.alive, self.n_asked) = ((1 << n_symbols) - 1, n_asked);
        self.has_few = n_symbols <= FEW;
    }

    /// Notes a merge of two symbols that had none.
    #[inline]
    fn set(&mut self, at: usize, rank: u32, result: TokenId) -> Turn {
        let turn = turn(rank, at);
        (self.turns[at], self.results[at]) = (turn, result);
        turn
    }

    /// Asks whether two symbols merge, as question number `n`; until the answer they do not.
    #[inline(always)]
    fn ask(&mut self, n: usize, left: usize, right: usize, merges: MergesBelow<'_>) {
        self.asked[n] = merges.ask(self.ids[left], self.ids[right]);
        self.places[n] = left;
    }

    /// Hears the answers, merges once, and asks again. False where nothing is left to merge.
    #[inline]
    fn advance(&mut self, merges: MergesBelow<'_>, made: &mut impl FnMut(TokenId)) -> bool {
        // Before the answers are written: they would have to be in memory before four of them can be read at once.
        let (short, _) = self.turns.as_chunks::<FEW>();
        let mut first = if self.has_few { first(&short[0]) } else { first(&self.turns) };
        for answer in 0..self.n_asked {
            let place = self.places[answer];
            if let Some((rank, result)) = merges.answer(self.asked[answer]) {
                let turn = self.set(place, rank.0, result);
                // Not `min`, which asks for what is not a number.
                first = if turn < first { turn } else { first };
            }
        }
        if first == NONE {
            return false;
        }
        let (at, mut alive) = (place(first), self.alive);
        let next = (alive & !((2 << at) - 1)).trailing_zeros() as usize;
        alive &= !(1 << next);
        self.alive = alive;
        self.ids[at] = self.results[at];
        made(self.results[at]);
        (self.turns[at], self.turns[next]) = (NONE, NONE);
        let (after, before) = (alive & !((2 << at) - 1), alive & ((1 << at) - 1));
        let mut n_asked = 0;
        if after != 0 {
            self.ask(n_asked, at, after.trailing_zeros() as usize, merges);
            n_asked += 1;
        }
        if before != 0 {
            let previous = before.ilog2() as usize;
            self.turns[previous] = NONE;
            self.ask(n_asked, previous, at, merges);
            n_asked += 1;
        }
        self.n_asked = n_asked;
        n_asked > 0
    }

    fn tokens(&self) -> ([TokenId; MAX_ROW_BYTES], usize) {
        let (mut ids, mut n_ids, mut left) = ([0; MAX_ROW_BYTES], 0, self.alive);
        while left != 0 {
            ids[n_ids] = self.ids[left.trailing_zeros() as usize];
            n_ids += 1;
            left &= left - 1;
        }
        (ids, n_ids)
    }
}

/// The smallest turn.
#[inline(always)]
fn first<const N: usize>(turns: &[Turn; N]) -> Turn {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        // SAFETY: every x86-64 has SSE.
        unsafe { first_of_fours(turns) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        turns.iter().fold(NONE, |first, &turn| first.min(turn))
    }
}

/// The same; a loop would be compiled to minima of one number.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse")]
#[inline]
fn first_of_fours<const N: usize>(turns: &[Turn; N]) -> Turn {
    use std::arch::x86_64::{_mm_cvtss_f32, _mm_min_ps, _mm_movehl_ps, _mm_setr_ps, _mm_shuffle_ps};

    let (fours, _) = turns.as_chunks::<4>();
    let mut chains = [_mm_setr_ps(NONE, NONE, NONE, NONE); 2];
    for two in fours.as_chunks::<2>().0 {
        for (chain, &[a, b, c, d]) in chains.iter_mut().zip(two) {
            *chain = _mm_min_ps(*chain, _mm_setr_ps(a, b, c, d));
        }
    }
    let four = _mm_min_ps(chains[0], chains[1]);
    let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_min_ps(two, _mm_shuffle_ps::<1>(two, two)))
}

#[cfg(test)]
mod tests {
    use super::super::MergeTable;
    use super::super::merges::from_all_cuts;
    use super::super::scan;
    use super::*;
    use crate::spec::Ranks;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn words_side_by_side_become_what_each_becomes_alone(
            tokens in prop::collection::vec(prop::collection::vec(97_u8..100, 2..6), 0..30),
            words in prop::collection::vec(prop::collection::vec(97_u8..101, 1..=MAX_ROW_BYTES), 1..MAX_ROWS),
            by_result: bool,
            limit in prop_oneof![Just(u32::MAX), 0_u32..40],
        ) {
            let (tokens, merges) = from_all_cuts(&tokens);
            let ranks = if by_result { Ranks::ByResult } else { Ranks::ByPlace };
            let table = MergeTable::new(&merges, &ranks, &tokens).unwrap();
            let merges = table.below(limit);
            let id_of_byte = |byte| Some(TokenId::from(byte));
            let pairs = BytePairs::new(&tokens, merges, id_of_byte);
            let mut rows = Rows::default();
            for _ in 0..2 {
                rows.clear();
                for (word, bytes) in words.iter().enumerate() {
                    if word % 4 == 3 {
                        let symbols: Vec<TokenId> = bytes.iter().map(|&byte| byte.into()).collect();
                        rows.push_symbols(word, &symbols, merges);
                    } else {
                        rows.push(word, bytes, &pairs, merges, id_of_byte);
                    }
                }
                let mut n_done = 0;
                rows.merge_all(merges, |_| (), |word, ids| {
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

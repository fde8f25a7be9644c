//! Which merges does the model of a `tokenizer.json` hold?
//!
//! They are resolved by *string*, as the format defines them, after the whole model is read (the keys may come in any order): left
//! and right must be tokens, and so must their concatenation, which is looked for first where the one before it was found,
//! since merges nearly always make tokens in their order. Linear in the bytes of the merges.

use tokenloom_tokenize::spec::Merge;

use crate::error::FormatErrorKind;
use crate::json::vocab::{Ahead, LEAST_TOKEN_BYTES, Vocab, reserve};
use crate::limits::{self, check_length};

/// The merges as text: both parts lie behind each other in the arena.
#[derive(Debug, Default)]
pub(crate) struct MergeTexts {
    arena: String,
    /// The lengths of the left part and of both.
    lengths: Vec<[u16; 2]>,
}

const _: () = assert!(limits::TOKEN_BYTES * 2 <= u16::MAX as u64);

impl MergeTexts {
    /// As [`Vocab::with_room`].
    pub(super) fn with_room(n_bytes: usize) -> Self {
        let mut merges = Self::default();
        reserve(&mut merges.lengths, n_bytes / LEAST_TOKEN_BYTES);
        let _ = merges.arena.try_reserve_exact(n_bytes / 2);
        merges
    }

    pub(super) fn push(&mut self, left: &str, right: &str) -> Result<(), FormatErrorKind> {
        check_length("merges", self.lengths.len() as u64 + 1, limits::MERGES)?;
        let both = (left.len() + right.len()) as u64;
        check_length("bytes in one merge", both, limits::TOKEN_BYTES * 2)?;
        self.lengths.push([left.len() as u16, both as u16]);
        self.arena.push_str(left);
        self.arena.push_str(right);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Left part, right part, and both.
    fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let mut rest = self.arena.as_str();
        self.lengths.iter().map(move |&[n_left, n_both]| {
            let (both, others) = rest.split_at(usize::from(n_both));
            rest = others;
            let (left, right) = both.split_at(usize::from(n_left));
            (left, right, both)
        })
    }

    /// The merges by id; the result leaves out the first `n_prefix` bytes of the right part, which are the prefix of
    /// the inside of words. A merge given again counts at its last place. The error comes with the index of the merge.
    pub(crate) fn resolve(&self, vocab: &Vocab, n_prefix: usize) -> Result<Vec<Merge>, FormatErrorKind> {
        let mut joined = String::new();
        let mut merges: Vec<Merge> = Vec::with_capacity(self.lengths.len());
        let mut repeats = Repeats::with_room(vocab.len(), self.lengths.len());
        let mut made = 0;
        let mut hashes = Ahead::default();
        let mut parts = self.iter().flat_map(|(left, right, _)| [left, right]);
        for (index, (left, right, both)) in self.iter().enumerate() {
            let unknown = |text: &str| FormatErrorKind::UnknownMergeToken { index, token: text.into() };
            let mut id = |text: &str| {
                let found = vocab.index(hashes.next(vocab, &mut parts), text);
                found.map(|index| vocab.id_at(index)).ok_or_else(|| unknown(text))
            };
            let result = match right.get(n_prefix..) {
                _ if n_prefix == 0 => both,
                Some(rest) => {
                    joined.clear();
                    joined.push_str(left);
                    joined.push_str(rest);
                    &joined
                }
                None => return Err(unknown(right)),
            };
            let (left_id, right_id) = (id(left)?, id(right)?);
            made = vocab.index_near(made, result).ok_or_else(|| unknown(result))?;
            if left.is_empty() || right.is_empty() {
                return Err(FormatErrorKind::CyclicMerge { index });
            }
            merges.push(Merge { left: left_id, right: right_id, result: vocab.id_at(made) });
            repeats.note_last(&merges, made);
        }
        repeats.remove_from(&mut merges);
        Ok(merges)
    }
}

/// Which merges are given again further on? Those that make one token hang together, the last one first: a token has fewer ways
/// to make it than bytes.
struct Repeats {
    /// By token: its last merge.
    last: Vec<u32>,
    /// By merge: the one of the same token before it.
    before: Vec<u32>,
    repeated: Vec<u32>,
}

impl Repeats {
    const NONE: u32 = u32::MAX;

    fn with_room(n_tokens: usize, n_merges: usize) -> Self {
        Self { last: vec![Self::NONE; n_tokens], before: Vec::with_capacity(n_merges), repeated: Vec::new() }
    }

    /// Looks for the last of the merges, which makes a token, among those before it.
    fn note_last(&mut self, merges: &[Merge], token: usize) {
        let place = merges.len() - 1;
        let is_same = |other: u32| {
            let other = &merges[other as usize];
            (other.left, other.right) == (merges[place].left, merges[place].right)
        };
        let first = std::mem::replace(&mut self.last[token], place as u32);
        self.before.push(first);
        let mut at = first;
        while at != Self::NONE {
            if is_same(at) {
                return self.repeated.push(at);
            }
            at = self.before[at as usize];
        }
    }

    fn remove_from(self, merges: &mut Vec<Merge>) {
        if self.repeated.is_empty() {
            return;
        }
        let mut is_last = vec![true; merges.len()];
        self.repeated.into_iter().for_each(|place| is_last[place as usize] = false);
        let mut is_last = is_last.into_iter();
        merges.retain(|_| is_last.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of two letters each way, far more than the table of strings begins with.
    fn vocab() -> (Vec<String>, Vocab) {
        let letters = || "abcdefgh".chars();
        let words = |tail: &str| {
            letters()
                .flat_map(|a| letters().map(move |b| (a, b)))
                .map(move |(a, b)| format!("{a}{b}{tail}"))
                .collect::<Vec<_>>()
        };
        let singles = letters().map(String::from).collect();
        let tokens = [singles, words(""), words("a"), words("ab")].concat();
        let vocab = Vocab::of(tokens.iter().map(String::as_str).zip(7..)).unwrap();
        (tokens, vocab)
    }

    #[test]
    fn merges_in_any_order_are_those_of_their_strings_and_of_equal_ones_the_last_counts() {
        let (tokens, vocab) = vocab();
        let id = |text: &str| tokens.iter().position(|token| token == text).map(|at| at as u32 + 7);
        let mut given: Vec<(&str, &str)> = Vec::new();
        for token in tokens.iter().filter(|token| token.len() > 1) {
            given.extend(
                (1..token.len())
                    .map(|at| token.split_at(at))
                    .filter(|(left, right)| id(left).is_some() && id(right).is_some()),
            );
        }
        let mut state = 3_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for n_changes in [0, 1, 40, 2000] {
            for _ in 0..n_changes {
                let (one, other) = (random(given.len()), random(given.len()));
                match random(3) {
                    0 => given.swap(one, other),
                    1 => given.insert(one, given[other]),
                    _ => given[one] = given[other],
                }
            }
            let mut texts = MergeTexts::default();
            given.iter().for_each(|(left, right)| texts.push(left, right).unwrap());
            let expected: Vec<Merge> = given
                .iter()
                .enumerate()
                .filter(|(at, pair)| !given[at + 1..].contains(pair))
                .map(|(_, (left, right))| {
                    let result = id(&format!("{left}{right}")).unwrap();
                    Merge { left: id(left).unwrap(), right: id(right).unwrap(), result }
                })
                .collect();
            assert_eq!(texts.resolve(&vocab, 0).unwrap(), expected, "{n_changes} changes");
        }
    }

    #[test]
    fn a_merge_of_what_is_no_token_is_named() {
        let (_, vocab) = vocab();
        for (left, right, unknown) in [("x", "a", "x"), ("a", "x", "x"), ("ab", "ba", "abba")] {
            let mut texts = MergeTexts::default();
            texts.push("a", "b").unwrap();
            texts.push(left, right).unwrap();
            let error = texts.resolve(&vocab, 0).unwrap_err();
            let expected = FormatErrorKind::UnknownMergeToken { index: 1, token: unknown.into() };
            assert_eq!(error, expected);
        }
    }
}

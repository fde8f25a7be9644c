//! What did the model find likely behind this token the last time?
//!
//! For each token, and for each pair of tokens, the likeliest next ones as the model said them last. Rows are places of a
//! table of fixed size with the token as a tag: a row of another token in the same place is replaced, so memory never
//! grows. All entries are atomic words: streams read and write without locks, and in one thread the last writer wins.
//! Where the model's likely tokens are not given, what came is put in front of what came before.
//!
//! Luo et al., "Turning trash into treasure: accelerating inference with token recycling", 2025; the pairs are from Goose
//! (2026).

use std::sync::atomic::{AtomicU64, Ordering};

use tokenloom_vocab::TokenId;

use super::stream::Commit;

/// Likely tokens of a row.
pub(super) const N_NEXT: usize = 10;
/// A tag and the row.
const WIDTH: usize = N_NEXT + 1;
/// What a token that came gets where nothing is known of probabilities; the others keep half of theirs.
const SHARE_OF_LATEST: f32 = 0.5;
/// No token before.
const NONE: TokenId = u32::MAX;

/// The likely tokens behind single tokens and behind pairs, shared by all streams of a drafter.
#[derive(Debug)]
pub(super) struct Adjacency {
    n_rows: usize,
    singles: Vec<AtomicU64>,
    pairs: Vec<AtomicU64>,
}

/// The last two tokens: the context of a row.
pub(super) type Pair = [TokenId; 2];

impl Adjacency {
    pub(super) fn new(n_rows: usize) -> Self {
        let table = || (0..n_rows * WIDTH).map(|_| AtomicU64::new(0)).collect();
        Self { n_rows, singles: table(), pairs: table() }
    }

    pub(super) fn n_bytes(&self) -> usize {
        2 * self.n_rows * WIDTH * size_of::<AtomicU64>()
    }

    /// The likely tokens behind the last token, and with their probabilities; `is_pair`: behind both.
    pub(super) fn row(&self, context: Pair, is_pair: bool) -> impl Iterator<Item = (TokenId, f32)> {
        let row = self.place(context, is_pair);
        let is_known = row[0].load(Ordering::Relaxed) == tag(context, is_pair);
        let words = row[1..].iter().take(if is_known { N_NEXT } else { 0 });
        words.map(|word| unpack(word.load(Ordering::Relaxed))).take_while(|&(_, prob)| prob > 0.0)
    }

    fn place(&self, context: Pair, is_pair: bool) -> &[AtomicU64] {
        let table = if is_pair { &self.pairs } else { &self.singles };
        let hashed = match is_pair {
            true => (tag(context, true).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24) as usize,
            false => context[1] as usize,
        };
        let row = hashed % self.n_rows;
        &table[row * WIDTH..(row + 1) * WIDTH]
    }

    /// The model said so.
    fn write(&self, context: Pair, next: impl Iterator<Item = (TokenId, f32)> + Clone) {
        for is_pair in [false, true] {
            if is_pair && context[0] == NONE {
                continue;
            }
            let row = self.place(context, is_pair);
            let mut probs = next.clone();
            for word in &row[1..] {
                let packed = probs.next().map_or(0, |(token, prob)| pack(token, prob));
                word.store(packed, Ordering::Relaxed);
            }
            row[0].store(tag(context, is_pair), Ordering::Relaxed);
        }
    }

    /// This came.
    fn came(&self, context: Pair, token: TokenId) {
        for is_pair in [false, true] {
            if is_pair && context[0] == NONE {
                continue;
            }
            let mut row = vec![(token, SHARE_OF_LATEST)];
            for (other, prob) in self.row(context, is_pair) {
                match other == token {
                    true => row[0].1 += prob * SHARE_OF_LATEST,
                    false => row.push((other, prob * SHARE_OF_LATEST)),
                }
            }
            row.truncate(N_NEXT);
            let place = self.place(context, is_pair);
            for (i, word) in place[1..].iter().enumerate() {
                word.store(row.get(i).map_or(0, |&(token, prob)| pack(token, prob)), Ordering::Relaxed);
            }
            place[0].store(tag(context, is_pair), Ordering::Relaxed);
        }
    }

    /// Takes what a commit says, `context` being the last two tokens before it, and returns the last two behind it.
    pub(super) fn harvest(&self, mut context: Pair, commit: &Commit<'_>) -> Pair {
        let rows = |top: &super::TopRows, row: usize| {
            let mut next: Vec<(TokenId, f32)> = Vec::with_capacity(N_NEXT);
            for (token, log_prob) in top.row(row) {
                if next.len() < N_NEXT && next.iter().all(|&(other, _)| other != token) {
                    next.push((token, log_prob.exp()));
                }
            }
            next.into_iter()
        };
        match commit.top {
            Some(top) if commit.is_prompt => {
                for (row, &token) in commit.tokens.iter().enumerate() {
                    context = [context[1], token];
                    self.write(context, rows(top, row));
                }
                return context;
            }
            Some(top) => {
                if context[1] != NONE {
                    self.write(context, rows(top, 0));
                }
                let (tokens, parents) = (commit.tree.tokens(), commit.tree.parents());
                for (node, (&token, &parent)) in tokens.iter().zip(parents).enumerate() {
                    let before = if parent < 0 { context[1] } else { tokens[parent as usize] as TokenId };
                    self.write([before, token as TokenId], rows(top, node + 1));
                }
            }
            None => {}
        }
        for &token in commit.tokens {
            if commit.top.is_none() && context[1] != NONE {
                self.came(context, token);
            }
            context = [context[1], token];
        }
        context
    }
}

/// The context of a text without tokens.
pub(super) const NO_CONTEXT: Pair = [NONE; 2];

/// Tells rows of one place apart; never 0, which is an empty row.
fn tag([before, last]: Pair, is_pair: bool) -> u64 {
    u64::from(last) + 1 + if is_pair { (u64::from(before) + 1) << 32 } else { 0 }
}

fn pack(token: TokenId, prob: f32) -> u64 {
    u64::from(token) << 32 | u64::from(prob.to_bits())
}

fn unpack(word: u64) -> (TokenId, f32) {
    ((word >> 32) as TokenId, f32::from_bits(word as u32))
}

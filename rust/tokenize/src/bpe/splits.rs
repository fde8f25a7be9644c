//! Which pairs of tokens are a token together?
//!
//! A rank file lists no merges: tiktoken joins whatever two parts are a token. So each token is cut at every place and
//! both sides are looked up. Nine in ten sides are no token, which a bitmap that stays in the second cache says of most;
//! the others are asked for some time before. O(length squared) for a token of more than 15 bytes, O(length) for others.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;
use tokenloom_vocab::{TokenId, TokenTable};

use super::whole::WholePieces;
use crate::cache::{MAX_KEY_BYTES, pack};
use crate::spec::Merge;

/// So many pairs of sides are on their way from memory at once.
const N_AHEAD: usize = 16;

/// Every split of every token into two tokens, by the id of the token; those of one token by the ids of the parts, which
/// is the order that published conversions to `tokenizer.json` list them in. `whole` has the short tokens.
pub(crate) fn splits(table: &TokenTable, whole: &WholePieces) -> Vec<Merge> {
    let mut merges: Vec<Merge> = Vec::with_capacity(table.n_tokens() * 2);
    let mut asked = Vec::with_capacity(N_AHEAD);
    let id = |side: &[u8]| whole.get(side).unwrap_or_else(|_| table.id(side));
    let mut answer = |asked: &mut Vec<(TokenId, &[u8], &[u8])>| {
        for (result, left, right) in asked.drain(..) {
            if let (Some(left), Some(right)) = (id(left), id(right)) {
                merges.push(Merge { left, right, result });
            }
        }
    };
    let filter = Filter::new(table);
    for (result, token) in table.iter() {
        filter.for_each_place(token, |at| {
            let (left, right) = token.split_at(at);
            [left, right]
                .into_iter()
                .filter(|side| side.len() <= MAX_KEY_BYTES)
                .for_each(|side| whole.prefetch(pack(side)));
            asked.push((result, left, right));
            if asked.len() == N_AHEAD {
                answer(&mut asked);
            }
        });
    }
    answer(&mut asked);
    merges.chunk_by_mut(|a, b| a.result == b.result).for_each(|same| {
        same.sort_unstable_by_key(|merge| (merge.left, merge.right));
    });
    merges
}

/// What most byte strings that are no token are told by.
struct Filter {
    /// Bit `hash >> shift` is set if some token has that hash.
    bits: Vec<u64>,
    shift: u32,
}

/// Up to 15 bytes in one word.
fn word(bytes: &[u8]) -> u128 {
    let mut word = [0; 16];
    word[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(word)
}

fn hash_word(word: u128, n_bytes: usize) -> u64 {
    let [low, high] = [word as u64, (word >> 64) as u64 ^ (n_bytes as u64) << 56];
    let wide = u128::from(low ^ 0x9E37_79B9_7F4A_7C15) * u128::from(high ^ 0xD6E8_FEB8_6659_FD93);
    (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn hash(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=MAX_KEY_BYTES => hash_word(word(bytes), bytes.len()),
        _ => FxBuildHasher.hash_one(bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}

impl Filter {
    fn new(table: &TokenTable) -> Self {
        let n_bits = (8 * table.n_tokens()).next_power_of_two().max(64);
        let mut this = Self { bits: vec![0; n_bits / 64], shift: 64 - n_bits.trailing_zeros() };
        for (_, token) in table.iter() {
            let bit = hash(token) >> this.shift;
            this.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        this
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let bit = hash >> self.shift;
        self.bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    /// Where `token` may be cut into two tokens.
    #[inline]
    fn for_each_place(&self, token: &[u8], mut visit: impl FnMut(usize)) {
        let mut consider = |at, left, right| {
            if self.may_have(left) && self.may_have(right) {
                visit(at);
            }
        };
        if token.len() > MAX_KEY_BYTES {
            return (1..token.len()).for_each(|at| consider(at, hash(&token[..at]), hash(&token[at..])));
        }
        let word = word(token);
        for at in 1..token.len() {
            let left = word & ((1 << (8 * at)) - 1);
            consider(at, hash_word(left, at), hash_word(word >> (8 * at), token.len() - at));
        }
    }
}

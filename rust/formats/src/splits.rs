//! Which pairs of tokens are a token together?
//!
//! A rank file lists no merges: tiktoken joins whatever two parts are a token. So each token is cut at every place and
//! both sides are looked up. Nine in ten sides are no token, which a bitmap that stays in the second cache says of most; a
//! side that may be one is found in an open-addressed table of hashes and compared. O(length squared) for a token,
//! [`limits::RANK_TOKEN_BYTES`] bounds it; sides of at most 15 bytes cost O(1).

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::spec::Merge;
use tokenloom_vocab::{TokenId, TokenList};

use crate::error::{FormatError, FormatErrorKind};
use crate::limits;
use crate::tiktoken::error;

/// Every split of every token into two tokens, by the rank of the token; equal ranks by the ranks of the parts, which
/// is the order that published conversions to `tokenizer.json` list them in. `tokens` are sorted.
///
/// # Errors
/// [`FormatError`]: a token given twice or empty, a byte that is no token, a limit.
pub(crate) fn splits(tokens: &TokenList) -> Result<Vec<Merge>, FormatError> {
    let (found, limit) = (tokens.len() as u64, limits::TOKENS);
    if found > limit {
        return Err(error("ranks", FormatErrorKind::TooLarge { what: "tokens", found, limit }));
    }
    let mut ids = IdsByBytes::new(tokens);
    for (index, (id, token)) in tokens.iter().enumerate() {
        let at = |kind| error(format!("rank {id}"), kind);
        let (found, limit) = (token.len() as u64, limits::RANK_TOKEN_BYTES);
        if found > limit {
            return Err(at(FormatErrorKind::TooLarge { what: "bytes in one token", found, limit }));
        }
        if token.is_empty() {
            return Err(at(FormatErrorKind::MalformedLine));
        }
        if !ids.insert(index, token) {
            let token = String::from_utf8_lossy(token).into();
            return Err(at(FormatErrorKind::DuplicateToken { token }));
        }
    }
    if let Some(byte) = (0..=255u8).find(|byte| ids.get(hash(&[*byte]), &[*byte]).is_none()) {
        return Err(error("ranks", FormatErrorKind::MissingByte { byte }));
    }
    let mut merges: Vec<Merge> = Vec::with_capacity(tokens.len() * 2);
    let mut places = Vec::new();
    for (result, token) in tokens.iter() {
        let n_before = merges.len();
        places.clear();
        ids.places(token, &mut places);
        for &(at, left, right) in &places {
            if let Some(left) = ids.get(left, &token[..at])
                && let Some(right) = ids.get(right, &token[at..])
            {
                merges.push(Merge { left, right, result });
            }
        }
        if merges.len() > n_before + 1 {
            merges[n_before..].sort_unstable_by_key(|merge| (merge.left, merge.right));
        }
        let (found, limit) = (merges.len() as u64, limits::MERGES);
        if found > limit {
            return Err(error("ranks", FormatErrorKind::TooLarge { what: "splits", found, limit }));
        }
    }
    merges.shrink_to_fit();
    Ok(merges)
}

/// The ids of tokens by their bytes.
struct IdsByBytes<'a> {
    tokens: &'a TokenList,
    /// The high half of a hash and one more than the place in the list; 0 where it is free. At least a third is.
    slots: Vec<u64>,
    /// Bit `hash >> filter_shift` is set if some token has that hash.
    filter: Vec<u64>,
    filter_shift: u32,
}

/// Up to 15 bytes and their number, in one word.
const MAX_WORD_BYTES: usize = 15;

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
        0..=MAX_WORD_BYTES => hash_word(word(bytes), bytes.len()),
        _ => FxBuildHasher.hash_one(bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15),
    }
}

impl<'a> IdsByBytes<'a> {
    fn new(tokens: &'a TokenList) -> Self {
        let filter_bits = (8 * tokens.len()).next_power_of_two().max(64);
        Self {
            tokens,
            slots: vec![0; tokens.len() + tokens.len() / 2 + 1],
            filter: vec![0; filter_bits / 64],
            filter_shift: 64 - filter_bits.trailing_zeros(),
        }
    }

    /// The slot where the search for a hash starts.
    fn start(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    /// Whether the token at `index` was not there yet.
    fn insert(&mut self, index: usize, token: &[u8]) -> bool {
        let hash = hash(token);
        if self.may_have(hash) && self.get(hash, token).is_some() {
            return false;
        }
        let bit = hash >> self.filter_shift;
        self.filter[(bit / 64) as usize] |= 1 << (bit % 64);
        let mut at = self.start(hash);
        while self.slots[at] != 0 {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = hash << 32 | (index as u64 + 1);
        true
    }

    fn may_have(&self, hash: u64) -> bool {
        let bit = hash >> self.filter_shift;
        self.filter[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    fn get(&self, hash: u64, bytes: &[u8]) -> Option<TokenId> {
        let mut at = self.start(hash);
        while self.slots[at] != 0 {
            let slot = self.slots[at];
            if slot >> 32 == hash & 0xFFFF_FFFF {
                let (id, token) = self.tokens.get(slot as u32 as usize - 1);
                if token == bytes {
                    return Some(id);
                }
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        None
    }

    /// Where `token` may be cut into two tokens, with the hashes of both.
    fn places(&self, token: &[u8], places: &mut Vec<(usize, u64, u64)>) {
        let mut consider = |at, left, right| {
            if self.may_have(left) && self.may_have(right) {
                places.push((at, left, right));
            }
        };
        if token.len() > MAX_WORD_BYTES {
            return (1..token.len()).for_each(|at| consider(at, hash(&token[..at]), hash(&token[at..])));
        }
        let word = word(token);
        for at in 1..token.len() {
            let left = word & ((1 << (8 * at)) - 1);
            consider(at, hash_word(left, at), hash_word(word >> (8 * at), token.len() - at));
        }
    }
}

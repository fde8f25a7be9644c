//! What does byte pair encoding make of these bytes, in one pass?
//!
//! The encoding is the only sequence of reachable tokens over the bytes in which every adjacent pair is valid (see
//! `pairs`). Search it depth first: at each position try the longest token that starts there, then its ever shorter
//! prefixes, and step back when none fits. The encoding of a prefix is unique as well, so a position that was left
//! once can never lead to the end: it is marked dead, and every `(position, token)` is tried at most once.
//! O(n · candidates · spine) time, one bit a byte of memory. In running text almost no step goes back.

use tokenloom_vocab::TokenId;

use super::pairs::Derivations;
use super::prefixes::{NONE, Prefixes};

/// Positions from which no encoding leads to the end. Empty until the first step back.
pub(crate) type Dead = Vec<u64>;

/// Appends the encoding of `bytes` to `out`, by tokens that `is_valid` lets stand side by side. A byte at which no token
/// starts becomes the token that `fallback` gives for it, which stands beside any other.
#[inline]
pub(crate) fn encode(
    (prefixes, derivations): (&Prefixes, &Derivations),
    bytes: &[u8],
    dead: &mut Dead,
    out: &mut Vec<TokenId>,
    mut is_valid: impl FnMut(TokenId, TokenId) -> bool,
    fallback: impl Fn(u8) -> Option<TokenId>,
) {
    let mut base = out.len();
    dead.clear();
    let mut at = 0;
    let mut candidate = prefixes.longest_match(bytes);
    loop {
        if candidate == NONE {
            // The end, or a character that is no token. Its bytes have a token each, which merges with nothing, so what
            // was found so far stays and the rest is encoded by itself.
            let Some(id) = bytes.get(at).and_then(|&byte| fallback(byte)) else { return };
            out.push(id);
            base = out.len();
            at += 1;
            candidate = prefixes.longest_match(&bytes[at..]);
            continue;
        }
        let end = at + derivations.n_bytes(candidate);
        let fits = !is_dead(dead, end) && (out.len() == base || is_valid(out[out.len() - 1], candidate));
        if fits {
            out.push(candidate);
            at = end;
            candidate = prefixes.longest_match(&bytes[at..]);
            continue;
        }
        candidate = derivations.shorter(candidate);
        while candidate == NONE && out.len() > base {
            if dead.is_empty() {
                dead.resize(bytes.len() / 64 + 1, 0);
            }
            dead[at / 64] |= 1 << (at % 64);
            let Some(last) = out.pop() else { return };
            at -= derivations.n_bytes(last);
            candidate = derivations.shorter(last);
        }
    }
}

#[inline]
fn is_dead(dead: &Dead, at: usize) -> bool {
    dead.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

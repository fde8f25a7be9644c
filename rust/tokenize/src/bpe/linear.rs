//! What does byte pair encoding make of these bytes, in one pass?
//!
//! The encoding is the only sequence of reachable tokens over the bytes in which every adjacent pair is valid (see
//! `pairs`). Search it depth first: at each position try the longest token that starts there, then its ever shorter
//! prefixes, and step back when none fits. The encoding of a prefix is unique as well, so a position that was left
//! once can never lead to the end: it is marked dead, and every `(position, token)` is tried at most once.
//! O(n · candidates · spine) time, one bit a byte of memory. In running text almost no step goes back.

use tokenloom_vocab::TokenId;

use super::Bpe;
use super::prefixes::NONE;

/// Appends the encoding of `bytes`, all of which have a token, to `out`.
pub(crate) fn encode(bpe: &Bpe, bytes: &[u8], dead: &mut Vec<u64>, out: &mut Vec<TokenId>) {
    let mut base = out.len();
    let prefixes = &bpe.prefixes;
    dead.clear();
    let mut at = 0;
    let mut candidate = prefixes.longest_match(bytes);
    loop {
        if candidate == NONE {
            // No token starts here: the end, or a character that is no token. Its bytes have a token each, which
            // merges with nothing, so what was found so far stays and the rest is encoded by itself.
            let Some(id) = bytes.get(at).and_then(|&byte| bpe.symbols.fallback(byte)) else { return };
            out.push(id);
            base = out.len();
            at += 1;
            candidate = prefixes.longest_match(&bytes[at..]);
            continue;
        }
        let end = at + prefixes.n_bytes(candidate);
        let fits =
            !is_dead(dead, end) && (out.len() == base || bpe.is_valid_pair(out[out.len() - 1], candidate));
        if fits {
            out.push(candidate);
            at = end;
            candidate = prefixes.longest_match(&bytes[at..]);
            continue;
        }
        candidate = prefixes.shorter(candidate);
        while candidate == NONE && out.len() > base {
            if dead.is_empty() {
                dead.resize(bytes.len() / 64 + 1, 0);
            }
            dead[at / 64] |= 1 << (at % 64);
            let Some(last) = out.pop() else { return };
            at -= prefixes.n_bytes(last);
            candidate = prefixes.shorter(last);
        }
    }
}

#[inline]
fn is_dead(dead: &[u64], at: usize) -> bool {
    dead.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

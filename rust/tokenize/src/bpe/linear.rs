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

/// What the search remembers of positions: a bit each, none until the first one is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Vec<u64>);

impl Positions {
    fn clear(&mut self) {
        self.0.clear();
    }

    /// Of positions up to `last`.
    #[inline]
    fn set(&mut self, at: usize, last: usize) {
        if self.0.is_empty() {
            self.0.resize(last / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }

    #[inline]
    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Whether the position was set, which it is no longer.
    fn take(&mut self, at: usize) -> bool {
        let had = self.has(at);
        if had {
            self.0[at / 64] &= !(1 << (at % 64));
        }
        had
    }
}

/// Reusable memory of the search.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinearScratch {
    /// Positions from which no encoding leads to the end.
    dead: Positions,
    /// Positions at which the token is a guess.
    guessed: Positions,
}

/// Tokens that may be those from a position on.
pub(crate) trait Guesses {
    /// Tokens of which every adjacent pair is valid, or none. Asked for a position before the end.
    fn from(&mut self, at: usize) -> &[TokenId];
}

/// No guess.
pub(crate) struct NoGuesses;

impl Guesses for NoGuesses {
    #[inline(always)]
    fn from(&mut self, _at: usize) -> &[TokenId] {
        &[]
    }
}

/// Appends the encoding of `bytes` to `out`, by tokens that `is_valid` lets stand side by side. A byte at which no token
/// starts becomes the token that `fallback` gives for it, which stands beside any other. At a position that it comes to it
/// tries what `guesses` says first; when it steps back to a guess, it tries all that start there.
#[inline]
pub(crate) fn encode(
    (prefixes, derivations): (&Prefixes, &Derivations),
    bytes: &[u8],
    LinearScratch { dead, guessed }: &mut LinearScratch,
    out: &mut Vec<TokenId>,
    mut guesses: impl Guesses,
    mut is_valid: impl FnMut(TokenId, TokenId) -> bool,
    fallback: impl Fn(u8) -> Option<TokenId>,
) {
    let mut base = out.len();
    dead.clear();
    guessed.clear();
    let mut at = 0;
    loop {
        // Come to a new position.
        let guess = if at < bytes.len() { guesses.from(at) } else { &[] };
        if let Some(&first) = guess.first()
            && !dead.has(at + derivations.n_bytes(first))
            && (out.len() == base || is_valid(out[out.len() - 1], first))
        {
            for &token in guess {
                let end = at + derivations.n_bytes(token);
                if dead.has(end) {
                    break;
                }
                guessed.set(at, bytes.len());
                out.push(token);
                at = end;
            }
            continue;
        }
        let mut candidate = prefixes.longest_match(&bytes[at..]);
        loop {
            if candidate == NONE {
                // The end, or a character that is no token. Its bytes have a token each, which merges with nothing, so what
                // was found so far stays and the rest is encoded by itself.
                let Some(id) = bytes.get(at).and_then(|&byte| fallback(byte)) else { return };
                out.push(id);
                base = out.len();
                at += 1;
                break;
            }
            let end = at + derivations.n_bytes(candidate);
            let fits = !dead.has(end) && (out.len() == base || is_valid(out[out.len() - 1], candidate));
            if fits {
                out.push(candidate);
                at = end;
                break;
            }
            candidate = derivations.shorter(candidate);
            while candidate == NONE && out.len() > base {
                dead.set(at, bytes.len());
                let Some(last) = out.pop() else { return };
                at -= derivations.n_bytes(last);
                candidate = match guessed.take(at) {
                    true => prefixes.longest_match(&bytes[at..]),
                    false => derivations.shorter(last),
                };
            }
        }
    }
}

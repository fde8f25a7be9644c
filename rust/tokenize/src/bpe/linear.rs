//! What does byte pair encoding make of these bytes, in one pass?
//!
//! The encoding is the only sequence of reachable tokens over the bytes in which every adjacent pair is valid (see
//! `pairs`). Search it depth first: at each position try the longest token that starts there, then its ever shorter
//! prefixes, and step back when none fits. The encoding of a prefix is unique as well, so a position that was left
//! once can never lead to the end: it is marked dead, and every `(position, token)` is tried at most once.
//! O(n · candidates · spine) time, one bit a byte of memory. In running text almost no step goes back.

use std::ops::{Range, RangeInclusive};

use tokenloom_vocab::TokenId;

use super::pairs::Derivations;
use super::prefixes::{NONE, Prefixes};

/// Positions from which no encoding leads to the end: a bit each, none until the first one is set.
#[derive(Clone, Debug, Default)]
struct Dead(Vec<u64>);

impl Dead {
    /// Of positions up to `last`.
    fn set(&mut self, at: usize, last: usize) {
        if self.0.is_empty() {
            self.0.resize(last / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// Whether any of so few positions is among them.
    #[inline]
    fn has_any(&self, mut positions: RangeInclusive<usize>) -> bool {
        !self.0.is_empty() && positions.any(|at| self.has(at))
    }

    #[inline]
    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

/// Reusable memory of the search.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinearScratch {
    dead: Dead,
    /// Between which positions the tokens are guesses, in order.
    guessed: Vec<Range<usize>>,
}

/// Tokens that may be those from one position to another. Every pair that is adjacent in them is valid.
pub(crate) struct Guess<'a> {
    pub(crate) tokens: &'a [TokenId],
    pub(crate) end: usize,
}

/// What the tokens from a position on may be.
pub(crate) trait Guesses {
    /// At least one token from a position before the end of the text on.
    fn from(&mut self, at: usize) -> Option<Guess<'_>>;
}

/// No guess.
pub(crate) struct NoGuesses;

impl Guesses for NoGuesses {
    #[inline(always)]
    fn from(&mut self, _at: usize) -> Option<Guess<'_>> {
        None
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
    dead.0.clear();
    guessed.clear();
    let mut at = 0;
    loop {
        // Come to a new position.
        if at < bytes.len()
            && let Some(Guess { tokens, end }) = guesses.from(at)
            // Where anything is dead, which is rare, the search goes its own way to the end of the guess.
            && !dead.has_any(at..=end)
            && (out.len() == base || is_valid(out[out.len() - 1], tokens[0]))
        {
            out.extend_from_slice(tokens);
            guessed.push(at..end);
            at = end;
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
                candidate = match guessed.last_mut() {
                    Some(guess) if at < guess.end => {
                        guess.end = at;
                        if guess.start == guess.end {
                            guessed.pop();
                        }
                        prefixes.longest_match(&bytes[at..])
                    }
                    _ => derivations.shorter(last),
                };
            }
        }
    }
}

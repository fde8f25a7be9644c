//! How probable is each token, by all that is known?
//!
//! The levels of all sources are asked, the longest context first. A level of `k` tokens that was continued `n` times
//! takes the share `n / (n + escape(k))` of what the longer ones left, and gives a token that followed `c` times `c / n`
//! of its share (prediction by partial matching with a Dirichlet escape). One old occurrence is therefore no certainty,
//! and many agreeing ones nearly are. The constants make the probabilities calibrated on text, mathematics and code: of
//! the tokens drafted with probability 0.3, about 0.3 are right.
//!
//! Cleary and Witten, "Data compression using adaptive coding and partial string matching", 1984; MacKay and Peto,
//! "A hierarchical Dirichlet language model", 1995.

use tokenloom_vocab::TokenId;

use super::index::END_OF_DOCUMENT;
use super::source::{Levels, RECENCY};

/// What is left below this share decides nothing.
pub(super) const NEGLIGIBLE: f32 = 0.02;
/// Occurrences that a context of one token leaves to other explanations; the rest falls with each token more, ...
const ESCAPE: [f32; 2] = [3.7, 0.3];
/// ... one part fast, one part slowly: a context of a dozen tokens is trusted, one of sixty nearly always right.
const ESCAPE_DECAY: [f32; 2] = [0.7, 0.98];
/// Another text explains this one less than it does itself: its escapes are larger by this factor at first, ...
const HISTORY_ESCAPE: f32 = 3.0;
/// ... which also falls with each token.
const HISTORY_DECAY: f32 = 0.95;
/// The text itself.
pub(super) const OWN: usize = 0;
/// Other texts.
pub(super) const OTHER: usize = 1;

/// Longer contexts escape like this one.
const LONGEST: usize = 64;

/// The occurrences that a level leaves to shorter ones, for the text itself and for others, by the length of its context.
const ESCAPES: [[f32; LONGEST + 1]; 2] = {
    let mut table = [[0.0; LONGEST + 1]; 2];
    let ([mut fast, mut slow], mut extra) = (ESCAPE, HISTORY_ESCAPE);
    let mut n_tokens = 1;
    while n_tokens <= LONGEST {
        table[0][n_tokens] = fast + slow;
        table[1][n_tokens] = (fast + slow) * (1.0 + extra);
        fast *= ESCAPE_DECAY[0];
        slow *= ESCAPE_DECAY[1];
        extra *= HISTORY_DECAY;
        n_tokens += 1;
    }
    table
};

/// The occurrences that a context of `n_tokens` leaves to shorter ones, in the text itself or in others.
pub(super) fn escape(kind: usize, n_tokens: usize) -> f32 {
    ESCAPES[kind][n_tokens.min(LONGEST)]
}

/// The share that a context takes which was continued `n` times.
pub(super) fn certainty(kind: usize, n_tokens: usize, n: u32) -> f32 {
    let n = n as f32 + RECENCY;
    n / (n + escape(kind, n_tokens))
}

/// The probability of the only token that is known, which followed once.
pub(super) fn alone(kind: usize, n_tokens: u32) -> f32 {
    let n = 1.0 + RECENCY;
    n / (n + escape(kind, n_tokens as usize))
}

/// A token that may follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    pub(super) token: TokenId,
    pub(super) prob: f32,
    /// The longest context that knows it, by its place among the levels.
    pub(super) level: u16,
}

/// Writes the tokens that may follow, with their probabilities. Levels are skipped once less than `least` is left.
pub(super) fn blend(levels: &Levels, least: f32, guesses: &mut Vec<Guess>) {
    guesses.clear();
    let mut left = 1.0;
    for (i, level) in (0..).zip(levels.iter()) {
        if left < least.max(NEGLIGIBLE) {
            break;
        }
        let share = left * level.share(1.0);
        left -= share;
        for (token, part) in levels.parts(level) {
            let prob = share * part;
            match guesses.iter_mut().find(|guess| guess.token == token) {
                Some(guess) => guess.prob += prob,
                None if token == END_OF_DOCUMENT => {}
                None => guesses.push(Guess { token, prob, level: i }),
            }
        }
    }
}

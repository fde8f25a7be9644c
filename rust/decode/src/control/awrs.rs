//! What does a draw weigh when some tokens are forbidden, and how few of them must be checked to know?
//!
//! Tokens are checked in the order of the exponential race, which is a draw without replacement. The first allowed one,
//! `x`, has the law of the constrained distribution `p(x) c(x) / Z`; what is missing is `Z`. One more check gives an
//! unbiased estimate: with `R` the mass that was rejected, the next token `y` is drawn from the rest, so
//! `w = p(x) + (1 - R - p(x)) c(y)`. Then `E[w f(x)]` is the sum of `p(t) c(t) f(t)` over all tokens, exactly, for every
//! number of rejections.
//!
//! Invariants: `p(x) <= w <= 1 - R`; a token without mass is never checked; the search stops early only when no mass is
//! left, never within a tolerance. Without a check that fails, `x` is the token of plain sampling with the same rng.
//!
//! Cost: one pass over the row and as many checks as tokens are rejected, and two. About `1 / Z` checks where the
//! allowed mass is spread, at worst one for every token that has mass.
//!
//! Lipkin et al., "Fast controlled generation from language models with adaptive weighted rejection sampling", 2025,
//! section 4; the estimator is the recursive one of the authors' library.

use tokenloom_vocab::TokenId;

use crate::dist::DistError;
use crate::rng::{Purpose, Rng};
use crate::sample::{Arrival, Arrivals, LogProb};

/// Tokens asked for together at most.
const MAX_LOOKAHEAD: usize = 64;

/// A black box that allows or forbids tokens behind a fixed prefix.
pub trait Check {
    /// What can go wrong inside.
    type Error;

    /// Is the token allowed?
    ///
    /// # Errors
    /// The error of the black box, which ends the draw.
    fn check(&mut self, token: TokenId) -> Result<bool, Self::Error>;

    /// One verdict for each token. Overridden where many cost little more than one.
    ///
    /// # Errors
    /// As [`Check::check`].
    fn check_many(&mut self, tokens: &[TokenId]) -> Result<Vec<bool>, Self::Error> {
        tokens.iter().map(|&token| self.check(token)).collect()
    }

    /// Writes which tokens are allowed, bit `t % 32` of word `t / 32`, where that is possible; whether it was.
    ///
    /// # Errors
    /// As [`Check::check`].
    fn fill_mask(&mut self, words: &mut [u32]) -> Result<bool, Self::Error> {
        let _ = words;
        Ok(false)
    }

    /// May more tokens be checked than are needed, because [`Check::check_many`] makes them cheap?
    fn is_batched(&self) -> bool {
        false
    }
}

impl<E, F: FnMut(TokenId) -> Result<bool, E>> Check for F {
    type Error = E;

    fn check(&mut self, token: TokenId) -> Result<bool, E> {
        self(token)
    }
}

/// A token that is properly weighted for the constrained distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedToken {
    /// The token, or `None` where every token with mass is forbidden.
    pub token: Option<TokenId>,
    /// The natural logarithm of the weight; `-inf` without a token.
    pub log_weight: f64,
    /// How many tokens were checked.
    pub n_checks: usize,
}

/// Why no token was drawn.
#[derive(Debug)]
pub enum AwrsError<E> {
    /// The row is no distribution.
    Dist(DistError),
    /// The check failed.
    Check(E),
}

/// Draws a token from natural log-probabilities, which need not be normalised, under a check.
///
/// # Errors
/// [`AwrsError`].
pub fn awrs<T: LogProb, C: Check>(
    log_probs: &[T],
    check: C,
    rng: Rng,
) -> Result<WeightedToken, AwrsError<C::Error>> {
    let arrivals = Arrivals::new(log_probs, rng, Purpose::SAMPLE).map_err(AwrsError::Dist)?;
    recursive(arrivals, check).map_err(AwrsError::Check)
}

/// The recursive estimator over tokens in any order that is a draw without replacement.
///
/// # Errors
/// The error of the check.
pub fn recursive<C: Check>(
    order: impl Iterator<Item = Arrival>,
    check: C,
) -> Result<WeightedToken, C::Error> {
    let mut verdicts = Verdicts::new(order, check);
    while let Some((first, is_allowed)) = verdicts.next()? {
        if is_allowed {
            let is_next_allowed = verdicts.next()?.is_some_and(|(_, is_allowed)| is_allowed);
            let log_weight = if is_next_allowed { first.log_rest } else { first.log_mass };
            return Ok(WeightedToken { token: Some(first.token), log_weight, n_checks: verdicts.n_checks });
        }
    }
    Ok(WeightedToken { token: None, log_weight: f64::NEG_INFINITY, n_checks: verdicts.n_checks })
}

/// Checked tokens in order, looked up one by one or in growing batches.
struct Verdicts<I, C> {
    order: I,
    check: C,
    /// Checked and not yet asked for, the next one last.
    ready: Vec<(Arrival, bool)>,
    lookahead: usize,
    n_checks: usize,
}

impl<I: Iterator<Item = Arrival>, C: Check> Verdicts<I, C> {
    fn new(order: I, check: C) -> Self {
        // The least that is ever needed is a token and its successor.
        let lookahead = if check.is_batched() { 2 } else { 1 };
        Self { order, check, ready: Vec::new(), lookahead, n_checks: 0 }
    }

    fn next(&mut self) -> Result<Option<(Arrival, bool)>, C::Error> {
        if self.ready.is_empty() {
            let arrivals: Vec<Arrival> = self.order.by_ref().take(self.lookahead).collect();
            let tokens: Vec<TokenId> = arrivals.iter().map(|arrival| arrival.token).collect();
            if tokens.is_empty() {
                return Ok(None);
            }
            let verdicts = self.check.check_many(&tokens)?;
            self.n_checks += tokens.len();
            self.ready.extend(arrivals.into_iter().zip(verdicts).rev());
            if self.check.is_batched() {
                self.lookahead = (2 * self.lookahead).min(MAX_LOOKAHEAD);
            }
        }
        Ok(self.ready.pop())
    }
}

//! How is a token drawn from the constrained distribution, where checking a token is cheap and a mask is not?
//!
//! Under the mask the draw is a race among the allowed tokens. The same race is run among all tokens and the finishers
//! are checked as they come in; the first that is allowed has won among the allowed ones. That is rejection sampling that
//! never asks about a token twice, and its result is not only of the same law as the masked draw but the same token for
//! the same randomness: weights are scaled by the best *allowed* token, which is checked first. Where model and constraint
//! agree, one token is checked: the likeliest one, which is also the winner.
//!
//! A mask answers for all tokens at the price of some tens of checks. It is filled when so many were refused that it
//! would have been cheaper from the start (`MAX_CHECKS`), or when what was refused holds nearly all of the mass, so that
//! what is left says nothing about what is allowed (`HOPELESS_MASS`); so no step costs much more than twice the cheaper
//! way. Without a mask to ask for, the search goes on to the last token.
//!
//! Cost: the draw, and `1 / Z` checks where the allowed mass is `Z`, at most `MAX_CHECKS` and a mask.

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::Check;
use crate::rng::{Purpose, Rng};
use crate::sample::{Finisher, History, Logits, Params, RaceOrder, Sampler, Source, Status};

/// Refused tokens after which a mask is filled.
const MAX_CHECKS: usize = 48;
/// Refused mass after which a mask is filled, once [`MIN_CHECKS`] tokens were refused.
const HOPELESS_MASS: f32 = 0.999;
/// Refused tokens below which no mask is filled.
const MIN_CHECKS: usize = 8;
/// Tokens asked about together at most.
const MAX_AHEAD: usize = 64;
/// Arrivals listed together at most.
const MAX_LIST: usize = 1 << 14;

/// A token of the constrained distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckedDraw {
    /// The token, or `None` where every token with mass is forbidden.
    pub token: Option<TokenId>,
    /// The natural logarithm of its probability without the constraint, 0 where the temperature is 0.
    pub log_prob: f32,
    /// How many tokens were checked.
    pub n_checks: usize,
    /// Whether a mask was filled.
    pub has_masked: bool,
}

/// Why no token was drawn.
#[derive(Debug)]
pub enum CheckedError<E> {
    /// The row cannot be drawn from.
    Row(Status),
    /// The check failed.
    Check(E),
}

impl<E> From<Status> for CheckedError<E> {
    fn from(status: Status) -> Self {
        Self::Row(status)
    }
}

/// Draws from a row at a temperature, which may be 0 for the best token, under a check.
///
/// # Errors
/// [`CheckedError`].
pub fn draw_checked<C: Check>(
    sampler: &mut Sampler,
    logits: &[f32],
    temperature: f64,
    check: &mut C,
    rng: Rng,
    purpose: Purpose,
) -> Result<CheckedDraw, CheckedError<C::Error>> {
    let params = Params { temperature, ..Params::default() };
    let is_greedy = (temperature as f32) < f32::MIN_POSITIVE;
    let mut order = sampler.order(logits, temperature, rng, purpose)?;
    let mut door = Door {
        check,
        verdicts: FxHashMap::default(),
        n_refused: 0,
        refused_mass: 0.0,
        ahead: 1,
        has_mask: true,
    };
    let found = match door.best(&mut order).map_err(CheckedError::Check)? {
        Found::Token(best) if is_greedy => Found::Token(best),
        Found::Token(best) => door.first(&mut order, best).map_err(CheckedError::Check)?,
        other => other,
    };
    let n_checks = door.verdicts.len();
    let log_prob = |order: &mut RaceOrder<'_>, token| if is_greedy { 0.0 } else { order.log_prob(token) };
    match found {
        Found::Token(token) => {
            let log_prob = log_prob(&mut order, token);
            Ok(CheckedDraw { token: Some(token), log_prob, n_checks, has_masked: false })
        }
        Found::Nothing => {
            Ok(CheckedDraw { token: None, log_prob: f32::NEG_INFINITY, n_checks, has_masked: false })
        }
        Found::Hopeless(mask) => match sampler.draw(masked(logits, &mask, &params), rng, purpose) {
            Ok(draw) => {
                let mut order = sampler.order(logits, temperature, rng, purpose)?;
                let log_prob = log_prob(&mut order, draw.token);
                Ok(CheckedDraw { token: Some(draw.token), log_prob, n_checks, has_masked: true })
            }
            Err(Status::Empty) => {
                Ok(CheckedDraw { token: None, log_prob: f32::NEG_INFINITY, n_checks, has_masked: true })
            }
            Err(status) => Err(status.into()),
        },
    }
}

fn masked<'a>(logits: &'a [f32], mask: &'a [u32], params: &'a Params) -> Source<'a> {
    let (logits, history) = (Logits::F32(logits), History::default());
    Source { logits, mask: Some(mask), params, history, mu: f32::NAN }
}

enum Found {
    Token(TokenId),
    /// Every token was refused.
    Nothing,
    /// A mask says the rest.
    Hopeless(Vec<u32>),
}

/// What was asked so far.
struct Door<'a, C> {
    check: &'a mut C,
    verdicts: FxHashMap<TokenId, bool>,
    n_refused: usize,
    refused_mass: f32,
    /// How many tokens are asked about together.
    ahead: usize,
    has_mask: bool,
}

impl<C: Check> Door<'_, C> {
    /// The best allowed token.
    fn best(&mut self, order: &mut RaceOrder<'_>) -> Result<Found, C::Error> {
        let (mut n_seen, mut n_wanted) = (0, 1);
        loop {
            let tokens = order.best(n_wanted);
            if tokens.len() == n_seen {
                return Ok(Found::Nothing);
            }
            if let Some(found) = self.any(order, &tokens[n_seen..])? {
                return Ok(found);
            }
            n_seen = tokens.len();
            n_wanted = 16.max(4 * n_wanted);
        }
    }

    /// The earliest allowed token, where `best` is the best of them.
    fn first(&mut self, order: &mut RaceOrder<'_>, best: TokenId) -> Result<Found, C::Error> {
        let (mut after, mut n_wanted): (Option<Finisher>, usize) = (None, 8);
        loop {
            let finishers = order.arrivals(best, after, n_wanted);
            let tokens: Vec<TokenId> = finishers.iter().map(|finisher| finisher.token).collect();
            if let Some(found) = self.any(order, &tokens)? {
                return Ok(found);
            }
            after = finishers.last().copied();
            if after.is_none() {
                return Ok(Found::Nothing);
            }
            n_wanted = (8 * n_wanted).min(MAX_LIST);
        }
    }

    /// The first of `tokens` that is allowed, or a mask where it is time for one.
    fn any(&mut self, order: &mut RaceOrder<'_>, tokens: &[TokenId]) -> Result<Option<Found>, C::Error> {
        for (at, token) in tokens.iter().enumerate() {
            if !self.verdicts.contains_key(token) {
                let unknown = tokens[at..].iter().copied().filter(|token| !self.verdicts.contains_key(token));
                let asked: Vec<TokenId> = unknown.take(self.ahead).collect();
                self.ask(order, &asked)?;
            }
            if self.verdicts.get(token) == Some(&true) {
                return Ok(Some(Found::Token(*token)));
            }
            if self.has_mask && self.is_hopeless() {
                let mut mask = vec![0; order.n_tokens().div_ceil(32)];
                self.has_mask = self.check.fill_mask(&mut mask)?;
                if self.has_mask {
                    return Ok(Some(Found::Hopeless(mask)));
                }
            }
        }
        Ok(None)
    }

    fn ask(&mut self, order: &mut RaceOrder<'_>, tokens: &[TokenId]) -> Result<(), C::Error> {
        let verdicts = self.check.check_many(tokens)?;
        if self.check.is_batched() {
            self.ahead = (2 * self.ahead).min(MAX_AHEAD);
        }
        for (&token, is_allowed) in tokens.iter().zip(verdicts) {
            self.verdicts.insert(token, is_allowed);
            if !is_allowed {
                self.n_refused += 1;
                self.refused_mass += order.log_prob(token).exp();
            }
        }
        Ok(())
    }

    fn is_hopeless(&self) -> bool {
        self.n_refused >= MAX_CHECKS || (self.n_refused >= MIN_CHECKS && self.refused_mass >= HOPELESS_MASS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Allows what a mask allows, and counts.
    struct Listed<'a> {
        mask: &'a [u32],
        is_batched: bool,
        gives_mask: bool,
        n_asked: usize,
    }

    impl Check for Listed<'_> {
        type Error = Infallible;

        fn check(&mut self, token: TokenId) -> Result<bool, Infallible> {
            self.n_asked += 1;
            Ok(self.mask[token as usize / 32] >> (token % 32) & 1 == 1)
        }

        fn is_batched(&self) -> bool {
            self.is_batched
        }

        fn fill_mask(&mut self, words: &mut [u32]) -> Result<bool, Infallible> {
            words.copy_from_slice(self.mask);
            Ok(self.gives_mask)
        }
    }

    /// Rows whose best token is far ahead, near or forbidden; masks that forbid little, much and everything.
    #[test]
    fn the_token_is_that_of_the_masked_draw() {
        let mut sampler = Sampler::default();
        let (mut n_masked, mut n_unmasked) = (0, 0);
        for case in 0..600_u64 {
            let rng = Rng::new(case, 3);
            let n_tokens: usize = [1, 5, 64, 700, 3_001][case as usize % 5];
            let sharpness = [0.0, 1.0, 8.0, 200.0][case as usize / 5 % 4];
            let logits: Vec<f32> = (0..n_tokens as u32)
                .map(|token| rng.exponential(token, Purpose::DRAFT) as f32 * sharpness)
                .collect();
            let share = [1.0, 0.5, 0.01, 0.0][case as usize / 20 % 4];
            let mask: Vec<u32> = (0..n_tokens.div_ceil(32))
                .map(|n| {
                    let allowed = |bit: &usize| {
                        let token = 32 * n + bit;
                        token < n_tokens && rng.uniform(token as u32, Purpose::ACCEPT) < share
                    };
                    (0..32).filter(allowed).map(|bit| 1 << bit).sum()
                })
                .collect();
            for temperature in [0.0, 0.7] {
                let params = Params { temperature, ..Params::default() };
                let expected = sampler.draw(masked(&logits, &mask, &params), rng, Purpose::SAMPLE).ok();
                for (is_batched, gives_mask) in [(false, true), (true, true), (false, false), (true, false)] {
                    let mut check = Listed { mask: &mask, is_batched, gives_mask, n_asked: 0 };
                    let found =
                        draw_checked(&mut sampler, &logits, temperature, &mut check, rng, Purpose::SAMPLE)
                            .unwrap();
                    assert_eq!(found.token, expected.map(|draw| draw.token), "{case} {temperature}");
                    assert_eq!(found.n_checks, check.n_asked);
                    assert!(!gives_mask || found.n_checks <= MAX_CHECKS + MAX_AHEAD);
                    assert!(gives_mask || !found.has_masked);
                    n_masked += usize::from(found.has_masked);
                    n_unmasked += usize::from(!found.has_masked);
                }
                if share == 1.0 {
                    let mut check = Listed { mask: &mask, is_batched: false, gives_mask: true, n_asked: 0 };
                    let found =
                        draw_checked(&mut sampler, &logits, temperature, &mut check, rng, Purpose::SAMPLE)
                            .unwrap();
                    assert!(found.n_checks <= 2);
                    assert_eq!(found.log_prob, expected.unwrap().log_prob);
                }
            }
        }
        assert!(n_masked > 100 && n_unmasked > 100);
    }
}

//! What does a draw weigh when some tokens are forbidden, and how few of them must be checked to know?
//!
//! Tokens are drawn without replacement and checked until one, `x`, is allowed: its law is that of the constrained
//! distribution `p(x) c(x) / Z`. What is missing is `Z`, and a few more checks estimate it without bias. Here `A` is the mass
//! known to be allowed and `U` the mass not seen yet. What the check knows beforehand ([`Check::known`]) is known from the
//! start and costs nothing.
//!
//! - **Known mass** (`top_m`, `extra`): the `top_m` heaviest tokens are checked up front. Draws come from `A + U`; a known
//!   token needs no check. After the first allowed one, `extra` more unseen tokens are drawn and checked, and with `y` the
//!   last of them and `U` the mass unseen before it, `w = A + U c(y)`. With 0 and 1 this is the recursive estimator.
//! - **Geometric** (`accepts`): the draws are read as draws with replacement, in which a rejected token may come up again:
//!   a geometric number of such repetitions is drawn. At `a = accepts` allowed and `r` rejected ones, `w = (a - 1) / (a + r - 1)`.
//!
//! A **budget** of checks keeps every estimator unbiased. Known mass: the last check of an unsuccessful search is a last
//! draw `y` from `U`; then `x` is drawn from `A` and, where `y` is allowed, `U` in its name, and `w = A + U c(y)`.
//! Geometric: the search ends at `M = budget - accepts + 1` rejections, with `w = min(accepts - 1, a) / (a + M - 1)`.
//! A **tolerance** stops the search where less than that share of the row's mass is unseen and takes it for forbidden: for
//! every f between 0 and 1 the mean of `w f(x)` is then off by at most that share. `docs/concepts/awrs.md` has the proofs.
//!
//! Invariants: `A <= w <= 1 - R` for known mass, `R` the mass rejected; a token is checked once, one without mass never.
//!
//! Cost: one pass over the row, and about `1 / Z` checks where the allowed mass is spread; at worst every token that has mass.
//!
//! Lipkin et al., "Fast controlled generation from language models with adaptive weighted rejection sampling", 2025,
//! section 4; the recursive and the geometric estimator are those of the authors' library.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use tokenloom_vocab::TokenId;

use super::row_mass::{LogProb, RowMass};
use super::urn::{Race, Token, Urn, log_add};
use crate::rng::Rng;

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

    /// Verdicts that cost nothing, such as that on the end of the text; each token once.
    fn known(&self) -> &[(TokenId, bool)] {
        &[]
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

/// How the allowed mass is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// From what is known to be allowed and one unseen token.
    KnownMass {
        /// Tokens checked up front, the heaviest ones.
        top_m: usize,
        /// Unseen tokens checked after the first allowed one.
        extra: NonZeroUsize,
    },
    /// From the number of draws with replacement that the draws stand for.
    Geometric {
        /// Allowed draws to wait for, at least 2.
        accepts: usize,
    },
}

impl Estimator {
    /// One check more than the first allowed token needs.
    pub const RECURSIVE: Self = Self::KnownMass { top_m: 0, extra: NonZeroUsize::MIN };
}

/// How a token is weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighing {
    /// The estimator.
    pub estimator: Estimator,
    /// Most tokens to check; at least `accepts` for the geometric estimator.
    pub budget: Option<NonZeroUsize>,
    /// Unseen mass, as a share of the row's, that is taken for forbidden.
    pub tolerance: f64,
}

impl Default for Weighing {
    fn default() -> Self {
        Self { estimator: Estimator::RECURSIVE, budget: None, tolerance: 0.0 }
    }
}

/// A token that is properly weighted for the constrained distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedToken {
    /// The token, or `None` where none was found to be allowed.
    pub token: Option<TokenId>,
    /// The natural logarithm of the weight; `-inf` without a token.
    pub log_weight: f64,
    /// How many tokens were checked.
    pub n_checks: usize,
}

/// Draws a token of a row under a check.
///
/// # Errors
/// The error of the check.
pub fn awrs<T: LogProb, C: Check>(
    row: &RowMass<'_, T>,
    check: C,
    rng: Rng,
    weighing: &Weighing,
) -> Result<WeightedToken, C::Error> {
    weigh(&mut Race::new(row, rng), check, weighing)
}

/// The same from any urn.
///
/// # Errors
/// The error of the check.
pub fn weigh<U: Urn, C: Check>(
    urn: &mut U,
    check: C,
    weighing: &Weighing,
) -> Result<WeightedToken, C::Error> {
    let log_total = urn.log_rest();
    let mut search = Search {
        log_negligible: log_total + weighing.tolerance.ln(),
        known: Vec::new(),
        log_known: f64::NEG_INFINITY,
        left: weighing.budget.map_or(usize::MAX, NonZeroUsize::get),
        lookahead: if check.is_batched() { 2 } else { 1 },
        ready: VecDeque::new(),
        n_checks: 0,
        has_rejected: false,
        urn,
        check,
    };
    search.recall();
    let found = match weighing.estimator {
        Estimator::KnownMass { top_m, extra } => search.known_mass(top_m, extra.get())?,
        Estimator::Geometric { accepts } => search.geometric(accepts.max(2), log_total)?,
    };
    let (token, log_weight) = match found {
        Some((token, log_weight)) => (Some(token), log_weight),
        None => (None, f64::NEG_INFINITY),
    };
    Ok(WeightedToken { token, log_weight, n_checks: search.n_checks })
}

/// A token that was checked, and the mass that was unseen before it.
struct Verdict {
    token: Token,
    log_rest: f64,
    is_allowed: bool,
}

struct Search<'u, U, C> {
    urn: &'u mut U,
    check: C,
    /// Tokens known to be allowed, and their mass.
    known: Vec<Token>,
    log_known: f64,
    log_negligible: f64,
    /// Checked ahead of need.
    ready: VecDeque<Verdict>,
    lookahead: usize,
    /// Verdicts that may still be looked at.
    left: usize,
    n_checks: usize,
    /// Whether a token with mass is known to be forbidden.
    has_rejected: bool,
}

type Found<E> = Result<Option<(TokenId, f64)>, E>;

impl<U: Urn, C: Check> Search<'_, U, C> {
    /// Takes what is known beforehand out of the urn.
    fn recall(&mut self) {
        let verdicts = self.check.known().to_vec();
        let ids: Vec<TokenId> = verdicts.iter().map(|&(id, _)| id).collect();
        for token in self.urn.remove(&ids) {
            match verdicts.iter().any(|&(id, is_allowed)| id == token.id && is_allowed) {
                true => self.learn(token),
                false => self.has_rejected = true,
            }
        }
    }

    fn known_mass(&mut self, top_m: usize, n_extra: usize) -> Found<C::Error> {
        self.check_heaviest(top_m)?;
        let mut found = None;
        while found.is_none() {
            let log_unseen = self.log_unseen();
            if log_unseen == f64::NEG_INFINITY {
                return Ok(self.choose_known().map(|token| (token, self.log_known)));
            }
            if self.left == 1 {
                return self.last_draw();
            }
            if self.log_known > f64::NEG_INFINITY && self.urn.choose(&[self.log_known, log_unseen]) == 0 {
                found = self.choose_known();
            } else if let Some(verdict) = self.next()?
                && verdict.is_allowed
            {
                found = Some(verdict.token.id);
                self.learn(verdict.token);
            }
        }
        self.lookahead = n_extra;
        let mut log_weight = self.log_known;
        for n_left in (0..n_extra.min(self.left)).rev() {
            if self.log_unseen() == f64::NEG_INFINITY {
                break;
            }
            match self.next()? {
                Some(verdict) if verdict.is_allowed && n_left == 0 => {
                    log_weight = log_add(self.log_known, verdict.log_rest);
                }
                Some(verdict) if verdict.is_allowed => {
                    self.learn(verdict.token);
                    log_weight = self.log_known;
                }
                _ => {}
            }
        }
        Ok(found.map(|token| (token, log_weight)))
    }

    /// One check is left and nothing new is allowed yet.
    fn last_draw(&mut self) -> Found<C::Error> {
        if let Some(verdict) = self.next()?
            && verdict.is_allowed
        {
            self.learn(Token { id: verdict.token.id, log_mass: verdict.log_rest });
        }
        Ok(self.choose_known().map(|token| (token, self.log_known)))
    }

    fn geometric(&mut self, n_accepts: usize, log_total: f64) -> Found<C::Error> {
        let most_rejects = match self.left {
            usize::MAX => f64::INFINITY,
            budget => (budget + 1).saturating_sub(n_accepts).max(1) as f64,
        };
        let (mut accepts, mut rejects, mut found) = (0, 0.0, None);
        while accepts < n_accepts && rejects < most_rejects {
            let log_unseen = self.log_unseen();
            let log_left = log_add(self.log_known, log_unseen);
            if log_left == f64::NEG_INFINITY {
                break;
            }
            if self.has_rejected {
                rejects += self.urn.failures((log_left - log_total).exp());
                if rejects >= most_rejects {
                    break;
                }
            }
            if self.log_known > f64::NEG_INFINITY && self.urn.choose(&[self.log_known, log_unseen]) == 0 {
                accepts += 1;
                found = found.or_else(|| self.choose_known());
            } else if let Some(verdict) = self.next()? {
                if verdict.is_allowed {
                    accepts += 1;
                    found.get_or_insert(verdict.token.id);
                    self.learn(verdict.token);
                } else {
                    rejects += 1.0;
                    self.has_rejected = true;
                }
            }
        }
        let n_draws = accepts as f64 + rejects.min(most_rejects);
        let log_share = (accepts.min(n_accepts - 1) as f64).ln() - (n_draws - 1.0).ln();
        Ok(found.map(|token| (token, log_total + log_share)))
    }

    /// What is unseen, or nothing where that is negligible.
    fn log_unseen(&mut self) -> f64 {
        let log_rest = match self.ready.front() {
            Some(verdict) => verdict.log_rest,
            None => self.urn.log_rest(),
        };
        if log_rest > self.log_negligible { log_rest } else { f64::NEG_INFINITY }
    }

    fn learn(&mut self, token: Token) {
        self.known.push(token);
        self.log_known = log_add(self.log_known, token.log_mass);
    }

    fn choose_known(&mut self) -> Option<TokenId> {
        match &self.known[..] {
            [] => None,
            [only] => Some(only.id),
            known => {
                let log_masses: Vec<f64> = known.iter().map(|token| token.log_mass).collect();
                Some(known[self.urn.choose(&log_masses)].id)
            }
        }
    }

    fn check_heaviest(&mut self, n: usize) -> Result<(), C::Error> {
        let heaviest = self.urn.heaviest(n.min(self.left - 1));
        if heaviest.is_empty() {
            return Ok(());
        }
        let verdicts = self.ask(&heaviest)?;
        self.left -= heaviest.len();
        heaviest
            .into_iter()
            .zip(verdicts)
            .filter(|(_, is_allowed)| *is_allowed)
            .for_each(|(token, _)| self.learn(token));
        Ok(())
    }

    fn ask(&mut self, tokens: &[Token]) -> Result<Vec<bool>, C::Error> {
        self.n_checks += tokens.len();
        match tokens {
            [one] if !self.check.is_batched() => Ok(vec![self.check.check(one.id)?]),
            many => self.check.check_many(&many.iter().map(|token| token.id).collect::<Vec<_>>()),
        }
    }

    /// The next unseen token, checked; some are checked ahead where that is cheap.
    fn next(&mut self) -> Result<Option<Verdict>, C::Error> {
        if self.ready.is_empty() {
            let (mut tokens, mut rests) = (Vec::new(), Vec::new());
            let n_wanted = if self.check.is_batched() { self.lookahead.min(self.left) } else { 1 };
            while tokens.len() < n_wanted {
                rests.push(self.urn.log_rest());
                let Some(token) = self.urn.draw() else { break };
                tokens.push(token);
            }
            if tokens.is_empty() {
                return Ok(None);
            }
            let verdicts = self.ask(&tokens)?;
            self.ready.extend(
                tokens.into_iter().zip(rests).zip(verdicts).map(|((token, log_rest), is_allowed)| Verdict {
                    token,
                    log_rest,
                    is_allowed,
                }),
            );
            self.lookahead = (2 * self.lookahead).min(MAX_LOOKAHEAD);
        }
        self.left = self.left.saturating_sub(1);
        Ok(self.ready.pop_front())
    }
}

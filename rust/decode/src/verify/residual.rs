//! What is left of the target after drafted tokens were rejected?
//!
//! Every rule here leaves the same shape: the positive part of `p - c q` for one number `c`. Rejecting a draw from `q` turns
//! the residual `(p - c q)+ / s` into the positive part of `(p - c q)+ / s - q`, which is `(p - (c + s) q)+` again. So a residual is two rows
//! and a number, nothing as long as the vocabulary is written, and a pass over two rows answers every question. The few
//! tokens that leave the shape (drawn without replacement, or proposed for certain) are listed with their mass.

use tokenloom_vocab::TokenId;

use super::row::{Number, Row};
use super::tiles::{BLOCK, Total};
use crate::rng::{Purpose, Rng};
use crate::sample::WeightedRace;

/// Masses `(p - c q)+`, which need not sum to one, with exceptions.
#[derive(Clone, Debug)]
pub struct Residual<'a, T> {
    p: Row<'a, T>,
    /// The draft's row; `p` itself where nothing was drafted, with `c = 0`.
    q: Row<'a, T>,
    c: f64,
    /// The sum of the masses.
    mass: f64,
    /// Tokens with a mass of their own.
    fixed: Vec<(TokenId, f64)>,
}

impl<'a, T: Number> Residual<'a, T> {
    /// The target itself.
    pub fn whole(p: Row<'a, T>) -> Self {
        Self { p, q: p, c: 0.0, mass: 1.0, fixed: Vec::new() }
    }

    /// The target itself, of which multiples of `q` may be taken.
    pub fn new(p: Row<'a, T>, q: Row<'a, T>) -> Self {
        Self { q, ..Self::whole(p) }
    }

    /// How often `q` was taken away.
    pub fn c(&self) -> f64 {
        self.c
    }

    /// The sum of the masses.
    pub fn mass(&self) -> f64 {
        self.mass
    }

    /// The draft's probability of a token.
    pub(super) fn draft_prob(&self, token: TokenId) -> f64 {
        self.q.prob(token)
    }

    /// The normalised probability of a token.
    pub fn prob(&self, token: TokenId) -> f64 {
        if self.mass > 0.0 { self.mass_of(token) / self.mass } else { 0.0 }
    }

    /// The mass of a token.
    pub fn mass_of(&self, token: TokenId) -> f64 {
        match self.fixed.iter().find(|(fixed, _)| *fixed == token) {
            Some(&(_, mass)) => mass,
            None => self.shape_of(token),
        }
    }

    fn shape_of(&self, token: TokenId) -> f64 {
        let (p, q): (f64, f64) =
            (self.p.weights[token as usize].into(), self.q.weights[token as usize].into());
        (self.p.scale * p - self.c * self.q.scale * q).max(0.0)
    }

    /// Takes `c` times `q` away, and returns the mass that is left.
    pub fn take(&mut self, c: f64) -> f64 {
        self.c = c;
        self.mass = T::excess(self.p.weights, self.p.scale, self.q.weights, c * self.q.scale);
        let more: f64 = self.fixed.iter().map(|&(token, mass)| mass - self.shape_of(token)).sum();
        self.mass += more;
        self.mass
    }

    /// Leaves `(p - c q)+` to draw from, without adding it up.
    pub(super) fn leave(&mut self, c: f64) {
        self.c = c;
    }

    /// Takes `c` times `q` more away; where rounding leaves nothing, the target is whole again.
    pub(super) fn take_more(&mut self, c: f64) {
        if self.take(self.c + c) <= 0.0 {
            self.restore();
        }
    }

    /// Makes the target whole again.
    pub(super) fn restore(&mut self) {
        (self.c, self.mass) = (0.0, 1.0);
        self.fixed.clear();
    }

    /// The mass that is left after taking `c` times `q`.
    pub(super) fn left_after(&self, c: f64) -> f64 {
        T::excess(self.p.weights, self.p.scale, self.q.weights, c * self.q.scale)
    }

    /// Gives a token, which has none yet, a mass of its own from now on.
    pub fn fix(&mut self, token: TokenId, mass: f64) {
        self.fixed.push((token, mass));
    }

    /// Takes all of a token away, as of all tokens that are fixed.
    pub(super) fn remove(&mut self, token: TokenId) {
        if self.fixed.iter().any(|(fixed, _)| *fixed == token) {
            return;
        }
        self.fixed.push((token, 0.0));
        let mut removed: Vec<TokenId> = self.fixed.iter().map(|(token, _)| *token).collect();
        removed.sort_unstable();
        self.mass = self.p.prob_without(&removed);
    }

    /// The token that the race draws, so that the noise of a token is that of plain sampling; where rounding left no mass at
    /// all, the target's.
    pub fn race(&self, rng: Rng, purpose: Purpose) -> Option<TokenId> {
        let mut race = WeightedRace::new(rng, purpose);
        self.for_each_block(|first, weights| race.run(first, weights));
        match race.winner() {
            None if self.c > 0.0 => Self::whole(self.p).race(rng, purpose),
            winner => winner,
        }
    }

    /// The token at which the masses, added up in order, pass the share `uniform` of their sum; where rounding left no mass
    /// at all, the target's. One pass over the sums of blocks, and one block.
    pub fn at_share(&self, uniform: f64) -> Option<TokenId> {
        let mut sums = Vec::with_capacity(self.p.weights.len().div_ceil(BLOCK));
        self.for_each_block(|_, weights| sums.push(f64::sum_and_min(weights).0));
        let mut total = Total::ZERO;
        sums.iter().for_each(|&sum| total.add_sum(sum));
        let mut left = uniform * total.sum();
        let mut last = None;
        for (n_block, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            last = Some(n_block);
            if left < sum {
                break;
            }
            left -= sum;
        }
        let Some(n_block) = last else {
            return if self.c > 0.0 { Self::whole(self.p).at_share(uniform) } else { None };
        };
        let mut block = [0f64; BLOCK];
        let weights = self.fill_block(n_block, &mut block);
        let mut token = None;
        for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            token = Some((n_block * BLOCK + i) as TokenId);
            if left < weight {
                break;
            }
            left -= weight;
        }
        token
    }

    fn for_each_block(&self, mut of: impl FnMut(u32, &[f64])) {
        let mut block = [0f64; BLOCK];
        for n_block in 0..self.p.weights.len().div_ceil(BLOCK) {
            of((n_block * BLOCK) as u32, self.fill_block(n_block, &mut block));
        }
    }

    /// The masses of a block of tokens.
    fn fill_block<'b>(&self, n_block: usize, block: &'b mut [f64; BLOCK]) -> &'b [f64] {
        let first = n_block * BLOCK;
        let end = (first + BLOCK).min(self.p.weights.len());
        let weights = &mut block[..end - first];
        let (p, q) = (&self.p.weights[first..end], &self.q.weights[first..end]);
        T::fill_excess(p, self.p.scale, q, self.c * self.q.scale, weights);
        for &(token, mass) in &self.fixed {
            if let Some(weight) = (token as usize).checked_sub(first).and_then(|i| weights.get_mut(i)) {
                *weight = mass;
            }
        }
        weights
    }

    /// The smallest token with the largest probability.
    pub(super) fn best(&self) -> Option<TokenId> {
        let tokens = (0..self.p.weights.len() as TokenId).map(|token| (self.mass_of(token), token));
        let best = tokens
            .fold((0.0, None), |best, (mass, token)| if mass > best.0 { (mass, Some(token)) } else { best });
        best.1
    }

    /// The sum over all tokens of what `of` says about their mass here and in the draft, both as probabilities.
    pub(super) fn sum_over(&self, mut of: impl FnMut(f64, f64) -> f64) -> f64 {
        let tokens = 0..self.p.weights.len() as TokenId;
        tokens.map(|token| of(self.prob(token), self.q.prob(token))).sum()
    }

    /// The tokens that can be drawn, and their probabilities.
    pub fn probs(&self) -> Vec<(TokenId, f64)> {
        let mut probs = Vec::new();
        self.for_each_block(|first, weights| {
            probs.extend(
                (first..).zip(weights).filter(|(_, mass)| **mass > 0.0).map(|(token, &mass)| (token, mass)),
            );
        });
        if probs.is_empty() && self.c > 0.0 {
            return Self::whole(self.p).probs();
        }
        let total: f64 = probs.iter().map(|(_, mass)| mass).sum();
        probs.iter_mut().for_each(|(_, mass)| *mass /= total);
        probs
    }
}

//! Where do the decisions of a verification come from?
//!
//! A rule makes two kinds of decisions: it accepts a node with some probability, and it draws a token. [`Seeded`] looks
//! them up by address; [`law`] makes them all, one after the other, and returns the exact law of whatever the rule
//! returns. What is enumerated is the code that runs.
//!
//! Addresses: a token is drawn at its own absolute position, with purpose `SAMPLE` where it is drawn from the target
//! itself (so a verification that drafts nothing is plain sampling) and number 0 of `RESIDUAL` otherwise; both happen at
//! most once a position, because a position is committed once. Node `j` is accepted by the uniform number of "token" `j`, purpose
//! `ACCEPT`, at the position of the root, which no other verification of the request has.

use tokenloom_vocab::TokenId;

use super::residual::Residual;
use super::row::Number;
use crate::rng::{Purpose, Rng};

/// The decisions of one verification.
pub trait Chance {
    /// True with this probability; asked once for each node at most.
    fn accepts(&mut self, node: usize, probability: f64) -> bool;

    /// A token `depth` places behind the root, drawn from what is left; `None` only for a row without tokens.
    fn draw<T: Number>(&mut self, from: &Residual<'_, T>, depth: usize, purpose: Purpose) -> Option<TokenId>;
}

/// Decisions by counter-based random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Seeded {
    /// The seed, and the absolute position of the first token that is committed.
    pub rng: Rng,
}

impl Chance for Seeded {
    fn accepts(&mut self, node: usize, probability: f64) -> bool {
        probability >= 1.0
            || (probability > 0.0 && self.rng.uniform(node as u32, Purpose::ACCEPT) < probability)
    }

    fn draw<T: Number>(&mut self, from: &Residual<'_, T>, depth: usize, purpose: Purpose) -> Option<TokenId> {
        draw_at(from, self.rng.at(self.rng.position.wrapping_add(depth as u64)), purpose)
    }
}

/// A whole target is raced for, as in plain sampling; of what is left a token is found by one uniform number, which needs
/// no noise of its own for each token.
pub(super) fn draw_at<T: Number>(from: &Residual<'_, T>, rng: Rng, purpose: Purpose) -> Option<TokenId> {
    if purpose == Purpose::RESIDUAL {
        from.at_share(rng.uniform(0, purpose))
    } else {
        from.race(rng, purpose)
    }
}

/// Decisions without chance: the likelier answer, the most probable token.
#[derive(Clone, Copy, Debug)]
pub struct Likeliest;

impl Chance for Likeliest {
    fn accepts(&mut self, _node: usize, probability: f64) -> bool {
        probability >= 0.5
    }

    fn draw<T: Number>(&mut self, from: &Residual<'_, T>, _: usize, _: Purpose) -> Option<TokenId> {
        from.best()
    }
}

/// One way through all decisions, made as a script says and recorded behind its end.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    /// Decisions to make, each the index of a possible answer.
    script: Vec<usize>,
    n_made: usize,
    probability: f64,
    /// For every decision behind the script: how many answers there were besides the first.
    open: Vec<usize>,
}

impl Scripted {
    /// Answers with one of several options of positive probability.
    fn decide(&mut self, probabilities: &[f64]) -> usize {
        let answer = match self.script.get(self.n_made) {
            Some(&answer) => answer,
            None => {
                self.script.push(0);
                self.open.push(probabilities.len() - 1);
                0
            }
        };
        self.n_made += 1;
        self.probability *= probabilities[answer];
        answer
    }
}

impl Chance for Scripted {
    fn accepts(&mut self, _node: usize, probability: f64) -> bool {
        if probability >= 1.0 || probability <= 0.0 {
            return probability >= 1.0;
        }
        self.decide(&[probability, 1.0 - probability]) == 0
    }

    fn draw<T: Number>(&mut self, from: &Residual<'_, T>, _: usize, _: Purpose) -> Option<TokenId> {
        let (tokens, probs): (Vec<TokenId>, Vec<f64>) = from.probs().into_iter().unzip();
        if tokens.is_empty() { None } else { Some(tokens[self.decide(&probs)]) }
    }
}

/// Everything that `verify` can return, with its probability; equal results are not merged.
///
/// As many runs as there are sequences of decisions: for tiny vocabularies.
pub fn law<R>(mut verify: impl FnMut(&mut Scripted) -> R) -> Vec<(R, f64)> {
    let mut results = Vec::new();
    let mut scripts = vec![Vec::new()];
    while let Some(script) = scripts.pop() {
        let n_given = script.len();
        let mut run = Scripted { script, probability: 1.0, ..Scripted::default() };
        results.push((verify(&mut run), run.probability));
        for (i, &n_others) in run.open.iter().enumerate() {
            let before = &run.script[..n_given + i];
            scripts.extend((1..=n_others).map(|answer| [before, &[answer]].concat()));
        }
    }
    results
}

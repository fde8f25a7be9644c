//! How much more may stay if the law may change a little? LOSSY, and by how much is said.
//!
//! **Typical** keeps the longest path of tokens that are probable enough for their row; **margin** follows the most
//! probable child while it is close to the best token; **neighbours** lets a token stand for others that mean the same.
//! After the path the next token is the target's.
//!
//! With each result comes a bound: the sum, over the places that were looked at, of the total variation between the law of
//! that place and the target's. The mean of this sum over all runs bounds the total variation of the committed text,
//! because two processes that agree except with probability `d_i` at place `i` agree throughout except with probability
//! `E[sum d_i]`.
//!
//! Neighbours, as published, moves mass at most `delta` to a drafted token and calls that the bound. It is one for a draft
//! that is not drawn, where here the siblings of a place share one `delta`; where tokens are drawn from `q`, every token that could have been drawn
//! moves mass, and the bound is the sum of `min((q - p)+, delta)`.
//!
//! O(n V). Cai et al., "Medusa", 2024; Jang et al., "LANTERN", 2025.

use tokenloom_vocab::TokenId;

use super::Accepted;
use super::chance::Chance;
use super::error::{VerifyError, VerifyErrorKind};
use super::nodes::{Children, accepted, token_of};
use super::residual::Residual;
use super::row::{Number, Row, TreeRows};
use crate::draft::DraftTree;
use crate::rng::Purpose;

/// A rule that changes the law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relaxed<'a> {
    /// A token passes with at least `min(epsilon, delta exp(-H))` of its row, where H is the entropy in nats.
    Typical {
        /// Enough in any row.
        epsilon: f64,
        /// Enough in a row of entropy 0.
        delta: f64,
    },
    /// The most probable child passes with at least this share of the best token's probability.
    Margin {
        /// Between 0 and 1.
        ratio: f64,
    },
    /// A token passes as often as it and its nearest neighbours are said.
    Neighbours {
        /// The neighbours of each token, nearest first, row after row.
        order: &'a [i32],
        /// Neighbours of one token.
        width: usize,
        /// How much mass neighbours may lend at a place.
        delta: f64,
        /// And how much of the token's own mass at most.
        ratio: f64,
    },
}

impl Relaxed<'_> {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Range`], [`VerifyErrorKind::Length`], [`VerifyErrorKind::Token`].
    pub fn check(&self, n_vocab: usize) -> Result<(), VerifyError> {
        let in_range = |argument, found: f64, largest: f64| match (0.0..=largest).contains(&found) {
            true => Ok(()),
            false if largest.is_finite() => {
                Err(VerifyErrorKind::Range { argument, expected: "between 0 and 1", found })
            }
            false => Err(VerifyErrorKind::Range { argument, expected: "at least 0", found }),
        };
        match *self {
            Self::Typical { epsilon, delta } => {
                in_range("epsilon", epsilon, 1.0)?;
                in_range("delta", delta, 1.0)?;
            }
            Self::Margin { ratio } => in_range("ratio", ratio, 1.0)?,
            Self::Neighbours { order, width, delta, ratio } => {
                in_range("delta", delta, 1.0)?;
                in_range("ratio", ratio, f64::INFINITY)?;
                let (expected, found) = (n_vocab * width, order.len());
                if expected != found {
                    return Err(VerifyErrorKind::Length { argument: "order", expected, found }.into());
                }
                let is_bad = |token: &i32| !(0..n_vocab as i64).contains(&i64::from(*token));
                if let Some(node) = order.iter().position(is_bad) {
                    return Err(VerifyErrorKind::Token { node, token: order[node], n_vocab }.into());
                }
            }
        }
        Ok(())
    }
}

/// Accepts a path by a rule that changes the law, and bounds the change; `q` is what independent siblings were drawn from
/// and belongs to [`Relaxed::Neighbours`] alone. The rule is one that [`Relaxed::check`] likes.
///
/// # Errors
/// [`VerifyError`] for rows that are no distributions, tokens that are no columns, and tokens that cannot have been drawn.
pub fn relaxed<T: Number>(
    p: TreeRows<'_, T>,
    q: Option<TreeRows<'_, T>>,
    tree: &DraftTree,
    rule: Relaxed<'_>,
    chance: &mut impl Chance,
) -> Result<(Accepted, f64), VerifyError> {
    let mut search = Search { p, q, tree, children: Children::new(tree), bound: 0.0 };
    let (last, token) = match rule {
        Relaxed::Typical { epsilon, delta } => (search.typical(epsilon, delta)?, None),
        Relaxed::Margin { ratio } => (search.margin(ratio)?, None),
        Relaxed::Neighbours { order, width, delta, ratio } => {
            search.neighbours(&Lenders { order, width, delta, ratio }, chance)?
        }
    };
    let token = match token {
        Some(token) => Some(token),
        None => {
            let depth = last.map_or(0, |node| tree.depths()[node] as usize);
            let row = p.row(last.map_or(0, |node| node + 1))?;
            chance.draw(&Residual::whole(row), depth, Purpose::SAMPLE)
        }
    };
    Ok((accepted(tree, last, token, p)?, search.bound.min(1.0)))
}

struct Search<'a, T> {
    p: TreeRows<'a, T>,
    q: Option<TreeRows<'a, T>>,
    tree: &'a DraftTree,
    children: Children,
    bound: f64,
}

impl<T: Number> Search<'_, T> {
    /// The end of the longest path of tokens that pass; of equally long ones the most probable.
    fn typical(&mut self, epsilon: f64, delta: f64) -> Result<Option<usize>, VerifyError> {
        // Depth, log-probability, sum of what each place is away from the target; the root's first.
        let mut reached = vec![None; self.tree.n_nodes() + 1];
        reached[0] = Some((0usize, 0.0f64, 0.0f64));
        let mut best = 0;
        for row in 0..reached.len() {
            let Some((depth, log_prob, change)) = reached[row] else { continue };
            if self.children.of(row).is_empty() {
                continue;
            }
            let target = self.p.row(row)?;
            let mut threshold = None;
            for &child in self.children.of(row) {
                let prob = target.prob(token_of(self.tree, child, self.p)?);
                let passes = prob > 0.0
                    && (prob >= epsilon
                        || prob >= *threshold.get_or_insert_with(|| delta * (-entropy(&target)).exp()));
                if passes {
                    let found = (depth + 1, log_prob + prob.ln(), change + 1.0 - prob);
                    reached[child + 1] = Some(found);
                    let longest = reached[best].map_or((0, 0.0), |(depth, log_prob, _)| (depth, log_prob));
                    if (found.0, found.1) > longest {
                        best = child + 1;
                    }
                }
            }
        }
        self.bound = reached[best].map_or(0.0, |(_, _, change)| change);
        Ok(best.checked_sub(1))
    }

    fn margin(&mut self, ratio: f64) -> Result<Option<usize>, VerifyError> {
        let mut last = None;
        loop {
            let row = last.map_or(0, |node| node + 1);
            if self.children.of(row).is_empty() {
                return Ok(last);
            }
            let target = self.p.row(row)?;
            let mut best: Option<(f64, usize)> = None;
            for &child in self.children.of(row) {
                let prob = target.prob(token_of(self.tree, child, self.p)?);
                if best.is_none_or(|(most, _)| prob > most) {
                    best = Some((prob, child));
                }
            }
            let top = T::max_and_nan(target.weights).0 * target.scale;
            match best.filter(|&(prob, _)| prob > 0.0 && prob >= ratio * top) {
                Some((prob, child)) => {
                    self.bound += 1.0 - prob;
                    last = Some(child);
                }
                None => return Ok(last),
            }
        }
    }

    fn neighbours(
        &mut self,
        lenders: &Lenders<'_>,
        chance: &mut impl Chance,
    ) -> Result<(Option<usize>, Option<TokenId>), VerifyError> {
        let (mut last, mut depth) = (None, 0);
        loop {
            let row = last.map_or(0, |node| node + 1);
            if self.children.of(row).is_empty() {
                return Ok((last, None));
            }
            let mut residual = match self.q {
                Some(q) => Residual::new(self.p.row(row)?, q.row(row)?),
                None => Residual::whole(self.p.row(row)?),
            };
            let chosen = match self.q {
                Some(q) => self.lend_to_drawn(row, q, &mut residual, lenders, chance)?,
                None => self.lend_to_fixed(row, &mut residual, lenders, chance)?,
            };
            match chosen {
                Some(node) => last = Some(node),
                None => return Ok((last, chance.draw(&residual, depth, Purpose::RESIDUAL))),
            }
            depth += 1;
        }
    }

    /// Siblings that were not drawn: each takes its own mass and what is lent; the place as a whole lends `delta`.
    fn lend_to_fixed(
        &mut self,
        row: usize,
        residual: &mut Residual<'_, T>,
        lenders: &Lenders<'_>,
        chance: &mut impl Chance,
    ) -> Result<Option<usize>, VerifyError> {
        let (mut chosen, mut reach, mut left) = (None, 1.0f64, lenders.delta);
        for &node in self.children.of(row) {
            let token = token_of(self.tree, node, self.p)?;
            // Rounding may leave nothing behind siblings that have all the mass.
            if reach <= 0.0 || residual.mass() <= 0.0 {
                break;
            }
            let prob = residual.prob(token);
            let lent = lenders.lent(token, residual, (left / reach).min(lenders.ratio * prob));
            self.bound += reach * lent;
            left = (left - reach * lent).max(0.0);
            reach *= (1.0 - prob - lent).max(0.0);
            if chosen.is_none() && chance.accepts(node, prob + lent) {
                chosen = Some(node);
            }
            residual.remove(token);
        }
        if chosen.is_none() && residual.mass() <= 0.0 {
            residual.restore();
        }
        Ok(chosen)
    }

    /// Independent draws from `q`, tested in turn.
    fn lend_to_drawn(
        &mut self,
        row: usize,
        q: TreeRows<'_, T>,
        residual: &mut Residual<'_, T>,
        lenders: &Lenders<'_>,
        chance: &mut impl Chance,
    ) -> Result<Option<usize>, VerifyError> {
        let (mut chosen, mut reach) = (None, 1.0);
        for &node in self.children.of(row) {
            let token = token_of(self.tree, node, self.p)?;
            let drawn = residual.draft_prob(token);
            if drawn.is_nan() || drawn <= 0.0 {
                return Err(VerifyErrorKind::Impossible { node, token, row: q.index(row) }.into());
            }
            let cap = |prob: f64| lenders.delta.min(lenders.ratio * prob);
            self.bound += reach * residual.sum_over(|p, q| (q - p).max(0.0).min(cap(p)));
            if chosen.is_none() {
                let prob = residual.prob(token);
                let lent = lenders.lent(token, residual, cap(prob));
                if chance.accepts(node, (prob + lent) / drawn) {
                    chosen = Some(node);
                }
            }
            let before = residual.mass();
            residual.take_more(before);
            reach *= (residual.mass() / before).min(1.0);
        }
        Ok(chosen)
    }
}

/// The neighbours that lend mass.
struct Lenders<'a> {
    order: &'a [i32],
    width: usize,
    delta: f64,
    ratio: f64,
}

impl Lenders<'_> {
    /// The mass of the nearest neighbours of a token, as many as stay within `limit`.
    fn lent<T: Number>(&self, token: TokenId, residual: &Residual<'_, T>, limit: f64) -> f64 {
        let mut lent = 0.0;
        let neighbours = &self.order[token as usize * self.width..][..self.width];
        for (i, &neighbour) in neighbours.iter().enumerate() {
            // A neighbour that is listed twice lends once; a token has its own mass already.
            if neighbour as TokenId == token || neighbours[..i].contains(&neighbour) {
                continue;
            }
            let more = lent + residual.prob(neighbour as TokenId);
            if more > limit {
                break;
            }
            lent = more;
        }
        lent
    }
}

/// In nats.
fn entropy<T: Number>(row: &Row<'_, T>) -> f64 {
    let probs = row.weights.iter().map(|&weight| weight.into() * row.scale);
    probs.filter(|&prob| prob > 0.0).map(|prob| -prob * prob.ln()).sum()
}

//! Which drafted tokens does the target say anyway?
//!
//! When a draft is a fixed tree, drawing the target's next token and stepping to the child that holds it is lossless,
//! and no lossless rule accepts more: a path survives with at most the probability the target gives it, and here with
//! exactly that. So there is one walk, [`walk_with`], and three ways to answer "which token does the target say in this
//! row?": the best one ([`greedy`]), the winner of the exponential race ([`walk`]), or one that was drawn before
//! ([`follow`]). Only the rows on the path are read: O(depth V).

use tokenloom_vocab::TokenId;

use super::chance::Chance;
use super::error::{VerifyError, VerifyErrorKind};
use super::residual::Residual;
use super::row::{Number, TreeRows};
use super::{Accepted, nodes::Children};
use crate::dist::{DistError, DistErrorKind};
use crate::draft::DraftTree;
use crate::rng::Purpose;

/// Walks down `tree` while the token that `draw` names for a row is one of its children; of equal ones the first.
///
/// `draw` is called with `(row, depth)` for row 0 and then for the row of each accepted node.
///
/// # Errors
/// Whatever `draw` fails with.
pub fn walk_with<E>(
    tree: &DraftTree,
    mut draw: impl FnMut(usize, usize) -> Result<TokenId, E>,
) -> Result<Accepted, E> {
    let children = Children::new(tree);
    let mut path: Vec<usize> = Vec::new();
    loop {
        let row = path.last().map_or(0, |&node| node + 1);
        let token = draw(row, path.len())?;
        match children.of(row).iter().find(|&&node| tree.tokens()[node] as TokenId == token) {
            Some(&node) => path.push(node),
            None => return Ok(Accepted { path, next_token: token }),
        }
    }
}

/// Accepts the tokens that greedy decoding says; among equal logits the smallest id is said.
///
/// # Errors
/// [`VerifyErrorKind::Row`] for a row on the path with NaN or `+inf`, or without a finite logit.
pub fn greedy<T: Number>(logits: TreeRows<'_, T>, tree: &DraftTree) -> Result<Accepted, VerifyError> {
    walk_with(tree, |row, _| {
        let (row, index) = logits.raw(row);
        Ok(best(row, index)?)
    })
}

/// Accepts the tokens that sampling draws from the target's rows.
///
/// # Errors
/// [`VerifyErrorKind::Row`] for a row on the path that is no distribution.
pub fn walk<T: Number>(
    p: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    walk_with(tree, |row, depth| {
        let target = Residual::whole(p.row(row)?);
        let token = chance.draw(&target, depth, Purpose::SAMPLE);
        token.ok_or(VerifyError::no_mass(p.index(row), p.n_vocab()))
    })
}

/// Accepts the tokens that were drawn before, one for each row.
///
/// # Errors
/// [`VerifyErrorKind::Rows`] where `sampled` is not one token for each row.
pub fn follow(sampled: &[TokenId], tree: &DraftTree) -> Result<Accepted, VerifyError> {
    let (found, expected) = (sampled.len(), tree.n_nodes() + 1);
    if found != expected {
        return Err(VerifyErrorKind::Rows { expected, found }.into());
    }
    walk_with(tree, |row, _| Ok(sampled[row]))
}

/// The smallest token with the largest logit.
fn best<T: Number>(logits: &[T], row: usize) -> Result<TokenId, DistError> {
    let (max, has_nan) = T::max_and_nan(logits);
    let value_of = |token: usize| -> f64 { logits[token].into() };
    let find = |is_it: &dyn Fn(f64) -> bool| (0..logits.len()).find(|&token| is_it(value_of(token)));
    if has_nan || max == f64::INFINITY {
        let token = find(&|value| value.is_nan() || value == f64::INFINITY).unwrap_or(0);
        return Err(DistErrorKind::NotFinite { row, token, value: value_of(token) }.into());
    }
    let token = find(&|value| value == max).filter(|_| max > f64::NEG_INFINITY);
    token.map(|token| token as TokenId).ok_or(DistErrorKind::NoMass { row, n_tokens: logits.len() }.into())
}

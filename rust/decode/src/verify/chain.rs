//! How much of one drawn continuation may stay?
//!
//! Token `x_i` was drawn from `q_i`. **Token by token**: accept it with probability `min(1, p/q)`, draw from `(p - q)+` at the
//! first rejection, from `p` after the last acceptance. **By blocks**: let `w_i = min(1, w_{i-1} p/q)` be the share of the
//! prefix that may stay, and keep the longest prefix that passes its own test `h_i`; a low ratio early can then be made
//! up for by a high one later, so the expected length is never below that of the first rule, and is the largest there is.
//!
//! One pass over both rows of each place that is looked at: O(n V) at worst. Leviathan et al. and Chen et al., "speculative
//! decoding" and "speculative sampling", 2023; Sun et al., "Block verification accelerates speculative decoding", 2024.

use tokenloom_vocab::TokenId;

use super::Accepted;
use super::chance::Chance;
use super::error::{VerifyError, VerifyErrorKind};
use super::nodes::{accepted, token_of};
use super::residual::Residual;
use super::row::{Number, TreeRows};
use crate::draft::DraftTree;
use crate::rng::Purpose;

/// Accepts token by token.
///
/// # Errors
/// [`VerifyError`] for a tree with branches, rows that are no distributions, tokens that are no columns, and tokens that
/// cannot have been drawn from their row of `q`.
pub fn chain<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    check_chain(tree)?;
    match first_rejection(p, q, tree, chance)? {
        Some((node, token)) => accepted(tree, node.checked_sub(1), Some(token), p),
        None => bonus(p, tree, chance),
    }
}

/// The first token of a chain that is rejected, and the one that takes its place.
pub(super) fn first_rejection<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Option<(usize, TokenId)>, VerifyError> {
    for node in 0..tree.n_nodes() {
        let mut residual = Residual::new(p.row(node)?, q.row(node)?);
        let ratio = ratio(&residual, p, q, tree, node)?;
        if !chance.accepts(node, ratio) {
            residual.leave(1.0);
            let token = chance.draw(&residual, node, Purpose::RESIDUAL);
            return Ok(Some((node, token.ok_or(VerifyError::no_mass(p.index(node), p.n_vocab()))?)));
        }
    }
    Ok(None)
}

/// Accepts the longest prefix that passes as a block.
///
/// # Errors
/// Those of [`chain`].
pub fn block<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    check_chain(tree)?;
    // The share of each prefix, as far as there is any.
    let mut shares = vec![1.0f64];
    for node in 0..tree.n_nodes() {
        let ratio = ratio(&Residual::new(p.row(node)?, q.row(node)?), p, q, tree, node)?;
        let share = (shares[node] * ratio).min(1.0);
        if share == 0.0 {
            break;
        }
        shares.push(share);
    }
    for n_kept in (1..shares.len()).rev() {
        if n_kept == tree.n_nodes() {
            if chance.accepts(n_kept - 1, shares[n_kept]) {
                return bonus(p, tree, chance);
            }
            continue;
        }
        let residual = after_block(p, q, n_kept, shares[n_kept])?;
        let left = shares[n_kept] * residual.mass();
        // 0 of 0: the block is free of loss up to here and rounding alone can have refused what follows.
        let passes = if shares[n_kept] >= 1.0 { 1.0 } else { left / (left + 1.0 - shares[n_kept]) };
        if chance.accepts(n_kept - 1, passes) {
            let token = chance.draw(&residual, n_kept, Purpose::RESIDUAL);
            return accepted(tree, Some(n_kept - 1), token, p);
        }
    }
    if tree.n_nodes() == 0 {
        return bonus(p, tree, chance);
    }
    let token = chance.draw(&after_block(p, q, 0, 1.0)?, 0, Purpose::RESIDUAL);
    accepted(tree, None, token, p)
}

/// `(share p - q)+` in a row, as a multiple of `share`.
fn after_block<'a, T: Number>(
    p: TreeRows<'a, T>,
    q: TreeRows<'a, T>,
    row: usize,
    share: f64,
) -> Result<Residual<'a, T>, VerifyError> {
    let mut residual = Residual::new(p.row(row)?, q.row(row)?);
    // A share below 1e-308 has no reciprocal: then next to nothing is left where q has mass.
    residual.take((1.0 / share).min(f64::MAX));
    Ok(residual)
}

/// `p/q` of the token of a node.
fn ratio<T: Number>(
    residual: &Residual<'_, T>,
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    node: usize,
) -> Result<f64, VerifyError> {
    let token = token_of(tree, node, p)?;
    let drawn = residual.draft_prob(token);
    if drawn.is_nan() || drawn <= 0.0 {
        return Err(VerifyErrorKind::Impossible { node, token, row: q.index(node) }.into());
    }
    Ok(residual.mass_of(token) / drawn)
}

fn bonus<T: Number>(
    p: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    let n_nodes = tree.n_nodes();
    let token = chance.draw(&Residual::whole(p.row(n_nodes)?), n_nodes, Purpose::SAMPLE);
    accepted(tree, n_nodes.checked_sub(1), token, p)
}

fn check_chain(tree: &DraftTree) -> Result<(), VerifyError> {
    match (-1..).zip(tree.parents()).find(|(expected, parent)| expected != *parent) {
        Some((before, &parent)) => {
            Err(VerifyErrorKind::Branch { node: (before + 1) as usize, parent }.into())
        }
        None => Ok(()),
    }
}

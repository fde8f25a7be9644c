//! Which of several drafts for one place may stay?
//!
//! At each place there are k candidates. **Recursive rejection** tests them in turn, each against what the ones before left
//! of the target. **k-SEQ** tests all of them against `p / (rho q)` with the one `rho` that makes the rest of the target fit.
//! **Greedy multi-draft** proposes all but one for certain, draws the last from the rest of `q`, and steps to a certain one
//! when the residual says its token. Accepting means descending, until nothing is accepted or nothing is drafted.
//!
//! Drafts drawn with replacement may repeat: all nodes with the accepted text are then continued together.
//!
//! Per place one pass over two rows for each rejection; k-SEQ needs about ten passes for `rho`. O(n V) at worst.
//! Miao et al., "SpecInfer", 2024; Chen et al., "Sequoia", 2024 (without replacement); Sun et al., "SpecTr", 2023; Hu et al.,
//! "Towards optimal multi-draft speculative decoding", 2025.

use tokenloom_vocab::TokenId;

use super::Accepted;
use super::chance::Chance;
use super::error::{VerifyError, VerifyErrorKind};
use super::nodes::{Children, accepted, token_of};
use super::residual::Residual;
use super::row::{Number, Row, TreeRows};
use crate::draft::DraftTree;
use crate::rng::Purpose;

/// What k-SEQ may be off by, as a probability.
const LARGEST_GAP: f64 = 1e-14;

/// Tests the candidates of a place in turn, each against what the ones before left of the target.
///
/// # Errors
/// [`VerifyError`] for rows that are no distributions, tokens that are no columns, and tokens that cannot have been drawn.
pub fn recursive<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    with_replacement: bool,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    descend(p, q, tree, chance, with_replacement, |place, residual, chance| {
        let mut removed: Vec<TokenId> = Vec::new();
        let mut rest = 1.0;
        for &node in place.candidates {
            let token = token_of(tree, node, p)?;
            let drawn = if removed.contains(&token) { 0.0 } else { residual.draft_prob(token) / rest };
            place.check_drawn(node, token, drawn, q)?;
            if chance.accepts(node, residual.prob(token) / drawn) {
                return Ok(Some(node));
            }
            residual.take_more(residual.mass() / rest);
            if !with_replacement {
                removed.insert(removed.partition_point(|&other| other < token), token);
                rest = place.draft.prob_without(&removed);
            }
        }
        Ok(None)
    })
}

/// Tests all candidates of a place against one threshold; they were drawn independently.
///
/// # Errors
/// Those of [`recursive`].
pub fn kseq<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    descend(p, q, tree, chance, true, |place, residual, chance| {
        let rho = rho(residual, place.candidates.len());
        for &node in place.candidates {
            let token = token_of(tree, node, p)?;
            let drawn = residual.draft_prob(token);
            place.check_drawn(node, token, drawn, q)?;
            if chance.accepts(node, residual.mass_of(token) / (rho * drawn)) {
                return Ok(Some(node));
            }
        }
        residual.leave(rho);
        Ok(None)
    })
}

/// The division factor of k-SEQ: `1 - (1 - b)^k = rho b`, where `b` is the mass of `min(q, p / rho)`.
///
/// With `s` the mass of `(p - rho q)+` that is `(1 - (1 - s)/rho)^k = s`. The left side minus the right rises from below zero at
/// `rho = 1` to above it at `k`: false position, where an end that stays twice counts half (Illinois). What is left of the
/// difference is the error of the law.
pub(super) fn rho<T: Number>(residual: &Residual<'_, T>, n_drafts: usize) -> f64 {
    let k = n_drafts as f64;
    let gap = |rho: f64| {
        let left = residual.left_after(rho);
        let refused = (1.0 - (1.0 - left) / rho).max(0.0);
        // Multiplied out, because the power functions of machines differ.
        (0..n_drafts).fold(1.0, |power, _| power * refused) - left
    };
    let (mut low, mut high) = ((1.0, gap(1.0)), (k, gap(k)));
    if low.1 >= -LARGEST_GAP {
        return low.0;
    }
    if high.1 <= LARGEST_GAP {
        return high.0;
    }
    // Which end was moved last: below zero the low one.
    let mut moved = 0.0;
    for _ in 0..200 {
        let inside = (low.0 * high.1 - high.0 * low.1) / (high.1 - low.1);
        let rho = if inside > low.0 && inside < high.0 { inside } else { 0.5 * (low.0 + high.0) };
        let found = gap(rho);
        if found.abs() <= LARGEST_GAP || high.0 - low.0 <= 4.0 * f64::EPSILON * rho {
            return rho;
        }
        let (end, other) = if found < 0.0 { (&mut low, &mut high) } else { (&mut high, &mut low) };
        *end = (rho, found);
        if moved * found > 0.0 {
            other.1 *= 0.5;
        }
        moved = found;
    }
    high.0
}

/// Proposes all candidates of a place but the last for certain; the last was drawn from the rest of `q`.
///
/// # Errors
/// Those of [`recursive`].
pub fn greedy_multi<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    let children = Children::new(tree);
    let (mut last, mut depth) = (None, 0);
    loop {
        let row = last.map_or(0, |node| node + 1);
        let Some((&drawn_node, certain)) = children.of(row).split_last() else {
            let token = chance.draw(&Residual::whole(p.row(row)?), depth, Purpose::SAMPLE);
            return accepted(tree, last, token, p);
        };
        let (target, draft) = (p.row(row)?, q.row(row)?);
        let tokens = certain.iter().map(|&node| Ok((token_of(tree, node, p)?, node)));
        let mut certain = tokens.collect::<Result<Vec<(TokenId, usize)>, VerifyError>>()?;
        certain.sort_unstable();
        certain.dedup_by_key(|(token, _)| *token);
        let tokens: Vec<TokenId> = certain.iter().map(|(token, _)| *token).collect();
        let token = token_of(tree, drawn_node, p)?;
        let rest = draft.prob_without(&tokens);
        let drawn = if tokens.contains(&token) || rest <= 0.0 { 0.0 } else { draft.prob(token) / rest };
        if drawn.is_nan() || drawn <= 0.0 {
            return Err(VerifyErrorKind::Impossible { node: drawn_node, token, row: q.index(row) }.into());
        }
        if chance.accepts(drawn_node, target.prob(token) / drawn) {
            last = Some(drawn_node);
        } else {
            let mut residual = Residual::new(target, draft);
            tokens.iter().for_each(|&token| residual.fix(token, target.prob(token)));
            residual.leave(1.0 / rest);
            let next = chance.draw(&residual, depth, Purpose::RESIDUAL);
            match certain.iter().find(|(token, _)| Some(*token) == next) {
                Some(&(_, node)) => last = Some(node),
                None => return accepted(tree, last, next, p),
            }
        }
        depth += 1;
    }
}

/// The candidates for the token behind one accepted text.
struct Place<'a, T> {
    candidates: &'a [usize],
    draft: Row<'a, T>,
    row: usize,
}

impl<T: Number> Place<'_, T> {
    fn check_drawn(
        &self,
        node: usize,
        token: TokenId,
        prob: f64,
        q: TreeRows<'_, T>,
    ) -> Result<(), VerifyError> {
        if prob > 0.0 {
            return Ok(());
        }
        Err(VerifyErrorKind::Impossible { node, token, row: q.index(self.row) }.into())
    }
}

/// Goes down while `choose` accepts a candidate; otherwise it leaves the residual to draw from.
fn descend<'a, T: Number, C: Chance>(
    p: TreeRows<'a, T>,
    q: TreeRows<'a, T>,
    tree: &DraftTree,
    chance: &mut C,
    with_replacement: bool,
    mut choose: impl FnMut(&Place<'_, T>, &mut Residual<'a, T>, &mut C) -> Result<Option<usize>, VerifyError>,
) -> Result<Accepted, VerifyError> {
    let children = Children::new(tree);
    // The rows that hold the accepted text, and the candidates behind any of them.
    let mut rows = vec![0];
    let mut candidates: Vec<usize> = Vec::new();
    let (mut last, mut depth) = (None, 0);
    loop {
        candidates.clear();
        candidates.extend(rows.iter().flat_map(|&row| children.of(row)));
        let Some(&first) = candidates.first() else {
            let token = chance.draw(&Residual::whole(p.row(rows[0])?), depth, Purpose::SAMPLE);
            return accepted(tree, last, token, p);
        };
        // All rows of the text hold the same laws, but only a row with children has one in `q`.
        let row = (tree.parents()[first] + 1) as usize;
        let draft = q.row(row)?;
        let mut residual = Residual::new(p.row(row)?, draft);
        let place = Place { candidates: &candidates, draft, row };
        let Some(node) = choose(&place, &mut residual, chance)? else {
            let token = chance.draw(&residual, depth, Purpose::RESIDUAL);
            return accepted(tree, last, token, p);
        };
        rows.clear();
        rows.push(node + 1);
        if with_replacement {
            let token = tree.tokens()[node];
            let same = |other: &usize| *other != node && tree.tokens()[*other] == token;
            rows.extend(candidates.iter().copied().filter(same).map(|other| other + 1));
        }
        last = Some(node);
        depth += 1;
    }
}

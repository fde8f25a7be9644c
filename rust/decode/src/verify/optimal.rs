//! How often could a drafted token be accepted at best?
//!
//! Of k tokens drawn independently from `q`, a rule keeps one that is then distributed as `p`, or none. Let H be any set of
//! tokens: whenever all k drafts lie in H a kept one does too, so the rule keeps one at most as often as
//! `1 + p(H) - q(H)^k`; and by max-flow min-cut some rule reaches the smallest of these bounds. For a given number of
//! tokens in H only those with the largest `q/p` matter, so one sort and one pass find it: O(V log V).
//!
//! The other rules in closed form, to compare: O(k V) and less. Hu et al., "Towards optimal multi-draft speculative
//! decoding", 2025.

use tokenloom_vocab::TokenId;

use super::error::{VerifyError, VerifyErrorKind};
use super::residual::Residual;
use super::row::{Number, Row};
use super::siblings::rho;

/// A rule for the drafts of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The best rule for k independent draws.
    Optimal,
    /// Recursive rejection of k independent draws.
    Recursive,
    /// k-SEQ on k independent draws.
    KSeq,
    /// Greedy multi-draft: the k - 1 best tokens of `q`, and one draw from the rest.
    GreedyMulti,
}

/// The probability that a rule keeps one of `n_drafts` drafts of one place.
///
/// # Errors
/// [`VerifyError`] where a row is no distribution, or the rows differ in width.
pub fn acceptance<T: Number>(p: &[T], q: &[T], n_drafts: usize, rule: Kept) -> Result<f64, VerifyError> {
    let (expected, found) = (p.len(), q.len());
    if expected != found {
        return Err(VerifyErrorKind::Length { argument: "q", expected, found }.into());
    }
    let (p, q) = (Row::new(p, 0)?, Row::new(q, 0)?);
    if n_drafts == 0 {
        return Ok(0.0);
    }
    let kept = match rule {
        Kept::Optimal => optimal(p, q, n_drafts),
        Kept::Recursive => {
            let mut residual = Residual::new(p, q);
            // What is left after k rejections was kept by nobody.
            for _ in 0..n_drafts {
                if residual.take(residual.c() + residual.mass()) <= 0.0 {
                    break;
                }
            }
            1.0 - residual.mass()
        }
        Kept::KSeq => {
            let residual = Residual::new(p, q);
            1.0 - residual.left_after(rho(&residual, n_drafts))
        }
        Kept::GreedyMulti => greedy_multi(p, q, n_drafts),
    };
    Ok(kept.clamp(0.0, 1.0))
}

fn optimal<T: Number>(p: Row<'_, T>, q: Row<'_, T>, n_drafts: usize) -> f64 {
    let tokens = 0..p.weights.len() as TokenId;
    let mut pairs: Vec<(f64, f64)> = tokens.map(|token| (p.prob(token), q.prob(token))).collect();
    // q/p falling; tokens that neither has do not matter.
    pairs.retain(|&(p, q)| p > 0.0 || q > 0.0);
    pairs.sort_unstable_by(|a, b| (b.1 / b.0).total_cmp(&(a.1 / a.0)));
    let (mut p_sum, mut q_sum, mut least) = (0.0f64, 0.0f64, 0.0f64);
    for (p, q) in pairs {
        p_sum += p;
        q_sum += q;
        least = least.min(p_sum - q_sum.min(1.0).powf(n_drafts as f64));
    }
    1.0 + least
}

fn greedy_multi<T: Number>(p: Row<'_, T>, q: Row<'_, T>, n_drafts: usize) -> f64 {
    let mut tokens: Vec<TokenId> =
        (0..p.weights.len() as TokenId).filter(|&token| q.prob(token) > 0.0).collect();
    // One token is drawn, so at most all but one are certain.
    let n_certain = (n_drafts - 1).min(tokens.len() - 1);
    let order = |a: &TokenId, b: &TokenId| q.prob(*b).total_cmp(&q.prob(*a)).then(a.cmp(b));
    if n_certain > 0 {
        tokens.select_nth_unstable_by(n_certain - 1, order);
    }
    let mut certain = tokens[..n_certain].to_vec();
    certain.sort_unstable();
    let mut residual = Residual::new(p, q);
    certain.iter().for_each(|&token| residual.fix(token, p.prob(token)));
    // What `p - q'` leaves, without the certain tokens, is what nothing was kept for.
    let left = residual.take(1.0 / q.prob_without(&certain));
    1.0 - (left - certain.iter().map(|&token| p.prob(token)).sum::<f64>())
}

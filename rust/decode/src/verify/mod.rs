//! Which drafted tokens may stay without changing the distribution?
//!
//! When a draft is a fixed tree, drawing the target's next token and stepping to the child that holds it is lossless,
//! and no lossless rule accepts more: a path survives with at most the probability the target gives it, and here with
//! exactly that. So there is one walk, [`walk_with`], and three ways to answer "which token does the target say in this
//! row?": the best one ([`greedy`]), the winner of the exponential race ([`walk`]), or one that was drawn before
//! ([`follow`]).
//!
//! Row 0 is the position after the last committed token, row `j + 1` the one behind node `j`. Only the rows on the path
//! are read, so verification costs O(depth) rows, not O(nodes).
//!
//! Randomness is looked up by (seed, position, token): depth `d` draws at `rng.position + d`. Plain sampling draws the
//! same position with the same noise, so output with a drafter equals output without one, token for token.
//!
//! Leviathan et al., "Fast inference from transformers via speculative decoding", 2023, for drafts with a law of their
//! own; Miao et al., "SpecInfer", 2024, for trees.

mod error;

use tokenloom_vocab::TokenId;

pub use error::{VerifyError, VerifyErrorKind};

use crate::dist::{DistError, DistErrorKind, checked_mass};
use crate::draft::DraftTree;
use crate::rng::{Purpose, Rng};
use crate::sample::draw_weighted;

/// What is committed after a verification: the drafted tokens on a path, and one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The nodes that stay, from a child of the root downwards.
    pub path: Vec<usize>,
    /// The token behind them, which is not in the tree there.
    pub next_token: TokenId,
}

/// Walks down `tree` while the token that `draw` names for a row is one of its children.
///
/// `draw` is called with `(row, depth)` for row 0 and then for the row of each accepted node.
///
/// # Errors
/// Whatever `draw` fails with.
pub fn walk_with<E>(
    tree: &DraftTree,
    mut draw: impl FnMut(usize, u64) -> Result<TokenId, E>,
) -> Result<Accepted, E> {
    let mut path = Vec::new();
    loop {
        let row = path.last().map_or(0, |&node| node + 1);
        let token = draw(row, path.len() as u64)?;
        match tree.child(row, token) {
            Some(node) => path.push(node),
            None => return Ok(Accepted { path, next_token: token }),
        }
    }
}

/// The logits or probabilities of one tree or of a batch, each tree padded to `n_rows` rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    values: &'a [T],
    n_rows: usize,
    n_vocab: usize,
}

impl<'a, T: Copy + Into<f64>> Rows<'a, T> {
    /// Reads `values` as `n_rows` rows of `n_vocab` numbers for each of the `trees`.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Trees`] where the trees are not as many as the blocks of rows, [`VerifyErrorKind::Rows`]
    /// where a tree needs more rows than it has.
    pub fn new(
        values: &'a [T],
        [n_trees, n_rows, n_vocab]: [usize; 3],
        trees: &[&DraftTree],
    ) -> Result<Self, VerifyError> {
        if n_trees != trees.len() || n_trees * n_rows * n_vocab != values.len() {
            return Err(VerifyErrorKind::Trees { expected: n_trees, found: trees.len() }.into());
        }
        let n_needed = trees.iter().map(|tree| tree.n_nodes() + 1).max().unwrap_or(0);
        if n_rows < n_needed {
            return Err(VerifyErrorKind::Rows { expected: n_needed, found: n_rows }.into());
        }
        Ok(Self { values, n_rows, n_vocab })
    }

    /// The numbers of a row of a tree, and the index of the row in the whole batch.
    fn row(&self, tree: usize, row: usize) -> (&'a [T], usize) {
        let index = tree * self.n_rows + row;
        (&self.values[index * self.n_vocab..(index + 1) * self.n_vocab], index)
    }
}

/// Accepts the tokens that greedy decoding says; among equal logits the smallest id is said.
///
/// # Errors
/// [`DistError`] for a row on a path with NaN or `+inf`, or without a finite logit.
pub fn greedy<T: Copy + Into<f64>>(
    logits: Rows<'_, T>,
    trees: &[&DraftTree],
) -> Result<Vec<Accepted>, DistError> {
    let accept = |(i, tree): (usize, &&DraftTree)| {
        walk_with(tree, |row, _| {
            let (row, index) = logits.row(i, row);
            best(row, index)
        })
    };
    trees.iter().enumerate().map(accept).collect()
}

/// Accepts the tokens that sampling with one rng a tree draws from `probs`, whose rows need not sum to one.
///
/// # Errors
/// [`DistError`] for a row on a path that is no distribution.
pub fn walk<T: Copy + Into<f64>>(
    probs: Rows<'_, T>,
    trees: &[&DraftTree],
    rngs: &[Rng],
) -> Result<Vec<Accepted>, DistError> {
    let accept = |(i, (tree, rng)): (usize, (&&DraftTree, &Rng))| {
        walk_with(tree, |row, depth| {
            let (row, index) = probs.row(i, row);
            first_arrival(row, index, rng.at(rng.position.wrapping_add(depth)))
        })
    };
    trees.iter().zip(rngs).enumerate().map(accept).collect()
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

fn best<T: Copy + Into<f64>>(logits: &[T], row: usize) -> Result<TokenId, DistError> {
    let mut best = (f64::NEG_INFINITY, None);
    for (token, &logit) in logits.iter().enumerate() {
        let value: f64 = logit.into();
        if value.is_nan() || value == f64::INFINITY {
            return Err(DistErrorKind::NotFinite { row, token, value }.into());
        }
        if value > best.0 {
            best = (value, Some(token as TokenId));
        }
    }
    best.1.ok_or_else(|| DistErrorKind::NoMass { row, n_tokens: logits.len() }.into())
}

/// The winner of the race of plain sampling.
fn first_arrival<T: Copy + Into<f64>>(probs: &[T], row: usize, rng: Rng) -> Result<TokenId, DistError> {
    checked_mass(probs, row)?;
    let weights: Vec<f64> = probs.iter().map(|&prob| prob.into()).collect();
    draw_weighted(&weights, rng, Purpose::SAMPLE)
        .ok_or_else(|| DistErrorKind::NoMass { row, n_tokens: probs.len() }.into())
}

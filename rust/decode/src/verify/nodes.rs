//! Which nodes continue which row?
//!
//! The children of every row in order of their index, in two arrays; linear in the nodes.

use super::Accepted;
use super::error::{VerifyError, VerifyErrorKind};
use super::row::{Number, TreeRows};
use crate::draft::DraftTree;
use tokenloom_vocab::TokenId;

/// The children of each row of a tree.
pub(super) struct Children {
    starts: Vec<usize>,
    nodes: Vec<usize>,
}

impl Children {
    /// Sorts the nodes by parent.
    pub(super) fn new(tree: &DraftTree) -> Self {
        let mut starts = vec![0; tree.n_nodes() + 2];
        for &parent in tree.parents() {
            starts[(parent + 2) as usize] += 1;
        }
        for row in 1..starts.len() {
            starts[row] += starts[row - 1];
        }
        let mut nodes = vec![0; tree.n_nodes()];
        let mut next = starts.clone();
        for (node, &parent) in tree.parents().iter().enumerate() {
            let place = &mut next[(parent + 1) as usize];
            nodes[*place] = node;
            *place += 1;
        }
        Self { starts, nodes }
    }

    /// The children of `row`: row 0 is the root, row `j + 1` node `j`.
    pub(super) fn of(&self, row: usize) -> &[usize] {
        &self.nodes[self.starts[row]..self.starts[row + 1]]
    }
}

/// The token of a node, which must be a column of the rows.
pub(super) fn token_of<T: Number>(
    tree: &DraftTree,
    node: usize,
    rows: TreeRows<'_, T>,
) -> Result<TokenId, VerifyError> {
    let token = tree.tokens()[node];
    if token as usize >= rows.n_vocab() {
        return Err(VerifyErrorKind::Token { node, token, n_vocab: rows.n_vocab() }.into());
    }
    Ok(token as TokenId)
}

/// The nodes from a child of the root down to `last`.
pub(super) fn path_to(tree: &DraftTree, last: Option<usize>) -> Vec<usize> {
    let parent = |&node: &usize| usize::try_from(tree.parents()[node]).ok();
    let mut path: Vec<usize> = std::iter::successors(last, parent).collect();
    path.reverse();
    path
}

/// What is committed when `last` is the deepest accepted node. `next_token` is missing only for rows without columns.
pub(super) fn accepted<T: Number>(
    tree: &DraftTree,
    last: Option<usize>,
    next_token: Option<TokenId>,
    rows: TreeRows<'_, T>,
) -> Result<Accepted, VerifyError> {
    let row = last.map_or(0, |node| node + 1);
    let next_token = next_token.ok_or(VerifyError::no_mass(rows.index(row), rows.n_vocab()))?;
    Ok(Accepted { path: path_to(tree, last), next_token })
}

//! Which nodes are worth a row of the model?
//!
//! A node that a constraint forbids has probability 0 in the target, so it is rejected for certain and nothing below it is
//! ever looked at. Without it the model computes fewer rows. Walks do not see the difference. Rules for drawn drafts do:
//! that a token was drawn and refused is part of their law, so they verify the whole tree, with any numbers in the rows
//! that were not computed.

use tokenloom_vocab::TokenId;

use super::error::{VerifyError, VerifyErrorKind};
use crate::draft::DraftTree;

/// The nodes that are left when those that `keeps(row, token)` refuses are cut with everything below them.
pub fn kept_nodes(tree: &DraftTree, mut keeps: impl FnMut(usize, usize, TokenId) -> bool) -> Vec<usize> {
    let mut is_kept = vec![true; tree.n_nodes() + 1];
    for (node, (&parent, &token)) in tree.parents().iter().zip(tree.tokens()).enumerate() {
        let row = (parent + 1) as usize;
        is_kept[node + 1] = is_kept[row] && keeps(node, row, token as TokenId);
    }
    (0..tree.n_nodes()).filter(|&node| is_kept[node + 1]).collect()
}

/// The tree of these nodes, which are ascending and hold the parent of each of them.
///
/// # Errors
/// [`VerifyErrorKind::Place`] for a node without its parent, or no node at all.
pub fn subtree(tree: &DraftTree, nodes: &[usize]) -> Result<DraftTree, VerifyError> {
    let n_places = tree.n_nodes();
    let mut renamed = vec![None; n_places + 1];
    renamed[0] = Some(-1i64);
    let (mut tokens, mut parents, mut probs) = (Vec::new(), Vec::new(), Vec::new());
    for (new, &node) in (0i64..).zip(nodes) {
        let parent = tree.parents().get(node).and_then(|&parent| renamed[(parent + 1) as usize]);
        parents.push(parent.ok_or(VerifyErrorKind::Place { place: node, n_places })?);
        renamed[node + 1] = Some(new);
        tokens.push(i64::from(tree.tokens()[node]));
        probs.push(tree.probs()[node]);
    }
    DraftTree::new(&tokens, &parents, probs).map_err(|_| VerifyErrorKind::Place { place: 0, n_places }.into())
}

//! How much of a drawn tree may stay, seen from its leaves?
//!
//! Block verification for trees. Every node has a share: the root 1, a child `min(1, share p/q)` of its parent's. Leaves are
//! tested in order of a depth-first walk; the first that passes is kept with its whole path. A leaf that fails is removed
//! and leaves its parent with `(share p - q)+` as target and a smaller share of its own; a node without children left is a
//! leaf. The root always passes. On a chain this is block verification.
//!
//! One pass over two rows for each rejected child: O(n V). A node whose share is 0 is never looked at, so the rows below a
//! token that the target forbids may hold anything. Weng et al., "Traversal verification for speculative tree decoding",
//! 2025.

use tokenloom_vocab::TokenId;

use super::Accepted;
use super::chance::Chance;
use super::error::{VerifyError, VerifyErrorKind};
use super::nodes::{Children, accepted, token_of};
use super::residual::Residual;
use super::row::{Number, Row, TreeRows};
use crate::draft::DraftTree;
use crate::rng::Purpose;

/// A node on the way to the current leaf, or the root.
struct Place<'a, T> {
    node: Option<usize>,
    share: f64,
    /// How many children were visited.
    n_visited: usize,
    /// What is left of the target, and the draft's row: known once there is a child to test.
    left: Option<(Residual<'a, T>, Row<'a, T>)>,
    /// Children that were removed and cannot be drawn again.
    removed: Vec<TokenId>,
    /// The draft's probability of everything else.
    rest: f64,
}

impl<T: Number> Place<'_, T> {
    fn new(node: Option<usize>, share: f64) -> Self {
        Self { node, share, n_visited: 0, left: None, removed: Vec::new(), rest: 1.0 }
    }

    fn row(&self) -> usize {
        self.node.map_or(0, |node| node + 1)
    }

    /// After the child with this token was removed.
    fn remove(&mut self, token: TokenId, with_replacement: bool) {
        let Some((residual, draft)) = self.left.as_mut() else { return };
        let before = residual.mass();
        let c = residual.c() + before / (self.share * self.rest);
        if c.is_finite() {
            residual.take(c);
            let left = self.share * residual.mass() / before;
            if self.share < 1.0 {
                self.share = left / (left + 1.0 - self.share);
            } else if left <= 0.0 {
                // A share of 1 keeps mass; only rounding takes the last of it.
                residual.restore();
            }
            if !with_replacement {
                residual.fix(token, residual.mass_of(token));
                self.removed.insert(self.removed.partition_point(|&other| other < token), token);
                self.rest = draft.prob_without(&self.removed);
            }
        } else {
            self.share = 0.0;
        }
    }
}

/// Accepts the first path, in order of a depth-first walk, whose leaf passes.
///
/// # Errors
/// [`VerifyError`] for rows that are no distributions, tokens that are no columns, and tokens that cannot have been drawn.
pub fn traversal<T: Number>(
    p: TreeRows<'_, T>,
    q: TreeRows<'_, T>,
    tree: &DraftTree,
    with_replacement: bool,
    chance: &mut impl Chance,
) -> Result<Accepted, VerifyError> {
    let children = Children::new(tree);
    let mut place = Place::new(None, 1.0);
    let mut above: Vec<Place<'_, T>> = Vec::new();
    loop {
        let row = place.row();
        if place.share > 0.0
            && let Some(&child) = children.of(row).get(place.n_visited)
        {
            let (residual, draft) = match place.left.as_mut() {
                Some(left) => left,
                None => {
                    let draft = q.row(row)?;
                    place.left.insert((Residual::new(p.row(row)?, draft), draft))
                }
            };
            let token = token_of(tree, child, p)?;
            let drawn = if place.removed.contains(&token) { 0.0 } else { draft.prob(token) / place.rest };
            if drawn.is_nan() || drawn <= 0.0 {
                return Err(VerifyErrorKind::Impossible { node: child, token, row: q.index(row) }.into());
            }
            let share = (place.share * residual.prob(token) / drawn).min(1.0);
            place.n_visited += 1;
            above.push(std::mem::replace(&mut place, Place::new(Some(child), share)));
            continue;
        }
        let Some(node) = place.node else { break };
        if chance.accepts(node, place.share) {
            break;
        }
        let Some(parent) = above.pop() else { break };
        place = parent;
        place.remove(tree.tokens()[node] as TokenId, with_replacement);
    }
    let (residual, purpose) = match place.left.take() {
        Some((residual, _)) => (residual, Purpose::RESIDUAL),
        None => (Residual::whole(p.row(place.row())?), Purpose::SAMPLE),
    };
    let token = chance.draw(&residual, above.len(), purpose);
    accepted(tree, place.node, token, p)
}

//! Which tokens are drafted, and what follows what?
//!
//! A tree of tokens behind the last committed token: node `j` continues node `parents[j]`, or the last committed token
//! where that is -1. Parents come first, so every walk is one pass. The rows of a verification step are the last
//! committed token (row 0) and node `j` (row `j + 1`); masks and positions are laid out in the same rows.

use tokenloom_vocab::TokenId;

use super::error::{DraftError, DraftErrorKind};

/// The largest mask: a tree as large as drafters make, behind half a million tokens.
const MAX_MASK_BYTES: usize = 1 << 31;

/// Drafted tokens with parents, depths and probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftTree {
    tokens: Vec<i32>,
    parents: Vec<i32>,
    depths: Vec<i32>,
    probs: Vec<f32>,
}

impl DraftTree {
    /// The largest token id: ids are 32-bit signed in every host.
    pub const MAX_TOKEN: TokenId = i32::MAX as TokenId;

    /// Checks the arrays and computes the depths; the children of the root have depth 1.
    ///
    /// # Errors
    /// [`DraftErrorKind::Ragged`], [`DraftErrorKind::Parent`], [`DraftErrorKind::TokenOutOfRange`],
    /// [`DraftErrorKind::Probability`].
    pub fn new(tokens: &[i64], parents: &[i64], probs: Vec<f32>) -> Result<Self, DraftError> {
        let n_tokens = tokens.len();
        for (array, found) in [("parent", parents.len()), ("probability", probs.len())] {
            if found != n_tokens {
                return Err(DraftErrorKind::Ragged { array, n_tokens, found }.into());
            }
        }
        if let Some(node) = probs.iter().position(|prob| !(0.0..=1.0).contains(prob)) {
            return Err(DraftErrorKind::Probability { node, prob: probs[node] }.into());
        }
        let mut tree = Self::with_capacity(n_tokens);
        for (node, (&token, &parent)) in tokens.iter().zip(parents).enumerate() {
            let limit = i64::from(Self::MAX_TOKEN);
            if !(0..=limit).contains(&token) {
                return Err(DraftErrorKind::TokenOutOfRange { index: node, token, limit }.into());
            }
            if parent < -1 || parent >= node as i64 {
                return Err(DraftErrorKind::Parent { node, parent }.into());
            }
            tree.push(token as TokenId, parent as i32, probs[node]);
        }
        Ok(tree)
    }

    pub(super) fn with_capacity(n_nodes: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(n_nodes),
            parents: Vec::with_capacity(n_nodes),
            depths: Vec::with_capacity(n_nodes),
            probs: Vec::with_capacity(n_nodes),
        }
    }

    /// Nodes that `read` gives as `(token, row of the parent, probability)`, in any order that has parents first; each
    /// branch is listed in a row, children in their order.
    pub(super) fn in_branches<N>(nodes: &[N], read: impl Fn(&N) -> (TokenId, usize, f32)) -> Self {
        let mut tree = Self::default();
        tree.set_branches(nodes, read);
        tree
    }

    /// The same in the memory of another tree.
    pub(super) fn set_branches<N>(&mut self, nodes: &[N], read: impl Fn(&N) -> (TokenId, usize, f32)) {
        self.clear();
        if (0..).zip(nodes).all(|(row, node)| read(node).1 == row) {
            self.tokens.extend(nodes.iter().map(|node| read(node).0 as i32));
            self.parents.extend(-1..nodes.len() as i32 - 1);
            self.depths.extend(1..=nodes.len() as i32);
            self.probs.extend(nodes.iter().map(|node| read(node).2.min(1.0)));
            return;
        }
        self.reserve(nodes.len());
        let n_rows = nodes.len() + 1;
        // Linked lists of children; 0, the root, is nobody's child.
        let (mut first, mut next) = (vec![0; n_rows], vec![0; n_rows]);
        for (row, node) in (1..n_rows).zip(nodes).rev() {
            next[row] = std::mem::replace(&mut first[read(node).1], row);
        }
        // Rows to visit, with the new index of their parents.
        let mut stack = vec![(first[0], -1)];
        while let Some((row, parent)) = stack.pop() {
            if row == 0 {
                continue;
            }
            let (token, _, prob) = read(&nodes[row - 1]);
            stack.push((next[row], parent));
            stack.push((first[row], self.n_nodes() as i32));
            self.push(token, parent, prob.min(1.0));
        }
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.parents.clear();
        self.depths.clear();
        self.probs.clear();
    }

    pub(super) fn reserve(&mut self, n_nodes: usize) {
        self.tokens.reserve(n_nodes);
        self.parents.reserve(n_nodes);
        self.depths.reserve(n_nodes);
        self.probs.reserve(n_nodes);
    }

    /// Adds a node behind all others; the parent is an earlier one or -1.
    pub(super) fn push(&mut self, token: TokenId, parent: i32, prob: f32) {
        let depth = if parent < 0 { 1 } else { self.depths[parent as usize] + 1 };
        self.tokens.push(token as i32);
        self.parents.push(parent);
        self.depths.push(depth);
        self.probs.push(prob);
    }

    /// The nodes that `keep` marks and whose ancestors it marks too, with the index each had before.
    ///
    /// # Errors
    /// [`DraftErrorKind::Ragged`].
    pub fn cut(&self, keep: &[bool]) -> Result<(Self, Vec<usize>), DraftError> {
        let n_tokens = self.n_nodes();
        if keep.len() != n_tokens {
            return Err(DraftErrorKind::Ragged { array: "mark", n_tokens, found: keep.len() }.into());
        }
        let (mut tree, mut kept) = (Self::default(), Vec::new());
        let mut new_rows = vec![None; n_tokens + 1];
        new_rows[0] = Some(0);
        for node in 0..n_tokens {
            let parent_row = (self.parents[node] + 1) as usize;
            let Some(new_parent_row) = new_rows[parent_row].filter(|_| keep[node]) else { continue };
            kept.push(node);
            new_rows[node + 1] = Some(kept.len() as i32);
            tree.tokens.push(self.tokens[node]);
            tree.parents.push(new_parent_row - 1);
            tree.depths.push(self.depths[node]);
            tree.probs.push(self.probs[node]);
        }
        Ok((tree, kept))
    }

    /// How many nodes the chain has that the tree begins with: each is the child of the one before.
    pub fn chain_length(&self) -> usize {
        (0..).zip(&self.parents).take_while(|&(node, &parent)| parent == node - 1).count()
    }

    /// How many tokens are drafted.
    pub fn n_nodes(&self) -> usize {
        self.tokens.len()
    }

    /// The token of each node.
    pub fn tokens(&self) -> &[i32] {
        &self.tokens
    }

    /// The parent of each node, -1 for a child of the last committed token.
    pub fn parents(&self) -> &[i32] {
        &self.parents
    }

    /// Steps from the last committed token, at least 1.
    pub fn depths(&self) -> &[i32] {
        &self.depths
    }

    /// The drafter's probability of each node's token behind its parent.
    pub fn probs(&self) -> &[f32] {
        &self.probs
    }

    /// The first child of `row` that holds `token` (row 0 is the root, row `j + 1` node `j`).
    pub fn child(&self, row: usize, token: TokenId) -> Option<usize> {
        let parent = row as i64 - 1;
        (row..self.n_nodes())
            .find(|&node| i64::from(self.parents[node]) == parent && self.tokens[node] as TokenId == token)
    }

    /// Which columns each row attends to, `n_nodes + 1` rows of `n_past + n_nodes + 1`: the past, its ancestors, itself.
    ///
    /// # Errors
    /// [`DraftErrorKind::TooLarge`].
    pub fn attention_mask(&self, n_past: usize) -> Result<Vec<bool>, DraftError> {
        let n_rows = self.n_nodes() + 1;
        let width = n_past.saturating_add(n_rows);
        let mut mask = empty_mask(n_rows, width)?;
        mask[..=n_past].fill(true);
        for node in 0..self.n_nodes() {
            let (row, parent_row) = (node + 1, (self.parents[node] + 1) as usize);
            mask.copy_within(parent_row * width..(parent_row + 1) * width, row * width);
            mask[row * width + n_past + row] = true;
        }
        Ok(mask)
    }

    /// The mask among the rows alone, packed: bit `c % 32` of word `c / 32` of a row is set where it attends to row `c`.
    ///
    /// # Errors
    /// [`DraftErrorKind::TooLarge`].
    pub fn mask_words(&self) -> Result<Vec<i32>, DraftError> {
        let n_rows = self.n_nodes() + 1;
        let width = n_rows.div_ceil(32);
        let mut words = empty_mask(n_rows, width)?;
        words[0] = 1;
        for node in 0..self.n_nodes() {
            let (row, parent_row) = (node + 1, (self.parents[node] + 1) as usize);
            words.copy_within(parent_row * width..(parent_row + 1) * width, row * width);
            words[row * width + row / 32] |= 1 << (row % 32);
        }
        Ok(words)
    }

    /// The position of each row when `n_past` tokens lie before the last committed one.
    ///
    /// # Errors
    /// [`DraftErrorKind::TooLarge`].
    pub fn position_ids(&self, n_past: usize) -> Result<Vec<i64>, DraftError> {
        // As far as 32-bit positions reach, nothing wraps behind any depth.
        let past = i32::try_from(n_past).map_err(|_| DraftErrorKind::TooLarge {
            what: "tokens before the draft",
            found: n_past,
            limit: i32::MAX as usize,
        })?;
        let depths = self.depths.iter().map(|&depth| i64::from(depth));
        Ok(std::iter::once(0).chain(depths).map(|depth| i64::from(past) + depth).collect())
    }
}

/// A mask of zeros, or an error where its size, or the memory there is, does not allow it.
pub(super) fn empty_mask<T: Clone + Default>(n_rows: usize, width: usize) -> Result<Vec<T>, DraftError> {
    let n_cells = n_rows.saturating_mul(width);
    let found = n_cells.saturating_mul(size_of::<T>());
    let too_large = DraftErrorKind::TooLarge { what: "bytes of a mask", found, limit: MAX_MASK_BYTES };
    let mut cells = Vec::new();
    if found > MAX_MASK_BYTES || cells.try_reserve_exact(n_cells).is_err() {
        return Err(too_large.into());
    }
    cells.resize(n_cells, T::default());
    Ok(cells)
}

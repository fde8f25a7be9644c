//! Which tree suits a head that ranks its guesses, and where do extra guesses go?
//!
//! A trained head guesses each depth on its own; how often its r-th guess at depth d is right is measured once. The best
//! tree of n nodes is the n paths of the largest products, and a parent's product is never below its children's, so a heap
//! finds it. Its tokens are ranks, to be replaced by what the head guesses.
//!
//! Models trained for it guess further tokens at *slots* behind a node: prompt tokens or masks that see the node's path,
//! the node and the slots before them. One run of slots at the end is linear decoding, a run behind every node quadratic:
//! whatever is accepted, fresh guesses stand behind it.
//!
//! Chen et al., "Hardware-aware parallel prompt decoding", 2024; Samragh et al., "Your LLM knows the future", 2025.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tokenloom_vocab::TokenId;

use super::error::DraftError;
use super::growth::MAX_NODES;
use super::tree::{DraftTree, empty_mask};

/// A path that may become a node: a rank below a row of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Path {
    product: f32,
    parent_row: usize,
    depth: usize,
    rank: usize,
}

impl Eq for Path {}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        // The shallower, then the earlier one wins a tie.
        let place = |path: &Self| (path.depth, path.parent_row, path.rank);
        self.product.total_cmp(&other.product).then_with(|| place(other).cmp(&place(self)))
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best tree of at most `n_nodes`, where `accuracy[d][r]` says how often the guess of rank r at depth d + 1 is right,
/// the likeliest first. The tokens are ranks.
pub fn sparse_tree(accuracy: &[Vec<f32>], n_nodes: usize) -> DraftTree {
    let mut nodes: Vec<(TokenId, usize, f32)> = Vec::new();
    let mut heap = BinaryHeap::new();
    let at = |depth: usize, rank: usize| accuracy.get(depth).and_then(|ranks| ranks.get(rank)).copied();
    heap.extend(at(0, 0).map(|product| Path { product, parent_row: 0, depth: 0, rank: 0 }));
    while nodes.len() < n_nodes.min(MAX_NODES)
        && let Some(path) = heap.pop()
    {
        let Path { product, parent_row, depth, rank } = path;
        let Some(prob) = at(depth, rank) else { continue };
        nodes.push((rank as TokenId, parent_row, prob));
        let child =
            |next: f32| Path { product: product * next, parent_row: nodes.len(), depth: depth + 1, rank: 0 };
        heap.extend(at(depth + 1, 0).map(child));
        let above = if prob > 0.0 { product / prob } else { 0.0 };
        heap.extend(at(depth, rank + 1).map(|next| Path { product: above * next, rank: rank + 1, ..path }));
    }
    DraftTree::in_branches(&nodes, |&node| node)
}

/// A tree with slots: its own rows first, then the slots of row 0, of row 1 and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotTemplate {
    /// Which row each slot stands behind.
    pub owners: Vec<usize>,
    /// Position of each row and slot behind the last committed token.
    pub offsets: Vec<i64>,
    /// Which columns each row or slot sees, row after row.
    pub mask: Vec<bool>,
}

/// `slots[row]` slots behind each row of the tree, row 0 being the last committed token.
///
/// # Errors
/// [`DraftErrorKind::TooLarge`](super::DraftErrorKind::TooLarge).
pub fn with_slots(tree: &DraftTree, slots: &[usize]) -> Result<SlotTemplate, DraftError> {
    let n_rows = tree.n_nodes() + 1;
    let width = slots.iter().take(n_rows).fold(n_rows, |sum, &n| sum.saturating_add(n));
    let mut mask = empty_mask(width, width)?;
    let owners: Vec<usize> =
        slots.iter().take(n_rows).enumerate().flat_map(|(row, &n)| std::iter::repeat_n(row, n)).collect();
    let base = tree.attention_mask(0)?;
    let mut offsets = tree.position_ids(0)?;
    for row in 0..n_rows {
        mask[row * width..row * width + n_rows].copy_from_slice(&base[row * n_rows..(row + 1) * n_rows]);
    }
    let mut first = 0;
    for (slot, &owner) in owners.iter().enumerate() {
        if slot > 0 && owners[slot - 1] != owner {
            first = slot;
        }
        let at = (n_rows + slot) * width;
        mask[at..at + n_rows].copy_from_slice(&base[owner * n_rows..(owner + 1) * n_rows]);
        mask[at + n_rows + first..=at + n_rows + slot].fill(true);
        offsets.push(offsets[owner] + 1 + (slot - first) as i64);
    }
    Ok(SlotTemplate { owners, offsets, mask })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::DraftErrorKind;

    #[test]
    fn the_best_paths() {
        let accuracy = vec![vec![0.6, 0.2, 0.1], vec![0.5, 0.3], vec![0.4]];
        let tree = sparse_tree(&accuracy, 5);
        // 0.6, 0.3 (0.6 * 0.5), 0.2, 0.18 (0.6 * 0.3), 0.12 (0.6 * 0.5 * 0.4)
        assert_eq!(tree.tokens(), [0, 0, 0, 1, 1]);
        assert_eq!(tree.parents(), [-1, 0, 1, 0, -1]);
        assert_eq!(sparse_tree(&accuracy, 1000).n_nodes(), 3 + 3 * 2 + 6);
        assert_eq!(sparse_tree(&[], 9).n_nodes(), 0);
    }

    #[test]
    fn slots_see_their_path() {
        let tree = DraftTree::new(&[7, 8], &[-1, -1], vec![1.0; 2]).unwrap();
        let template = with_slots(&tree, &[0, 2, 1]).unwrap();
        assert_eq!(template.owners, [1, 1, 2]);
        assert_eq!(template.offsets, [0, 1, 1, 2, 3, 2]);
        let rows: Vec<String> = template
            .mask
            .chunks(6)
            .map(|row| row.iter().map(|&sees| if sees { '1' } else { '.' }).collect())
            .collect();
        assert_eq!(rows, ["1.....", "11....", "1.1...", "11.1..", "11.11.", "1.1..1"]);
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let tree = DraftTree::new(&[7, 8], &[-1, -1], vec![1.0; 2]).unwrap();
        let mask_bytes = |error: DraftError| match *error.kind() {
            DraftErrorKind::TooLarge { what: "bytes of a mask", found, .. } => found,
            _ => 0,
        };
        for n_slots in [1 << 16, usize::MAX] {
            assert!(mask_bytes(with_slots(&tree, &[n_slots; 3]).unwrap_err()) > 1 << 31);
        }
        for n_past in [1 << 31, usize::MAX] {
            assert!(mask_bytes(tree.attention_mask(n_past).unwrap_err()) > 1 << 31);
            assert!(matches!(
                *tree.position_ids(n_past).unwrap_err().kind(),
                DraftErrorKind::TooLarge { limit: 0x7FFF_FFFF, .. }
            ));
        }
        let chain: Vec<i64> = (0..1 << 18).collect();
        let parents: Vec<i64> = chain.iter().map(|node| node - 1).collect();
        let chain = DraftTree::new(&chain, &parents, vec![1.0; chain.len()]).unwrap();
        assert!(mask_bytes(chain.mask_words().unwrap_err()) > 1 << 31);
    }
}

//! What does another drafter say about the next token?
//!
//! Any drafter becomes a source: its own tree is asked for when a proposal begins, and a cursor is a row of that tree.
//! So is a tree that the caller hands in, from a trained head, a draft model or an early exit.

use tokenloom_vocab::TokenId;

use super::source::{Cursor, Levels, Source};
use super::stream::{Commit, Ended, Proposer};
use super::tree::DraftTree;

/// How much of what longer contexts left its probabilities get, ...
const TRUST: f32 = 0.5;
/// ... and the length of context that this trust equals.
const WORTH_TOKENS: u32 = 4;
/// A row that the tree does not have.
const NO_ROW: u32 = u32::MAX;

/// A tree of somebody else.
#[derive(Debug)]
pub(super) struct Told {
    /// Who is asked; nobody where the caller hands trees in.
    proposer: Option<Box<dyn Proposer>>,
    tree: DraftTree,
}

impl Told {
    pub(super) fn new(proposer: Option<Box<dyn Proposer>>) -> Self {
        Self { proposer, tree: DraftTree::default() }
    }
}

impl Source for Told {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.tree = DraftTree::default();
        if let Some(proposer) = &mut self.proposer {
            proposer.commit(commit);
        }
    }

    fn prepare(&mut self, budget: usize) {
        if let Some(proposer) = &mut self.proposer {
            proposer.propose(budget, false, &mut self.tree);
        }
    }

    fn guide(&mut self, trees: &mut dyn Iterator<Item = &DraftTree>) {
        if self.proposer.is_none() {
            self.tree = trees.next().cloned().unwrap_or_default();
        }
    }

    fn reads_drafts(&self) -> bool {
        self.proposer.as_ref().is_some_and(|proposer| proposer.reads_drafts())
    }

    fn root(&self) -> Cursor {
        [0, 0]
    }

    fn step(&self, [row, _]: Cursor, token: TokenId) -> Cursor {
        let child = (row != NO_ROW).then(|| self.tree.child(row as usize, token)).flatten();
        [child.map_or(NO_ROW, |node| node as u32 + 1), 0]
    }

    fn levels(&self, [row, _]: Cursor, levels: &mut Levels) {
        if row == NO_ROW {
            return;
        }
        let parent = row as i32 - 1;
        let mut is_continued = false;
        for node in row as usize..self.tree.n_nodes() {
            if self.tree.parents()[node] == parent {
                levels.follower(self.tree.tokens()[node] as TokenId, self.tree.probs()[node]);
                is_continued = true;
            }
        }
        if is_continued {
            levels.close_trusted(WORTH_TOKENS, TRUST);
        }
    }

    fn end(self: Box<Self>) -> Vec<Ended> {
        self.proposer.map(Proposer::end).unwrap_or_default()
    }

    fn n_bytes(&self) -> usize {
        self.proposer.as_ref().map_or(0, |proposer| proposer.n_bytes())
    }
}

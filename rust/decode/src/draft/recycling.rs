//! What would be drafted from what the model once found likely?
//!
//! A best-first tree over the shared [`Adjacency`]: each node is continued by the likeliest tokens behind its token, and
//! behind it and its parent. It needs no repetition of text, so it is the floor where nothing repeats. Everything the model
//! says is harvested, rows of rejected nodes and of the prompt included.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::adjacency::{Adjacency, NO_CONTEXT, Pair};
use super::blended::Blended;
use super::error::{DraftError, DraftErrorKind};
use super::growth::{Workspaces, check_min_prob};
use super::source::{Cursor, Levels, Source};
use super::stream::{Commit, Drafter, Proposer};

/// How much the likely tokens behind a pair get, ...
const PAIR_TRUST: f32 = 0.4;
/// ... and those behind a single token of what is left.
const SINGLE_TRUST: f32 = 0.3;

/// A drafter from the model's own likely tokens.
#[derive(Clone, Debug)]
pub struct Recycling {
    min_prob: f32,
    adjacency: Arc<Adjacency>,
    workspaces: Arc<Workspaces>,
}

/// The place of one stream.
#[derive(Debug)]
struct Recycled {
    adjacency: Arc<Adjacency>,
    context: Pair,
}

impl Recycling {
    /// The most rows of the table.
    pub const MAX_ROWS: usize = 1 << 24;

    /// Keeps the likely tokens of `n_rows` tokens and as many pairs.
    ///
    /// # Errors
    /// [`DraftErrorKind::Rows`], [`DraftErrorKind::MinProb`].
    pub fn new(n_rows: usize, min_prob: f64) -> Result<Self, DraftError> {
        let limit = Self::MAX_ROWS;
        if !(1..=limit).contains(&n_rows) {
            return Err(DraftErrorKind::Rows { n_rows, limit }.into());
        }
        let (adjacency, workspaces) = (Arc::new(Adjacency::new(n_rows)), Arc::default());
        Ok(Self { min_prob: check_min_prob(min_prob)?, adjacency, workspaces })
    }
}

impl Drafter for Recycling {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(Blended::new(self.sources(), self.min_prob, None, &self.workspaces))
    }

    fn sources(&self) -> Vec<Box<dyn Source>> {
        vec![Box::new(Recycled { adjacency: Arc::clone(&self.adjacency), context: NO_CONTEXT })]
    }

    fn n_bytes(&self) -> usize {
        self.adjacency.n_bytes()
    }
}

impl Source for Recycled {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.context = self.adjacency.harvest(self.context, commit);
    }

    fn root(&self) -> Cursor {
        self.context
    }

    fn step(&self, [_, before]: Cursor, token: TokenId) -> Cursor {
        [before, token]
    }

    fn levels(&self, context: Cursor, levels: &mut Levels) {
        for (n_tokens, trust) in [(2, PAIR_TRUST), (1, SINGLE_TRUST)] {
            let mut row = self.adjacency.row(context, n_tokens == 2).peekable();
            if row.peek().is_some() {
                row.for_each(|(token, prob)| levels.follower(token, prob.min(1.0)));
                levels.close_trusted(n_tokens, trust);
            }
        }
    }

    fn reads_drafts(&self) -> bool {
        true
    }

    fn n_bytes(&self) -> usize {
        0
    }
}

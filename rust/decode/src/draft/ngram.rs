//! What followed the latest tokens where they stand together longest, and last, in this text?
//!
//! Prompt lookup: the longest suffix of the text that occurred before in it (longest match, latest occurrence) is found by
//! the automaton in O(1), and what followed is copied. Where the copy reaches the end of the text it goes on with what it
//! copied, so a period continues.
//!
//! Saxena, "Prompt lookup decoding", 2023, which searches the text for the first match at every step.

use super::blend::{OWN, certainty};
use super::error::{DraftError, DraftErrorKind};
use super::index::Automaton;
use super::own::OwnText;
use super::source::Source;
use super::stream::{Commit, Drafter, Proposer};
use super::suffix::Occurrence;
use super::tree::DraftTree;

/// A drafter that copies from the text itself.
#[derive(Clone, Copy, Debug)]
pub struct Ngram {
    min_match: usize,
    max_match: usize,
    n_copied: usize,
}

#[derive(Debug)]
struct NgramStream {
    rule: Ngram,
    own: OwnText,
}

impl Ngram {
    /// Copies `n_copied` tokens behind a match of `min_match` to `max_match` tokens.
    ///
    /// # Errors
    /// [`DraftErrorKind::MaxDepth`], [`DraftErrorKind::MinMatch`].
    pub fn new(min_match: usize, max_match: usize, n_copied: usize) -> Result<Self, DraftError> {
        let limit = Automaton::MAX_DEPTH as usize;
        if !(1..=limit).contains(&max_match) {
            return Err(DraftErrorKind::MaxDepth { max_depth: max_match, limit }.into());
        }
        if !(1..=max_match).contains(&min_match) {
            return Err(DraftErrorKind::MinMatch { min_match, max_match }.into());
        }
        Ok(Self { min_match, max_match, n_copied })
    }
}

impl Drafter for Ngram {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(NgramStream { rule: *self, own: OwnText::new(self.max_match, None) })
    }
}

impl Proposer for NgramStream {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.own.commit(commit);
    }

    fn propose(&mut self, budget: usize, _: bool, tree: &mut DraftTree) {
        tree.clear();
        let found = self.own.occurrence().filter(|found| found.n_tokens >= self.rule.min_match);
        let Some(Occurrence { n_tokens, latest, .. }) = found else { return };
        let text = self.own.text();
        let period = text.len() - latest;
        let n_nodes = budget.min(self.rule.n_copied);
        tree.reserve(n_nodes);
        for i in 0..n_nodes {
            // One occurrence said so, behind a match that grows with what is copied.
            let prob = certainty(OWN, n_tokens + i, 1);
            tree.push(text[latest + i % period], i as i32 - 1, prob);
        }
    }

    fn occurrence(&self) -> Option<Occurrence> {
        self.own.occurrence()
    }

    fn n_bytes(&self) -> usize {
        self.own.n_bytes()
    }
}

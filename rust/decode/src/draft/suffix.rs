//! What would be drafted if the text repeated itself?
//!
//! A [`Suffix`] drafter keeps an automaton for each open stream (its prompt and everything committed) and one history of
//! all finished ones. A proposal grows the best tree by what followed the longest suffixes of the text in both.
//! Committing costs O(1) amortised a token and one search of the history a call; a proposal a few levels a node.
//!
//! SuffixDecoding (Oliaro et al., 2024) keeps depth-limited suffix tries; SAM-Decoding (Hu et al., 2024) an automaton.

use std::sync::Arc;

use super::error::{DraftError, DraftErrorKind};
use super::growth::{Growth, Shape};
use super::index::{Automaton, History};
use super::own::OwnText;
use super::past::PastTexts;
use super::source::Source;
use super::stream::{Commit, Drafter, Ended, Proposer};
use super::tree::DraftTree;

/// A drafter that repeats what followed earlier occurrences of the latest tokens.
#[derive(Clone, Debug)]
pub struct Suffix {
    max_depth: usize,
    min_prob: f32,
    shares_prompts: bool,
    history: Arc<History>,
}

/// The sources of one stream.
#[derive(Debug)]
struct SuffixStream {
    min_prob: f32,
    shares_prompts: bool,
    n_prompt: usize,
    history: Arc<History>,
    own: OwnText,
    past: PastTexts,
    growth: Growth,
}

/// What a stream's own text says about its latest tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The longest suffix of the stream, at most `max_depth` tokens, that occurred before.
    pub n_tokens: usize,
    /// How often it was followed by a token.
    pub n_continued: u32,
    /// The index of the token that followed it the last time.
    pub latest: usize,
}

impl Suffix {
    /// Matches up to `max_depth` tokens, keeps at most `max_bytes` of finished streams (of their prompts too if
    /// `shares_prompts`), and drafts a token when the probability that it is reached and right is at least `min_prob`.
    ///
    /// # Errors
    /// [`DraftErrorKind::MaxDepth`], [`DraftErrorKind::MinProb`].
    pub fn new(
        max_depth: usize,
        max_bytes: usize,
        min_prob: f64,
        shares_prompts: bool,
    ) -> Result<Self, DraftError> {
        let limit = Automaton::MAX_DEPTH as usize;
        if !(1..=limit).contains(&max_depth) {
            return Err(DraftErrorKind::MaxDepth { max_depth, limit }.into());
        }
        if !(0.0..=1.0).contains(&min_prob) {
            return Err(DraftErrorKind::MinProb { min_prob }.into());
        }
        let history = Arc::new(History::new(max_bytes));
        Ok(Self { max_depth, min_prob: min_prob as f32, shares_prompts, history })
    }
}

impl Drafter for Suffix {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(SuffixStream {
            min_prob: self.min_prob,
            shares_prompts: self.shares_prompts,
            n_prompt: 0,
            history: Arc::clone(&self.history),
            own: OwnText::new(self.max_depth),
            past: PastTexts::new(Arc::clone(&self.history), self.max_depth),
            growth: Growth::default(),
        })
    }

    fn n_bytes(&self) -> usize {
        self.history.n_bytes()
    }

    fn n_tokens(&self) -> usize {
        self.history.n_tokens()
    }

    fn history(&self) -> Option<&Arc<History>> {
        Some(&self.history)
    }
}

impl Proposer for SuffixStream {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.own.commit(commit);
        self.past.commit(commit);
        if commit.is_prompt && !self.shares_prompts {
            self.n_prompt = commit.tokens.len();
        }
    }

    fn propose(&mut self, budget: usize, is_chain: bool) -> DraftTree {
        self.past.prepare();
        self.growth.grow(&[&self.own, &self.past], Shape { budget, min_prob: self.min_prob, is_chain })
    }

    fn end(self: Box<Self>) -> Option<Ended> {
        let mut text = self.own.into_text();
        text.drain(..self.n_prompt);
        Some(Ended { history: self.history, text })
    }

    fn occurrence(&self) -> Option<Occurrence> {
        self.own.occurrence()
    }

    fn n_bytes(&self) -> usize {
        self.own.n_bytes() + self.past.n_bytes()
    }
}

//! What would be drafted if the text repeated itself?
//!
//! A [`Suffix`] drafter keeps an automaton for each open stream (its prompt and everything committed) and one history of
//! all finished ones. A proposal grows the best tree by what followed the longest suffixes of the text in both.
//! Committing costs O(1) amortised a token and one search of the history a call; a proposal a few levels a node.
//!
//! SuffixDecoding (Oliaro et al., 2024) keeps depth-limited suffix tries; SAM-Decoding (Hu et al., 2024) an automaton.

use std::sync::Arc;

use super::blended::Blended;
use super::cost::CostCurve;
use super::error::{DraftError, DraftErrorKind};
use super::growth::{Workspaces, check_min_prob};
use super::index::{Automaton, History};
use super::own::OwnText;
use super::past::PastTexts;
use super::source::Source;
use super::sources::{Sources, Texts};
use super::stream::{Drafter, Proposer};

/// A drafter that repeats what followed earlier occurrences of the latest tokens.
#[derive(Clone, Debug)]
pub struct Suffix {
    max_depth: usize,
    min_prob: f32,
    shares_prompts: bool,
    cost: Option<Arc<CostCurve>>,
    history: Arc<History>,
    workspaces: Arc<Workspaces>,
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
    /// `shares_prompts`), and drafts a token when the probability that it is reached and right is at least `min_prob` and
    /// it pays by the cost curve.
    ///
    /// # Errors
    /// [`DraftErrorKind::MaxDepth`], [`DraftErrorKind::MinProb`].
    pub fn new(
        max_depth: usize,
        max_bytes: usize,
        min_prob: f64,
        shares_prompts: bool,
        cost: Option<CostCurve>,
    ) -> Result<Self, DraftError> {
        let limit = Automaton::MAX_DEPTH as usize;
        if !(1..=limit).contains(&max_depth) {
            return Err(DraftErrorKind::MaxDepth { max_depth, limit }.into());
        }
        let (min_prob, cost) = (check_min_prob(min_prob)?, cost.map(Arc::new));
        let (history, workspaces) = (Arc::new(History::new(max_bytes)), Arc::default());
        Ok(Self { max_depth, min_prob, shares_prompts, cost, history, workspaces })
    }

    /// What a new stream asks: its own text first.
    fn texts(&self) -> Texts {
        let history = Arc::clone(&self.history);
        let past = PastTexts::new(Arc::clone(&history), self.max_depth);
        Texts { own: OwnText::new(self.max_depth, Some((history, self.shares_prompts))), past }
    }
}

impl Drafter for Suffix {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(Blended::new(self.texts(), self.min_prob, self.cost.clone(), &self.workspaces))
    }

    fn sources(&self) -> Vec<Box<dyn Source>> {
        self.texts().into_all().collect()
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

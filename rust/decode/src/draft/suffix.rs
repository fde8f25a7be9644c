//! What would be drafted if the text repeated itself?
//!
//! A [`Suffix`] drafter keeps one automaton for each open stream (its prompt and everything committed) and one history
//! of all finished streams. A proposal takes the longest suffixes of the stream in both and drafts a chain from the
//! blended continuations. Beginning and committing cost O(1) amortised a token, a proposal O(drafted tokens), whatever
//! the length of the stream.
//!
//! SuffixDecoding (Oliaro et al., 2024) keeps depth-limited suffix tries; SAM-Decoding (Hu et al., 2024) an automaton.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::automaton::{Automaton, DocumentEnd, Match};
use super::chain::{Source, draft_chain};
use super::error::{DraftError, DraftErrorKind};
use super::history::{History, HistoryCursor, HistoryWriter};
use super::stream::{Commit, Drafter, Proposer, check_tokens};
use super::tree::DraftTree;

/// A drafter that copies what followed earlier occurrences of the latest tokens.
#[derive(Clone, Debug)]
pub struct Suffix {
    max_depth: usize,
    min_prob: f64,
    history: Arc<History>,
}

/// The index of one stream and its place in the history.
#[derive(Debug)]
struct SuffixStream {
    min_prob: f64,
    history: Arc<History>,
    automaton: Automaton,
    end: DocumentEnd,
    cursor: HistoryCursor,
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
    /// Matches up to `max_depth` tokens, keeps at most `max_bytes` of finished streams, and drafts a token when the
    /// probability that it is reached and right is at least `min_prob`.
    ///
    /// # Errors
    /// [`DraftErrorKind::MaxDepth`], [`DraftErrorKind::MinProb`].
    pub fn new(max_depth: usize, max_bytes: usize, min_prob: f64) -> Result<Self, DraftError> {
        let limit = Automaton::MAX_DEPTH as usize;
        if !(1..=limit).contains(&max_depth) {
            return Err(DraftErrorKind::MaxDepth { max_depth, limit }.into());
        }
        if !(0.0..=1.0).contains(&min_prob) {
            return Err(DraftErrorKind::MinProb { min_prob }.into());
        }
        Ok(Self { max_depth, min_prob, history: Arc::new(History::new(max_depth, max_bytes)) })
    }

    /// Puts a finished text into the history.
    ///
    /// # Errors
    /// [`DraftErrorKind::TokenOutOfRange`].
    pub fn learn(&self, tokens: &[TokenId]) -> Result<(), DraftError> {
        check_tokens(tokens)?;
        let mut writer = self.history.writer(tokens.to_vec());
        while self.history.write_slice(&mut writer) {}
        Ok(())
    }
}

impl Drafter for Suffix {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(SuffixStream {
            min_prob: self.min_prob,
            history: Arc::clone(&self.history),
            automaton: Automaton::new(self.max_depth),
            end: DocumentEnd::default(),
            cursor: HistoryCursor::default(),
        })
    }

    fn n_bytes(&self) -> usize {
        self.history.read().n_bytes()
    }

    fn n_tokens(&self) -> usize {
        self.history.read().n_tokens()
    }

    fn documents(&self) -> Vec<Vec<TokenId>> {
        self.history.documents()
    }
}

impl Proposer for SuffixStream {
    fn commit(&mut self, commit: &Commit<'_>) {
        for &token in commit.tokens {
            self.automaton.push(&mut self.end, token);
        }
        self.history.read().follow(&mut self.cursor, self.automaton.text());
    }

    fn propose(&mut self, budget: usize) -> DraftTree {
        let Self { automaton, end, cursor, .. } = self;
        let history = self.history.read();
        history.follow(cursor, automaton.text());
        let own = Source { automaton, matched: automaton.suffix(*end), open: Some(*end), is_own: true };
        let young =
            Source { automaton: &history.young.automaton, matched: cursor.young, open: None, is_own: false };
        let old =
            Source { automaton: &history.old.automaton, matched: cursor.old, open: None, is_own: false };
        let (tokens, probs) = draft_chain(self.min_prob, [own, young, old], budget);
        DraftTree::chain(&tokens, probs)
    }

    fn end(self: Box<Self>) -> Option<EndedStream> {
        let writer = self.history.writer(self.automaton.into_text());
        Some(EndedStream { history: self.history, writer })
    }

    fn occurrence(&self) -> Option<Occurrence> {
        let Self { automaton, end, .. } = self;
        let matched: Match = automaton.longest_continued(automaton.suffix(*end));
        if matched.n_tokens() == 0 {
            return None;
        }
        let (n_tokens, n_continued) = (matched.n_tokens(), automaton.n_continued(matched));
        automaton.latest(matched).map(|(_, latest)| Occurrence { n_tokens, n_continued, latest })
    }

    fn n_bytes(&self) -> usize {
        self.automaton.n_bytes()
    }
}

/// A finished stream on its way into the history.
#[derive(Debug)]
pub struct EndedStream {
    history: Arc<History>,
    writer: HistoryWriter,
}

impl EndedStream {
    /// Writes a slice that takes about ten microseconds; false when all is written.
    pub fn write_slice(&mut self) -> bool {
        self.history.write_slice(&mut self.writer)
    }
}

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
use super::tree::DraftTree;

/// A drafter that copies what followed earlier occurrences of the latest tokens.
#[derive(Clone, Debug)]
pub struct Suffix {
    max_depth: usize,
    min_prob: f64,
    history: Arc<History>,
}

/// One text that is being written: its index and its place in the history.
#[derive(Debug)]
pub struct Stream {
    min_prob: f64,
    history: Arc<History>,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
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

    /// The longest match.
    pub fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// The least probability of a drafted chain.
    pub fn min_prob(&self) -> f64 {
        self.min_prob
    }

    /// The byte budget of the history.
    pub fn max_bytes(&self) -> usize {
        self.history.max_bytes()
    }

    /// Bytes held by the history.
    pub fn n_bytes(&self) -> usize {
        self.history.read().n_bytes()
    }

    /// Tokens held by the history.
    pub fn n_tokens(&self) -> usize {
        self.history.read().n_tokens()
    }

    /// The finished streams that are still known, oldest first.
    pub fn documents(&self) -> Vec<Vec<TokenId>> {
        self.history.documents()
    }

    /// Puts a finished text into the history.
    ///
    /// # Errors
    /// As [`Stream::commit`].
    pub fn learn(&self, tokens: &[TokenId]) -> Result<(), DraftError> {
        check_tokens(tokens)?;
        let mut writer = self.history.writer(tokens.to_vec());
        while self.history.write_slice(&mut writer) {}
        Ok(())
    }

    /// Opens a stream with its prompt.
    ///
    /// # Errors
    /// As [`Stream::commit`].
    pub fn begin(&self, prompt: &[TokenId]) -> Result<Stream, DraftError> {
        let live = Live {
            automaton: Automaton::new(self.max_depth),
            end: DocumentEnd::default(),
            cursor: HistoryCursor::default(),
        };
        let mut stream =
            Stream { min_prob: self.min_prob, history: Arc::clone(&self.history), live: Some(live) };
        stream.commit(prompt)?;
        Ok(stream)
    }
}

impl Stream {
    /// Appends tokens that are now part of the text. All or nothing.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`], [`DraftErrorKind::TokenOutOfRange`], [`DraftErrorKind::StreamTooLong`].
    pub fn commit(&mut self, tokens: &[TokenId]) -> Result<(), DraftError> {
        let Live { automaton, end, .. } = self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?;
        check_tokens(tokens)?;
        let (n_tokens, limit) = (automaton.n_tokens() + tokens.len(), Automaton::MAX_TOKENS);
        if n_tokens > limit {
            return Err(DraftErrorKind::StreamTooLong { n_tokens, limit }.into());
        }
        for &token in tokens {
            automaton.push(end, token);
        }
        Ok(())
    }

    /// Drafts a chain of at most `budget` tokens behind the text.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`], [`DraftErrorKind::Budget`].
    pub fn propose(&mut self, budget: i64) -> Result<DraftTree, DraftError> {
        let budget = usize::try_from(budget).map_err(|_| DraftErrorKind::Budget { budget })?;
        let Live { automaton, end, cursor } = self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?;
        let history = self.history.read();
        history.follow(cursor, automaton.text());
        let own = Source { automaton, matched: automaton.suffix(*end), open: Some(*end), is_own: true };
        let young =
            Source { automaton: &history.young.automaton, matched: cursor.young, open: None, is_own: false };
        let old =
            Source { automaton: &history.old.automaton, matched: cursor.old, open: None, is_own: false };
        let (tokens, probs) = draft_chain(self.min_prob, [own, young, old], budget);
        Ok(DraftTree::chain(&tokens, probs))
    }

    /// Ends the stream, frees its index and returns what has to be written into the history, once.
    pub fn end(&mut self) -> Option<EndedStream> {
        let live = self.live.take()?;
        let writer = self.history.writer(live.automaton.into_text());
        Some(EndedStream { history: Arc::clone(&self.history), writer })
    }

    /// What the stream's own text says about its latest tokens; `None` where they are new.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`].
    pub fn occurrence(&self) -> Result<Option<Occurrence>, DraftError> {
        let Live { automaton, end, .. } = self.live.as_ref().ok_or(DraftErrorKind::StreamEnded)?;
        let matched: Match = automaton.longest_continued(automaton.suffix(*end));
        if matched.n_tokens() == 0 {
            return Ok(None);
        }
        let n_continued = automaton.n_continued(matched);
        Ok(automaton.latest(matched).map(|(_, latest)| Occurrence {
            n_tokens: matched.n_tokens(),
            n_continued,
            latest,
        }))
    }

    /// How many tokens the stream has; 0 when it has ended.
    pub fn n_tokens(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.automaton.n_tokens())
    }

    /// Bytes held by the index of the stream; 0 when it has ended.
    pub fn n_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.automaton.n_bytes())
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

fn check_tokens(tokens: &[TokenId]) -> Result<(), DraftError> {
    let limit = DraftTree::MAX_TOKEN;
    match tokens.iter().position(|&token| token > limit) {
        None => Ok(()),
        Some(index) => {
            let (token, limit) = (i64::from(tokens[index]), i64::from(limit));
            Err(DraftErrorKind::TokenOutOfRange { index, token, limit }.into())
        }
    }
}

/// Integers of any width as token ids.
///
/// # Errors
/// [`DraftErrorKind::TokenOutOfRange`] for the first that is negative or above [`DraftTree::MAX_TOKEN`].
pub fn token_ids(integers: &[i64]) -> Result<Vec<TokenId>, DraftError> {
    let limit = i64::from(DraftTree::MAX_TOKEN);
    let as_id = |(index, &token): (usize, &i64)| match (0..=limit).contains(&token) {
        true => Ok(token as TokenId),
        false => Err(DraftErrorKind::TokenOutOfRange { index, token, limit }.into()),
    };
    integers.iter().enumerate().map(as_id).collect()
}

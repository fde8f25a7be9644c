//! How is a drafter used, whatever its kind?
//!
//! A [`Drafter`] opens a [`Stream`] for each text. The stream checks what it is given (range of tokens, budgets, use
//! after the end, shapes of what the model said) and hands it to its [`Proposer`], the part that differs between kinds.
//! It remembers the tree it proposed last, so that a commit can be compared with it.
//!
//! A stream is used by one thread at a time; streams of one drafter by as many as there are.

use std::fmt::Debug;
use std::sync::Arc;

use tokenloom_tokenize::prefetch::prefetch_whole;
use tokenloom_vocab::TokenId;

use super::error::{DraftError, DraftErrorKind};
use super::index::{Automaton, History, MergeJob};
use super::source::Source;
use super::suffix::Occurrence;
use super::tree::DraftTree;

/// Opens streams. What they share lies behind it.
pub trait Drafter: Debug + Send + Sync {
    /// The part of a new stream that differs between kinds.
    fn open(&self) -> Box<dyn Proposer>;

    /// What a new stream knows at each node of a draft; empty where the kind can only propose whole trees.
    fn sources(&self) -> Vec<Box<dyn Source>> {
        Vec::new()
    }

    /// Opens a stream with its prompt; `top` has a row for each of its tokens.
    ///
    /// # Errors
    /// As [`Stream::commit`].
    fn begin(&self, prompt: &[TokenId], top: Option<&TopRows>) -> Result<Stream, DraftError> {
        check_tokens(prompt)?;
        check_top(top, prompt.len(), "token of the prompt")?;
        check_length(prompt.len())?;
        let mut proposer = self.open();
        let tree = &DraftTree::default();
        proposer.commit(&Commit { tokens: prompt, tree, top, is_prompt: true });
        Ok(Stream { live: Some(Live { proposer, tree: None, n_nodes: 0, n_tokens: prompt.len() }) })
    }

    /// Bytes that the streams share.
    fn n_bytes(&self) -> usize {
        0
    }

    /// Tokens that the streams share.
    fn n_tokens(&self) -> usize {
        0
    }

    /// What ended streams taught about the drafter's own probabilities; empty where the kind learns nothing.
    fn learned(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Goes on from what another drafter of the same kind [learned](Drafter::learned).
    ///
    /// # Errors
    /// [`DraftErrorKind::Counters`].
    fn learn_from(&self, counters: &[f32]) -> Result<(), DraftError> {
        match counters.len() {
            0 => Ok(()),
            found => Err(DraftErrorKind::Counters { expected: 0, found, n_wrong: 0 }.into()),
        }
    }

    /// The finished texts that the streams share, where the kind keeps any.
    fn history(&self) -> Option<&Arc<History>> {
        None
    }
}

/// The part of a stream that differs between kinds. What it is given was checked.
pub trait Proposer: Debug + Send {
    /// The text goes on.
    fn commit(&mut self, commit: &Commit<'_>);

    /// Drafts at most `budget` tokens into `tree`, the most probable chain first, or a chain only.
    fn propose(&mut self, budget: usize, is_chain: bool, tree: &mut DraftTree);

    /// Does a commit have to bring the draft that was verified?
    fn reads_drafts(&self) -> bool {
        false
    }

    /// The text is complete: what has to be shared, if anything.
    fn end(self: Box<Self>) -> Vec<Ended> {
        Vec::new()
    }

    /// Takes trees of the caller's as evidence for the next proposal.
    fn guide(&mut self, _trees: &[DraftTree]) {}

    /// What the stream's own text says about its latest tokens, where the kind knows.
    fn occurrence(&self) -> Option<Occurrence> {
        None
    }

    /// How many of the latest tokens were seen before, in any text, and continued.
    fn n_matched(&mut self) -> usize {
        self.occurrence().map_or(0, |found| found.n_tokens)
    }

    /// Bytes held by the stream.
    fn n_bytes(&self) -> usize;
}

/// A finished text on its way into the history.
#[derive(Debug)]
pub struct Ended {
    pub(super) history: Arc<History>,
    pub(super) text: Vec<TokenId>,
}

impl Ended {
    /// Shares the text; a merge that takes long comes back for a thread of this `process`.
    pub fn share(self, process: u32) -> Option<MergeJob> {
        self.history.add(self.text);
        self.history.tidy(process)
    }
}

/// The likeliest tokens behind some rows, as the model said.
#[derive(Clone, Debug, PartialEq)]
pub struct TopRows {
    n_top: usize,
    ids: Vec<TokenId>,
    log_probs: Vec<f32>,
}

/// What a stream is told: tokens that are now part of the text, and what the model said while it verified a draft.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// The tokens, in order.
    pub tokens: &'a [TokenId],
    /// The draft that was verified; empty where there was none.
    pub tree: &'a DraftTree,
    /// The likeliest tokens behind each row of the tree, or behind each token of a prompt.
    pub top: Option<&'a TopRows>,
    /// Is this the prompt?
    pub is_prompt: bool,
}

/// One text that is being written.
#[derive(Debug)]
pub struct Stream {
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    proposer: Box<dyn Proposer>,
    /// What was proposed last; `None` where that was nothing, or nobody asks for it. What comes new from the allocator is
    /// in the cache, the stream's last tree may not be.
    tree: Option<Arc<DraftTree>>,
    /// Nodes of what was proposed last.
    n_nodes: usize,
    n_tokens: usize,
}

impl TopRows {
    /// Rows of `n_top` ids; -1 marks a place without a token. Without `log_probs` only the order counts.
    ///
    /// # Errors
    /// [`DraftErrorKind::TokenOutOfRange`], [`DraftErrorKind::TopRows`], [`DraftErrorKind::LogProb`].
    pub fn new(ids: &[i64], n_top: usize, log_probs: Option<Vec<f32>>) -> Result<Self, DraftError> {
        let limit = i64::from(DraftTree::MAX_TOKEN);
        if let Some(index) = ids.iter().position(|id| !(-1..=limit).contains(id)) {
            return Err(DraftErrorKind::TokenOutOfRange { index, token: ids[index], limit }.into());
        }
        let log_probs = match log_probs {
            Some(log_probs) => log_probs,
            // Ranks stand in for probabilities: half of what is left each.
            None => {
                (0..ids.len()).map(|i| ((i % n_top.max(1) + 1) as f32) * -std::f32::consts::LN_2).collect()
            }
        };
        if log_probs.len() != ids.len() {
            let (expected, found) = (ids.len(), log_probs.len());
            return Err(DraftErrorKind::TopRows { what: "log-probability", of: "id", expected, found }.into());
        }
        if let Some(index) = log_probs.iter().position(|log_prob| log_prob.is_nan() || *log_prob > 1e-3) {
            return Err(DraftErrorKind::LogProb { index, log_prob: log_probs[index] }.into());
        }
        let ids = ids.iter().map(|&id| if id < 0 { u32::MAX } else { id as TokenId }).collect();
        Ok(Self { n_top, ids, log_probs })
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.ids.len().checked_div(self.n_top).unwrap_or(0)
    }

    /// The tokens of a row with their log-probabilities, the likeliest first.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (TokenId, f32)> {
        let range = row * self.n_top..(row + 1) * self.n_top;
        let pairs = self.ids[range.clone()].iter().zip(&self.log_probs[range]);
        pairs.map(|(&id, &log_prob)| (id, log_prob)).filter(|&(id, _)| id <= DraftTree::MAX_TOKEN)
    }
}

impl Stream {
    /// Appends tokens that are now part of the text. All or nothing.
    ///
    /// `tree` is the draft that was verified, if it is not the one proposed last; `top` has a row for the last committed
    /// token and one for each node of the draft.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`], [`DraftErrorKind::TokenOutOfRange`], [`DraftErrorKind::StreamTooLong`],
    /// [`DraftErrorKind::TopRows`].
    pub fn commit(
        &mut self,
        tokens: &[TokenId],
        tree: Option<&DraftTree>,
        top: Option<&TopRows>,
    ) -> Result<(), DraftError> {
        self.check(tokens, tree, top)?;
        let live = self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?;
        let nothing = DraftTree::default();
        let tree = tree.or(live.tree.as_deref()).unwrap_or(&nothing);
        live.proposer.commit(&Commit { tokens, tree, top, is_prompt: false });
        live.n_tokens += tokens.len();
        if !tokens.is_empty() {
            (live.tree, live.n_nodes) = (None, 0);
        }
        Ok(())
    }

    /// Would [`Stream::commit`] take this?
    pub(super) fn check(
        &self,
        tokens: &[TokenId],
        tree: Option<&DraftTree>,
        top: Option<&TopRows>,
    ) -> Result<(), DraftError> {
        let live = self.live.as_ref().ok_or(DraftErrorKind::StreamEnded)?;
        check_tokens(tokens)?;
        check_length(live.n_tokens + tokens.len())?;
        let n_nodes = tree.map_or(live.n_nodes, DraftTree::n_nodes);
        check_top(top, n_nodes + 1, "row of the draft")
    }

    /// Drafts at most `budget` tokens behind the text; a chain if only that can be verified.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`], [`DraftErrorKind::Budget`].
    pub fn propose(&mut self, budget: i64, is_chain: bool) -> Result<Arc<DraftTree>, DraftError> {
        let mut tree = DraftTree::default();
        let live = self.draft(budget, is_chain, &mut tree)?;
        let tree = Arc::new(tree);
        live.tree = (live.proposer.reads_drafts() && tree.n_nodes() > 0).then(|| Arc::clone(&tree));
        Ok(tree)
    }

    /// The same into a tree of the caller's.
    ///
    /// # Errors
    /// As [`Stream::propose`].
    pub fn propose_into(
        &mut self,
        budget: i64,
        is_chain: bool,
        tree: &mut DraftTree,
    ) -> Result<(), DraftError> {
        let live = self.draft(budget, is_chain, tree)?;
        live.tree = (live.proposer.reads_drafts() && tree.n_nodes() > 0).then(|| Arc::new(tree.clone()));
        Ok(())
    }

    /// Asks for the memory that a proposal reads all over.
    pub(super) fn prefetch(&self) {
        if let Some(live) = &self.live {
            prefetch_whole(&*live.proposer);
        }
    }

    fn draft(&mut self, budget: i64, is_chain: bool, tree: &mut DraftTree) -> Result<&mut Live, DraftError> {
        let budget = usize::try_from(budget).map_err(|_| DraftErrorKind::Budget { budget })?;
        let live = self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?;
        prefetch_whole(&*live.proposer);
        live.proposer.propose(budget, is_chain, tree);
        live.n_nodes = tree.n_nodes();
        Ok(live)
    }

    /// Takes trees of the caller's as evidence for the next proposal.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`].
    pub fn guide(&mut self, trees: &[DraftTree]) -> Result<(), DraftError> {
        self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?.proposer.guide(trees);
        Ok(())
    }

    /// Ends the stream, frees its index and returns what has to be shared, once.
    pub fn end(&mut self) -> Vec<Ended> {
        self.live.take().map(|live| live.proposer.end()).unwrap_or_default()
    }

    /// What the stream's own text says about its latest tokens; `None` where they are new or the kind does not know.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`].
    pub fn occurrence(&self) -> Result<Option<Occurrence>, DraftError> {
        Ok(self.live.as_ref().ok_or(DraftErrorKind::StreamEnded)?.proposer.occurrence())
    }

    /// How many of the latest tokens were seen before and continued, in the stream's own text or in one that is shared.
    ///
    /// # Errors
    /// [`DraftErrorKind::StreamEnded`].
    pub fn n_matched(&mut self) -> Result<usize, DraftError> {
        Ok(self.live.as_mut().ok_or(DraftErrorKind::StreamEnded)?.proposer.n_matched())
    }

    /// How many tokens the stream has; 0 when it has ended.
    pub fn n_tokens(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.n_tokens)
    }

    /// Bytes held by the index of the stream; 0 when it has ended.
    pub fn n_bytes(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.proposer.n_bytes())
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

pub(super) fn check_tokens(tokens: &[TokenId]) -> Result<(), DraftError> {
    let limit = DraftTree::MAX_TOKEN;
    match tokens.iter().position(|&token| token > limit) {
        None => Ok(()),
        Some(index) => {
            let (token, limit) = (i64::from(tokens[index]), i64::from(limit));
            Err(DraftErrorKind::TokenOutOfRange { index, token, limit }.into())
        }
    }
}

fn check_length(n_tokens: usize) -> Result<(), DraftError> {
    let limit = Automaton::MAX_TOKENS;
    if n_tokens > limit {
        return Err(DraftErrorKind::StreamTooLong { n_tokens, limit }.into());
    }
    Ok(())
}

fn check_top(top: Option<&TopRows>, expected: usize, of: &'static str) -> Result<(), DraftError> {
    match top {
        Some(top) if top.n_rows() != expected => {
            let (what, found) = ("row of likely tokens", top.n_rows());
            Err(DraftErrorKind::TopRows { what, of, expected, found }.into())
        }
        _ => Ok(()),
    }
}

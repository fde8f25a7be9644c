//! How should a budget be split between one long copy and many short guesses?
//!
//! Goose, as published: a *spine* copied from behind the first earlier place of the last five, four or three tokens, and
//! *branches* of the model's likely tokens beside its nodes and at its root. A confidence in the copy sets its share of the
//! budget; how much of earlier spines was accepted sets the share it has without confidence.
//!
//! "Goose: anisotropic speculation trees for training-free speculative decoding", 2026. The budget of the caller bounds
//! the published one of 60 to 100 nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_vocab::TokenId;

use super::adjacency::{Adjacency, NO_CONTEXT, Pair};
use super::error::{DraftError, DraftErrorKind};
use super::recycling::Recycling;
use super::stream::{Commit, Drafter, Proposer};
use super::tree::DraftTree;

/// Lengths of the keys, the longest first.
const KEYS: [usize; 3] = [5, 4, 3];
/// Tokens of one copy, and of all copies in a row where the confidence is full.
const COPY: usize = 20;
const LONG_COPY: usize = 100;
/// The published budget, and what full confidence adds.
const BUDGET: f32 = 60.0;
const EXTRA_BUDGET: f32 = 40.0;
/// The weight of the last spine in the average of their acceptance.
const SMOOTHING: f32 = 0.3;
/// The part of the branches that hangs on the spine.
const ON_SPINE: f32 = 0.5;
/// Less likely tokens get no branch.
const MIN_SCORE: f32 = 0.01;
/// The deepest branch.
const MAX_DEPTH: usize = 6;

/// The drafter of spines and branches.
#[derive(Clone, Debug)]
pub struct Spine {
    adjacency: Arc<Adjacency>,
}

/// Where a key was first seen, and whether all its places go on alike.
#[derive(Clone, Copy, Debug)]
struct Place {
    next: u32,
    n_places: u32,
    agree: bool,
}

#[derive(Debug)]
struct SpineStream {
    adjacency: Arc<Adjacency>,
    context: Pair,
    text: Vec<TokenId>,
    places: [HashMap<[TokenId; KEYS[0]], Place, FxBuildHasher>; KEYS.len()],
    /// The average part of a spine that was accepted.
    acceptance: f32,
    spine: Vec<TokenId>,
}

/// Nodes as `(token, row of the parent, probability)`.
type Nodes = Vec<(TokenId, usize, f32)>;

impl Spine {
    /// Keeps the likely tokens of `n_rows` tokens and as many pairs.
    ///
    /// # Errors
    /// [`DraftErrorKind::Rows`].
    pub fn new(n_rows: usize) -> Result<Self, DraftError> {
        let limit = Recycling::MAX_ROWS;
        if !(1..=limit).contains(&n_rows) {
            return Err(DraftErrorKind::Rows { n_rows, limit }.into());
        }
        Ok(Self { adjacency: Arc::new(Adjacency::new(n_rows)) })
    }
}

impl Drafter for Spine {
    fn open(&self) -> Box<dyn Proposer> {
        Box::new(SpineStream {
            adjacency: Arc::clone(&self.adjacency),
            context: NO_CONTEXT,
            text: Vec::new(),
            places: Default::default(),
            acceptance: 0.5,
            spine: Vec::new(),
        })
    }

    fn n_bytes(&self) -> usize {
        self.adjacency.n_bytes()
    }
}

/// The whole part; what is a whole number but for rounding counts as one.
fn whole(x: f32) -> usize {
    (x + 1e-3) as usize
}

/// The last tokens as a key; shorter ones are filled up.
fn key(tokens: &[TokenId]) -> [TokenId; KEYS[0]] {
    let mut key = [TokenId::MAX; KEYS[0]];
    key[..tokens.len()].copy_from_slice(tokens);
    key
}

impl SpineStream {
    fn push(&mut self, token: TokenId) {
        let at = self.text.len();
        for (n, places) in KEYS.into_iter().zip(&mut self.places) {
            if at >= n {
                let new = Place { next: at as u32, n_places: 0, agree: true };
                let place = places.entry(key(&self.text[at - n..])).or_insert(new);
                place.n_places += 1;
                place.agree &= place.next as usize == at || self.text[place.next as usize] == token;
            }
        }
        self.text.push(token);
    }

    /// What followed the longest key that `text` ends with, and whether all its places agree.
    fn copy(&self, text: &[TokenId]) -> Option<(&[TokenId], bool)> {
        let found = KEYS
            .into_iter()
            .zip(&self.places)
            .find_map(|(n, places)| places.get(&key(text.get(text.len().checked_sub(n)?..)?)))?;
        let next = found.next as usize;
        let end = (next + COPY).min(self.text.len());
        Some((&self.text[next..end], found.agree && found.n_places >= 2))
    }

    /// The spine and the confidence in it.
    fn match_text(&self) -> (Vec<TokenId>, f32) {
        let Some((copy, agree)) = self.copy(&self.text) else { return (Vec::new(), 0.0) };
        let mut spine = copy.to_vec();
        let length = spine.len() as f32;
        if !agree {
            let long = (0.7 + 0.2 * (length - 8.0) / 12.0).min(0.9);
            return (spine, if length >= 8.0 { long } else { 0.6 * length / 8.0 });
        }
        while spine.len() < LONG_COPY {
            let mut end = self.text[self.text.len().saturating_sub(KEYS[0])..].to_vec();
            end.extend_from_slice(&spine);
            match self.copy(&end) {
                Some((more, true)) if !more.is_empty() => spine.extend_from_slice(more),
                _ => break,
            }
        }
        spine.truncate(LONG_COPY);
        (spine, 1.0)
    }

    /// Likely tokens behind a context, with scores that sum to one: of the pair if it is known, else of the token.
    fn successors(&self, context: Pair) -> Vec<(TokenId, f32)> {
        let mut row: Vec<_> = self.adjacency.row(context, true).collect();
        if row.is_empty() {
            row = self.adjacency.row(context, false).collect();
        }
        let sum: f32 = row.iter().map(|&(_, prob)| prob).sum();
        row.iter().map(|&(token, prob)| (token, prob / sum)).collect()
    }

    /// Hangs at most `budget` nodes below a row and what grows from them; `taken` is there already.
    fn branch(
        &self,
        nodes: &mut Nodes,
        row: usize,
        context: Pair,
        depth: usize,
        budget: usize,
        taken: Option<TokenId>,
    ) {
        let end = nodes.len() + budget;
        let mut queue = VecDeque::from([(row, context, depth, taken)]);
        while let Some((row, context, depth, taken)) = queue.pop_front() {
            let successors = self.successors(context);
            let width = (10 / (depth + 1)).max(1).min(successors.len());
            for (token, score) in successors.into_iter().take(width) {
                if nodes.len() >= end {
                    return;
                }
                if Some(token) == taken || score < MIN_SCORE {
                    continue;
                }
                nodes.push((token, row, score));
                if depth + 1 < MAX_DEPTH {
                    queue.push_back((nodes.len(), [context[1], token], depth + 1, None));
                }
            }
        }
    }
}

impl Proposer for SpineStream {
    fn commit(&mut self, commit: &Commit<'_>) {
        if !commit.is_prompt && !commit.tokens.is_empty() && !self.spine.is_empty() {
            let came = self.spine.iter().zip(commit.tokens).take_while(|(left, right)| left == right).count();
            let part = came as f32 / self.spine.len() as f32;
            self.acceptance += SMOOTHING * (part - self.acceptance);
            self.spine.clear();
        }
        self.context = self.adjacency.harvest(self.context, commit);
        commit.tokens.iter().for_each(|&token| self.push(token));
    }

    fn propose(&mut self, budget: usize, is_chain: bool, tree: &mut DraftTree) {
        let (mut spine, confidence) = self.match_text();
        let budget = budget.min(whole(BUDGET + EXTRA_BUDGET * confidence));
        let least = match self.acceptance {
            accepted if accepted < 0.2 => 0.15,
            accepted if accepted < 0.4 => 0.3,
            _ => 0.5,
        };
        let ratio = if is_chain { 1.0 } else { least + confidence * (1.0 - least) };
        spine.truncate(whole(budget as f32 * ratio));
        let mut nodes: Nodes =
            spine.iter().enumerate().map(|(i, &token)| (token, i, confidence.max(0.2))).collect();
        let n_branches = if is_chain { 0 } else { budget - spine.len() };
        let n_on_spine = if spine.is_empty() { 0 } else { (n_branches as f32 * ON_SPINE) as usize };
        self.branch(&mut nodes, 0, self.context, 0, n_branches - n_on_spine, spine.first().copied());
        // Node i of the spine gets a part in proportion to 1 / i.
        let harmonic: f32 = (1..=spine.len()).map(|i| 1.0 / i as f32).sum();
        let mut left = n_on_spine;
        for (i, &token) in spine.iter().enumerate() {
            let part = whole(n_on_spine as f32 / ((i + 1) as f32 * harmonic)).max(1).min(left);
            left -= part;
            let before = if i == 0 { self.context[1] } else { spine[i - 1] };
            self.branch(&mut nodes, i + 1, [before, token], i + 1, part, spine.get(i + 1).copied());
        }
        self.spine = spine;
        tree.set_branches(&nodes, |&node| node);
    }

    fn reads_drafts(&self) -> bool {
        true
    }

    fn n_bytes(&self) -> usize {
        let n_entries: usize = self.places.iter().map(HashMap::capacity).sum();
        self.text.capacity() * size_of::<TokenId>() + n_entries * size_of::<([TokenId; KEYS[0]], Place)>()
    }
}

//! Which branches followed the last two tokens, and how often?
//!
//! Every continuation of the last `key_length` tokens (fewer where those are new), as one tree with frequencies: those
//! from the text itself, prompt and answer, and those from finished texts. The heaviest nodes are drafted, a frequency of
//! the text itself weighing far more than one of others. The branches are read from the index when they are asked for, so
//! nothing is kept beside it, and what the history evicts is gone here too.
//!
//! Zhao et al., "Lookahead: an inference acceleration framework for large language model with lossless generation
//! accuracy", 2024: the weights, and two tokens as key; its trie forgets by halving, the history by age.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::error::{DraftError, DraftErrorKind};
use super::growth::MAX_NODES;
use super::index::{Automaton, END_OF_DOCUMENT, History, Match, Neighbour, Segment};
use super::own::OwnText;
use super::source::{MAX_FOLLOWERS, Source};
use super::stream::{Commit, Drafter, Ended, Proposer};
use super::tree::DraftTree;

/// The weight of a frequency in other texts beside one in the text itself.
const OUTSIDE: f32 = 1e-4;
/// Places looked at in one segment.
const PER_SEGMENT: usize = 128;

/// A drafter of all branches behind a short key.
#[derive(Clone, Debug)]
pub struct Trie {
    key_length: usize,
    branch_length: usize,
    history: Arc<History>,
}

#[derive(Debug)]
struct TrieStream {
    rule: Trie,
    own: OwnText,
}

/// A node of the tree of branches.
#[derive(Debug)]
struct Branch {
    weight: f32,
    prob: f32,
    token: TokenId,
    depth: usize,
    /// The row of the parent.
    parent_row: usize,
    /// Earlier ones win ties.
    rank: usize,
    own: Option<Match>,
    /// Places of the history that agree so far, by segment.
    places: Vec<(u32, u32)>,
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Branch {}

impl Ord for Branch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.weight.total_cmp(&other.weight).then(other.rank.cmp(&self.rank))
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Trie {
    /// Branches of at most `branch_length` tokens behind the last `key_length`; `max_bytes` of finished texts.
    ///
    /// # Errors
    /// [`DraftErrorKind::MaxDepth`].
    pub fn new(key_length: usize, branch_length: usize, max_bytes: usize) -> Result<Self, DraftError> {
        let limit = Automaton::MAX_DEPTH as usize;
        for max_depth in [key_length, branch_length] {
            if !(1..=limit / 2).contains(&max_depth) {
                return Err(DraftErrorKind::MaxDepth { max_depth, limit: limit / 2 }.into());
            }
        }
        Ok(Self { key_length, branch_length, history: Arc::new(History::new(max_bytes)) })
    }
}

impl Drafter for Trie {
    fn open(&self) -> Box<dyn Proposer> {
        let depth = self.key_length + self.branch_length;
        let own = OwnText::new(depth, Some((Arc::clone(&self.history), true)));
        Box::new(TrieStream { rule: self.clone(), own })
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

impl TrieStream {
    /// The root of the branches behind the last tokens.
    fn root(&self, segments: &[Segment]) -> Branch {
        let text = self.own.text();
        let mut root = Branch {
            weight: 0.0,
            prob: 1.0,
            token: END_OF_DOCUMENT,
            depth: 0,
            parent_row: 0,
            rank: 0,
            own: None,
            places: Vec::new(),
        };
        for n_tokens in (1..=self.rule.key_length.min(text.len())).rev() {
            let key = &text[text.len() - n_tokens..];
            let automaton = self.own.automaton();
            root.own = Some(automaton.find(key))
                .filter(|&found| found.n_tokens() == n_tokens && automaton.n_continued(found) > 0);
            for (i, segment) in segments.iter().enumerate() {
                let mut found: Vec<Neighbour> = Vec::new();
                segment.nearest(key, n_tokens, PER_SEGMENT, &mut found);
                found.retain(|place| place.n_tokens as usize == n_tokens);
                root.places.extend(found.iter().map(|place| (i as u32, place.position)));
            }
            if root.own.is_some() || !root.places.is_empty() {
                break;
            }
        }
        root
    }

    /// The branches one token longer.
    fn children(&self, segments: &[Segment], branch: &Branch, row: usize) -> Vec<Branch> {
        let automaton = self.own.automaton();
        let mut children: Vec<Branch> = Vec::new();
        let child = |children: &mut Vec<Branch>, token: TokenId| match children
            .iter()
            .position(|child| child.token == token)
        {
            Some(i) => i,
            None => {
                let (depth, rank) = (branch.depth + 1, row * PER_SEGMENT * 64 + children.len());
                let places = Vec::new();
                let own = None;
                children.push(Branch {
                    weight: 0.0,
                    prob: 0.0,
                    token,
                    depth,
                    parent_row: row,
                    rank,
                    own,
                    places,
                });
                children.len() - 1
            }
        };
        let mut total = 0.0;
        if let Some(matched) = branch.own {
            for (token, n) in automaton.followers(matched, self.own.end()).take(8 * MAX_FOLLOWERS) {
                let i = child(&mut children, token);
                children[i].own = automaton.descend(matched, token);
                children[i].weight += n as f32 * (1.0 - OUTSIDE);
            }
            total += automaton.n_continued(matched) as f32 * (1.0 - OUTSIDE);
        }
        for &(segment, position) in &branch.places {
            let token = segments[segment as usize].text()[position as usize + 1];
            total += OUTSIDE;
            if token != END_OF_DOCUMENT {
                let i = child(&mut children, token);
                children[i].places.push((segment, position + 1));
                children[i].weight += OUTSIDE;
            }
        }
        for child in &mut children {
            child.prob = (child.weight / total).min(1.0);
        }
        children
    }
}

impl Proposer for TrieStream {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.own.commit(commit);
    }

    fn propose(&mut self, budget: usize, is_chain: bool, tree: &mut DraftTree) {
        let segments = self.rule.history.segments();
        let root = self.root(&segments);
        let mut heap = BinaryHeap::new();
        let expand = |heap: &mut BinaryHeap<Branch>, branch: &Branch, row: usize| {
            let children = self.children(&segments, branch, row);
            match is_chain {
                true => heap.extend(children.into_iter().max()),
                false => heap.extend(children),
            }
        };
        expand(&mut heap, &root, 0);
        let mut nodes = Vec::new();
        while nodes.len() < budget.min(MAX_NODES)
            && let Some(branch) = heap.pop()
        {
            nodes.push((branch.token, branch.parent_row, branch.prob));
            if branch.depth < self.rule.branch_length {
                expand(&mut heap, &branch, nodes.len());
            }
        }
        tree.set_branches(&nodes, |&node| node);
    }

    fn end(self: Box<Self>) -> Vec<Ended> {
        Box::new(self.own).end()
    }

    fn n_bytes(&self) -> usize {
        self.own.n_bytes()
    }
}

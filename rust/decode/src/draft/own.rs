//! What does the text itself say about its next token?
//!
//! The whole text lies in a suffix automaton. The longest suffix that occurred before is carried along, so nothing is
//! searched: its levels are the states on the chain of suffix links.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::blend::{OWN, escape};
use super::index::{Automaton, DocumentEnd, History, Match};
use super::source::{Levels, MAX_FOLLOWERS, MAX_LEVELS, Source};
use super::stream::{Commit, Ended};
use super::suffix::Occurrence;

/// The text of one stream.
#[derive(Debug)]
pub(super) struct OwnText {
    automaton: Automaton,
    end: DocumentEnd,
    history: Option<(Arc<History>, bool)>,
    n_prompt: usize,
}

impl OwnText {
    /// Matches up to `max_depth` tokens; a finished text goes into the history, with its prompt if the flag says so.
    pub(super) fn new(max_depth: usize, history: Option<(Arc<History>, bool)>) -> Self {
        Self { automaton: Automaton::new(max_depth), end: DocumentEnd::default(), history, n_prompt: 0 }
    }

    pub(super) fn text(&self) -> &[TokenId] {
        self.automaton.text()
    }

    pub(super) fn automaton(&self) -> &Automaton {
        &self.automaton
    }

    pub(super) fn end(&self) -> DocumentEnd {
        self.end
    }
}

impl Source for OwnText {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.automaton.extend_with(&mut self.end, commit.tokens);
        if commit.is_prompt {
            self.n_prompt = commit.tokens.len();
        }
    }

    fn n_words(&self) -> usize {
        2
    }

    fn root(&self, cursor: &mut [u32]) {
        self.automaton.suffix(self.end).write(cursor);
    }

    fn step(&self, from: &[u32], token: TokenId, to: &mut [u32]) {
        self.automaton.advance(Match::read(from), token).write(to);
    }

    fn levels(&self, cursor: &[u32], levels: &mut Levels) {
        let mut matched = self.automaton.longest_continued(Match::read(cursor));
        for _ in 0..MAX_LEVELS {
            if !levels.is_wanted() {
                return;
            }
            let Some((latest, _)) = self.automaton.latest(matched).filter(|_| matched.n_tokens() > 0) else {
                return;
            };
            let (n_tokens, n) = (matched.n_tokens(), self.automaton.n_continued(matched));
            levels.begin(n_tokens as u32, n as f32, escape(OWN, n_tokens), latest);
            for (token, n) in self.automaton.followers(matched, self.end).take(MAX_FOLLOWERS) {
                levels.follower(token, n as f32);
            }
            matched = self.automaton.next_shorter(matched).unwrap_or_default();
        }
    }

    fn occurrence(&self) -> Option<Occurrence> {
        let matched = self.automaton.longest_continued(self.automaton.suffix(self.end));
        if matched.n_tokens() == 0 {
            return None;
        }
        let (n_tokens, n_continued) = (matched.n_tokens(), self.automaton.n_continued(matched));
        self.automaton.latest(matched).map(|(_, latest)| Occurrence { n_tokens, n_continued, latest })
    }

    fn end(self: Box<Self>) -> Vec<Ended> {
        let Some((history, shares_prompts)) = self.history else { return Vec::new() };
        let mut text = self.automaton.into_text();
        if !shares_prompts {
            text.drain(..self.n_prompt);
        }
        vec![Ended { history, text }]
    }

    fn n_bytes(&self) -> usize {
        self.automaton.n_bytes()
    }
}

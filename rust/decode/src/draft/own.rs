//! What does the text itself say about its next token?
//!
//! The whole text lies in a suffix automaton. The longest suffix that occurred before is carried along, so nothing is
//! searched: its levels are the states on the chain of suffix links.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::blend::{OWN, escape};
use super::index::{Automaton, DocumentEnd, History, Match};
use super::source::{Cursor, Levels, MAX_FOLLOWERS, MAX_LEVELS, Source};
use super::stream::{Commit, Ended};
use super::suffix::Occurrence;

/// The text of one stream.
#[derive(Debug)]
pub(super) struct OwnText {
    automaton: Automaton,
    end: DocumentEnd,
    /// The longest suffix of the text that was followed by a token, found while the automaton was at hand.
    root: Match,
    history: Option<(Arc<History>, bool)>,
    n_prompt: usize,
}

impl OwnText {
    /// Matches up to `max_depth` tokens; a finished text goes into the history, with its prompt if the flag says so.
    pub(super) fn new(max_depth: usize, history: Option<(Arc<History>, bool)>) -> Self {
        let automaton = Automaton::new(max_depth);
        Self { automaton, end: DocumentEnd::default(), root: Match::default(), history, n_prompt: 0 }
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

    /// Asks for the memory that says which tokens the text has.
    pub(super) fn ask(&self) {
        self.automaton.ask();
    }

    /// Does the cursor stand behind a token that the text never had?
    pub(super) fn is_new([_, n_tokens]: Cursor) -> bool {
        n_tokens == 0
    }
}

impl Source for OwnText {
    fn commit(&mut self, commit: &Commit<'_>) {
        self.automaton.extend_with(&mut self.end, commit.tokens);
        self.root = self.automaton.longest_continued(self.automaton.suffix(self.end));
        if commit.is_prompt {
            self.n_prompt = commit.tokens.len();
        }
    }

    fn root(&self) -> Cursor {
        self.root.into()
    }

    fn step(&self, from: Cursor, token: TokenId) -> Cursor {
        self.automaton.advance(Match::from(from), token).into()
    }

    fn levels(&self, cursor: Cursor, levels: &mut Levels) {
        let mut matched = Match::from(cursor);
        if matched.n_tokens() > 0 {
            matched = self.automaton.longest_continued(matched);
        }
        for _ in 0..MAX_LEVELS {
            if matched.n_tokens() == 0 || !levels.is_wanted() {
                return;
            }
            let Some((latest, _)) = self.automaton.latest(matched) else { return };
            let (n_tokens, n) = (matched.n_tokens(), self.automaton.n_continued(matched));
            for (token, n) in self.automaton.followers(matched, self.end).take(MAX_FOLLOWERS) {
                levels.follower(token, n as f32);
            }
            levels.close(n_tokens as u32, n as f32, escape(OWN, n_tokens), latest);
            matched = self.automaton.next_shorter(matched).unwrap_or_default();
        }
    }

    fn occurrence(&self) -> Option<Occurrence> {
        let matched = self.root;
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

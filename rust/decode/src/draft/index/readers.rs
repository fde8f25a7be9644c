//! How do many tokens wait less for the memory of a large index?
//!
//! Indexing a token is a chain of look-ups: each says where the next one is, and in a long text no cache holds the places.
//! But where many tokens come at once, what the later ones will read hardly depends on the earlier ones: it is the walk of
//! the latest few tokens through what is indexed already. So before a run of tokens is indexed, [`MAX_READERS`] readers walk
//! through parts of it side by side, each from a few tokens before its part on; a reader asks for the memory of its next
//! look-up and the others have their turn until it is there. They change nothing, so they may be wrong: where the run itself
//! brings what a later part meets, the walk goes another way and some memory is asked for in vain. As many look-ups as
//! indexing the tokens takes, and an eighth more.

use tokenloom_tokenize::prefetch::prefetch;
use tokenloom_vocab::TokenId;

use super::automaton::{Automaton, NONE, ROOT, hash, is_at};

/// So many walk side by side,
const MAX_READERS: usize = 8;
/// through so many tokens each,
const STRIDE: usize = 32;
/// after so many before them, which lead most walks to the longest match.
const N_BEFORE: usize = 4;
/// Fewer have nothing to do while one waits.
const MIN_READERS: usize = 4;

/// So many tokens are walked through before they are indexed.
pub(super) const MAX_RUN: usize = MAX_READERS * STRIDE;

/// Somebody on the way through the index.
#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    /// Between these tokens.
    at: usize,
    end: usize,
    state: u32,
    /// Where the token leads, once that is known, and how long the string is that was read then.
    target: u32,
    length: u32,
    step: Step,
}

/// What is on its way.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// A state from which the token may lead on, and the place where its edge would be listed,
    #[default]
    State,
    /// and the edge.
    Edge(u32),
    /// The next shorter state, and the target; where that will be split more edges lead to it.
    Shorter,
    /// A state whose strings end here, too.
    Chain,
}

impl Automaton {
    /// Asks for the memory that [`Automaton::push`] will read of at most [`MAX_RUN`] tokens; the text before them is in `state`.
    pub(super) fn read_ahead(&self, state: u32, run: &[TokenId]) {
        let n_readers = run.len() / STRIDE;
        if n_readers < MIN_READERS {
            return;
        }
        let mut readers = [Reader::default(); MAX_READERS];
        for (index, reader) in readers[..n_readers].iter_mut().enumerate() {
            let start = index * STRIDE;
            *reader = Reader { at: start.saturating_sub(N_BEFORE), end: start + STRIDE, ..Reader::default() };
        }
        readers[0].state = state;
        let mut n_left = n_readers;
        while n_left > 0 {
            n_left = 0;
            for reader in &mut readers[..n_readers] {
                if reader.at < reader.end {
                    n_left += 1;
                    self.take_step(reader, run);
                }
            }
        }
    }

    #[inline]
    fn take_step(&self, reader: &mut Reader, run: &[TokenId]) {
        let (state, token) = (&self.states[reader.state as usize], run[reader.at]);
        match reader.step {
            Step::State if state.token == token => self.found(reader, token, state.target),
            Step::State => {
                let edge = match state.more {
                    NONE => None,
                    _ => self.edge_index.find(hash(reader.state, token), |_| true),
                };
                match edge {
                    Some(edge) => {
                        prefetch(&self.edges, edge as usize);
                        reader.step = Step::Edge(edge);
                    }
                    None => self.not_found(reader, run, state.link),
                }
            }
            Step::Edge(edge) if is_at(&self.edges, edge, reader.state, token) => {
                self.found(reader, token, self.edges[edge as usize].target);
            }
            Step::Edge(_) => self.not_found(reader, run, state.link),
            Step::Shorter | Step::Chain if reader.state == ROOT => self.read_on(reader, run),
            Step::Shorter if self.states[reader.target as usize].length != reader.length => {
                if let Some(edge) = self.edge_index.find(hash(reader.state, token), |_| true) {
                    prefetch(&self.edges, edge as usize);
                }
                self.follow(reader, state.link);
            }
            Step::Shorter | Step::Chain => self.follow(reader, state.link),
        }
    }

    /// The token leads to `target`.
    #[inline]
    fn found(&self, reader: &mut Reader, token: TokenId, target: u32) {
        let state = &self.states[reader.state as usize];
        prefetch(&self.states, target as usize);
        (reader.target, reader.length) = (target, state.length + 1);
        match state.link {
            NONE => (reader.state, reader.step) = (ROOT, Step::Chain),
            link => {
                self.edge_index.prefetch(hash(link, token));
                self.follow(reader, link);
                reader.step = Step::Shorter;
            }
        }
    }

    #[inline]
    fn follow(&self, reader: &mut Reader, link: u32) {
        prefetch(&self.states, link as usize);
        (reader.state, reader.step) = (link, Step::Chain);
    }

    /// The token does not follow the state.
    #[inline]
    fn not_found(&self, reader: &mut Reader, run: &[TokenId], link: u32) {
        match link {
            NONE => {
                reader.target = ROOT;
                self.read_on(reader, run);
            }
            link => self.read(reader, link, run[reader.at]),
        }
    }

    #[inline]
    fn read_on(&self, reader: &mut Reader, run: &[TokenId]) {
        reader.at += 1;
        if let Some(&token) = run.get(reader.at) {
            self.read(reader, reader.target, token);
        }
    }

    #[inline]
    fn read(&self, reader: &mut Reader, state: u32, token: TokenId) {
        prefetch(&self.states, state as usize);
        self.edge_index.prefetch(hash(state, token));
        (reader.state, reader.step) = (state, Step::State);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::draft::index::DocumentEnd;

    proptest! {
        /// Whatever the text, the state and the tokens to come: reading comes to an end within the index.
        #[test]
        fn every_walk_ends(
            text in prop::collection::vec(0_u32..5, 0..300),
            run in prop::collection::vec(0_u32..6, 0..=MAX_RUN),
            state: prop::sample::Index,
        ) {
            let mut automaton = Automaton::new(8);
            automaton.extend_with(&mut DocumentEnd::default(), &text);
            automaton.read_ahead(state.index(automaton.states.len()) as u32, &run);
        }
    }
}

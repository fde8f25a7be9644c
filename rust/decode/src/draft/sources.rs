//! How are the sources of a stream asked together?
//!
//! A stream asks all of its sources at every node, in their order: a list of anything, or the two kinds of text that lie
//! side by side in the stream's own memory and are called directly. Along a single old occurrence, which nothing else
//! contradicts, the draft is a copy of text, and only that is read.

use std::fmt::Debug;

use tokenloom_vocab::TokenId;

use super::own::OwnText;
use super::past::PastTexts;
use super::source::{Cursor, Levels, Source};

/// All sources of a stream, in order.
pub(super) trait Sources: Debug + Send {
    /// How many there are.
    fn n_sources(&self) -> usize;

    /// Appends the cursors of the end of the text.
    fn roots(&self, cursors: &mut Vec<Cursor>);

    /// Appends the cursors of `token` behind those that begin at `first`.
    fn step(&self, cursors: &mut Vec<Cursor>, first: usize, token: TokenId);

    /// Appends the levels at cursors, the longest context of each source first.
    fn levels(&self, cursors: &[Cursor], levels: &mut Levels);

    /// What follows where one source alone knows a context, and that occurred once; nothing where none does.
    fn copy(&self, _cursors: &[Cursor]) -> Option<Continuation<'_>> {
        None
    }

    /// As [`Sources::step`] over the next token of a copy; does the copy go on?
    fn follow(&self, _cursors: &mut Vec<Cursor>, _first: usize, _token: TokenId) -> bool {
        false
    }

    /// Asks for the memory that a proposal reads all over.
    fn ask(&self) {}

    /// Each of them.
    fn each(&mut self) -> impl Iterator<Item = &mut dyn Source>;

    /// Each of them, to look at.
    fn all(&self) -> impl Iterator<Item = &dyn Source>;

    /// Each of them, for good.
    fn into_all(self) -> impl Iterator<Item = Box<dyn Source>>;
}

/// The continuation of a context that occurred once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continuation<'a> {
    /// Which source knows it.
    pub(super) source: u8,
    /// How many of the latest tokens agree.
    pub(super) n_tokens: u32,
    /// What followed, to the end of that text.
    pub(super) tokens: &'a [TokenId],
}

impl Sources for Vec<Box<dyn Source>> {
    fn n_sources(&self) -> usize {
        self.len()
    }

    fn roots(&self, cursors: &mut Vec<Cursor>) {
        cursors.extend(self.iter().map(|source| source.root()));
    }

    fn step(&self, cursors: &mut Vec<Cursor>, first: usize, token: TokenId) {
        for (i, source) in self.iter().enumerate() {
            cursors.push(source.step(cursors[first + i], token));
        }
    }

    fn levels(&self, cursors: &[Cursor], levels: &mut Levels) {
        for ((i, source), &cursor) in (0..).zip(self).zip(cursors) {
            levels.set_source(i);
            source.levels(cursor, levels);
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut dyn Source> {
        self.iter_mut().map(|source| &mut **source as &mut dyn Source)
    }

    fn all(&self) -> impl Iterator<Item = &dyn Source> {
        self.iter().map(|source| &**source as &dyn Source)
    }

    fn into_all(self) -> impl Iterator<Item = Box<dyn Source>> {
        self.into_iter()
    }
}

/// The text of a stream and those that ended before.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) own: OwnText,
    pub(super) past: PastTexts,
}

const PAST: u8 = 1;

impl Sources for Texts {
    fn n_sources(&self) -> usize {
        2
    }

    fn roots(&self, cursors: &mut Vec<Cursor>) {
        cursors.extend([self.own.root(), self.past.root()]);
    }

    #[inline]
    fn step(&self, cursors: &mut Vec<Cursor>, first: usize, token: TokenId) {
        let [own, past] = [cursors[first], cursors[first + 1]];
        cursors.extend([self.own.step(own, token), self.past.step(past, token)]);
    }

    fn levels(&self, cursors: &[Cursor], levels: &mut Levels) {
        levels.set_source(0);
        self.own.levels(cursors[0], levels);
        levels.set_source(PAST);
        self.past.levels(cursors[1], levels);
    }

    #[inline]
    fn copy(&self, cursors: &[Cursor]) -> Option<Continuation<'_>> {
        if !OwnText::is_new(cursors[0]) {
            return None;
        }
        self.past.copy(cursors[1]).map(|(n_tokens, tokens)| Continuation { source: PAST, n_tokens, tokens })
    }

    #[inline]
    fn follow(&self, cursors: &mut Vec<Cursor>, first: usize, token: TokenId) -> bool {
        let own = self.own.step(cursors[first], token);
        cursors.extend([own, PastTexts::next(cursors[first + 1])]);
        OwnText::is_new(own)
    }

    fn ask(&self) {
        if self.past.ask() {
            self.own.ask();
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut dyn Source> {
        [&mut self.own as &mut dyn Source, &mut self.past].into_iter()
    }

    fn all(&self) -> impl Iterator<Item = &dyn Source> {
        [&self.own as &dyn Source, &self.past].into_iter()
    }

    fn into_all(self) -> impl Iterator<Item = Box<dyn Source>> {
        [Box::new(self.own) as Box<dyn Source>, Box::new(self.past)].into_iter()
    }
}

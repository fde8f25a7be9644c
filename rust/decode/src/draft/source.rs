//! What does one place of evidence say about the next token, anywhere in a draft?
//!
//! A source stands at a node of the draft by a [`Cursor`], two words that it alone understands, and can step from there
//! over a drafted token. What it knows at a cursor are *levels*: contexts of some length that occurred so often, and the
//! tokens that followed them. Sources of every kind are asked alike, so any number of them can be blended.

use std::fmt::Debug;

use tokenloom_vocab::TokenId;

use super::blend::NEGLIGIBLE;
use super::stream::{Commit, Ended};
use super::suffix::Occurrence;
use super::tree::DraftTree;

/// Followers listed for one level: rarer ones are worth no draft.
pub(super) const MAX_FOLLOWERS: usize = 8;

/// Levels that one source gives at most.
pub(super) const MAX_LEVELS: usize = 8;

/// The latest continuation counts for this many occurrences more.
pub(super) const RECENCY: f32 = 0.4;

/// No token.
const NOTHING: TokenId = TokenId::MAX;

/// Where a source stands in a draft, in words of its own.
pub type Cursor = [u32; 2];

/// One place of evidence, in one stream.
pub trait Source: Debug + Send {
    /// The text goes on.
    fn commit(&mut self, commit: &Commit<'_>);

    /// A proposal of at most `budget` nodes begins: time to look at what is shared.
    fn prepare(&mut self, _budget: usize) {}

    /// Takes its own from the trees that the caller hands in.
    fn guide(&mut self, _trees: &mut dyn Iterator<Item = &DraftTree>) {}

    /// The cursor of the end of the text.
    fn root(&self) -> Cursor;

    /// The cursor of `token` behind `from`.
    fn step(&self, from: Cursor, token: TokenId) -> Cursor;

    /// Appends the levels at a cursor, the longest context first.
    fn levels(&self, cursor: Cursor, levels: &mut Levels);

    /// Does a commit have to bring the draft that was verified?
    fn reads_drafts(&self) -> bool {
        false
    }

    /// What the text itself says about its latest tokens, where the source knows.
    fn occurrence(&self) -> Option<Occurrence> {
        None
    }

    /// How many of the latest tokens it saw before and knows a follower of; as of the last look at what is shared.
    fn n_matched(&self) -> usize {
        self.occurrence().map_or(0, |found| found.n_tokens)
    }

    /// The text is complete: what has to be shared.
    fn end(self: Box<Self>) -> Vec<Ended> {
        Vec::new()
    }

    /// Bytes held by the stream.
    fn n_bytes(&self) -> usize;
}

/// How contexts differ whose share is learned apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContextKind {
    /// Its followers came with probabilities.
    Told,
    /// It occurred once.
    Once,
    /// One token followed it every time.
    Always,
    /// Two tokens did.
    Two,
    /// More did.
    Many,
}

/// Kinds of contexts.
pub(super) const N_KINDS: usize = 5;

/// A context that occurred, and what followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// How many of the latest tokens agree.
    pub(super) n_tokens: u32,
    /// Which source says so.
    pub(super) source: u8,
    pub(super) kind: ContextKind,
    /// How often it was continued, with what the latest counts more.
    pub(super) n_continued: f32,
    /// How many occurrences are left to shorter contexts.
    pub(super) escape: f32,
    /// The token that followed last, if that matters.
    pub(super) latest: TokenId,
    first: u32,
    last: u32,
}

impl Level {
    /// What it takes of what longer contexts left, its odds multiplied by `odds`.
    pub(super) fn share(&self, odds: f32) -> f32 {
        self.n_continued / (self.n_continued + self.escape / odds)
    }
}

/// The levels of all sources at one node.
#[derive(Debug, Default)]
pub struct Levels {
    levels: Vec<Level>,
    followers: Vec<(TokenId, f32)>,
    source: u8,
    /// Where the followers begin that are being counted.
    open: usize,
    /// At most this share is left for the next level of the source.
    left: f32,
}

impl Levels {
    pub(super) fn clear(&mut self) {
        self.levels.clear();
        self.followers.clear();
    }

    /// Whose levels come next.
    pub(super) fn set_source(&mut self, source: u8) {
        self.source = source;
        self.open = self.followers.len();
        self.left = 1.0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Would a further level of the source decide anything?
    pub(super) fn is_wanted(&self) -> bool {
        self.left >= NEGLIGIBLE
    }

    /// A token that followed the context of the next level `n` times, or with probability `n`.
    pub(super) fn follower(&mut self, token: TokenId, n: f32) {
        self.followers.push((token, n));
    }

    /// A token that followed the context of the next level once more.
    pub(super) fn count(&mut self, token: TokenId) {
        match self.followers[self.open..].iter_mut().find(|(other, _)| *other == token) {
            Some((_, n)) => *n += 1.0,
            None => self.followers.push((token, 1.0)),
        }
    }

    /// A level that was counted, of the followers since the last one.
    pub(super) fn close(&mut self, n_tokens: u32, n_continued: f32, escape: f32, latest: TokenId) {
        let kind = match self.followers.len() - self.open {
            0 | 1 if n_continued < 2.0 => ContextKind::Once,
            0 | 1 => ContextKind::Always,
            2 => ContextKind::Two,
            _ => ContextKind::Many,
        };
        let n_continued = n_continued + RECENCY;
        self.left *= escape / (n_continued + escape);
        self.push(n_tokens, kind, n_continued, escape, latest);
    }

    /// A level whose followers came with probabilities, which get the share `trust` of what longer ones left.
    pub(super) fn close_trusted(&mut self, n_tokens: u32, trust: f32) {
        self.push(n_tokens, ContextKind::Told, 1.0, 1.0 / trust - 1.0, NOTHING);
    }

    fn push(&mut self, n_tokens: u32, kind: ContextKind, n_continued: f32, escape: f32, latest: TokenId) {
        let (source, first, last) = (self.source, self.open as u32, self.followers.len() as u32);
        self.levels.push(Level { n_tokens, source, kind, n_continued, escape, latest, first, last });
        self.open = self.followers.len();
    }

    /// What followed the last level follows the next one too.
    pub(super) fn go_on_counting(&mut self) {
        if let Some(level) = self.levels.last() {
            self.followers.extend_from_within(level.first as usize..level.last as usize);
        }
    }

    /// The longest context first; of equal ones the earlier source.
    pub(super) fn sort(&mut self) {
        // Few and nearly sorted: each source gave its own in order.
        for i in 1..self.levels.len() {
            let mut j = i;
            while j > 0 && self.levels[j].n_tokens > self.levels[j - 1].n_tokens {
                self.levels.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Level> {
        self.levels.iter()
    }

    pub(super) fn each(&mut self, change: impl FnMut(&mut Level)) {
        self.levels.iter_mut().for_each(change);
    }

    pub(super) fn level(&self, i: u16) -> &Level {
        &self.levels[usize::from(i)]
    }

    /// Each token that followed the context of a level, and its part of the level's share.
    pub(super) fn parts(&self, level: &Level) -> impl Iterator<Item = (TokenId, f32)> {
        let Level { n_continued, latest, first, last, .. } = *level;
        self.followers[first as usize..last as usize].iter().map(move |&(token, count)| {
            let bonus = if token == latest { RECENCY } else { 0.0 };
            (token, (count + bonus) / n_continued)
        })
    }

    /// The part that `token` has of a level's share.
    pub(super) fn part(&self, level: &Level, token: TokenId) -> f32 {
        self.parts(level).filter(|&(other, _)| other == token).map(|(_, part)| part).sum()
    }
}

//! What do finished texts say about the next token?
//!
//! The places in them whose left context agrees longest with the end of the text (at most [`MAX_NEIGHBOURS`], by one
//! search in each segment when tokens came) are held while a draft grows. A place stays as long as its own continuation
//! agrees with the draft, so a step costs a look at each of them and nothing is searched again.

use std::sync::Arc;

use tokenloom_tokenize::prefetch::prefetch;
use tokenloom_vocab::TokenId;

use super::blend::{OTHER, escape};
use super::index::{END_OF_DOCUMENT, History, Neighbour, Segment};
use super::source::{Cursor, Levels, MAX_LEVELS, Source};
use super::stream::Commit;

/// Places held; a cursor has a bit for each.
const MAX_NEIGHBOURS: usize = 32;
/// Places taken from one segment.
const PER_SEGMENT: usize = 16;

/// The history as one stream sees it.
#[derive(Debug)]
pub(super) struct PastTexts {
    history: Arc<History>,
    segments: Arc<Vec<Segment>>,
    /// The last tokens of the stream, at most `max_depth`.
    context: Vec<TokenId>,
    max_depth: usize,
    /// By falling agreement, the newest segment first.
    neighbours: Vec<(u32, Neighbour)>,
}

impl PastTexts {
    pub(super) fn new(history: Arc<History>, max_depth: usize) -> Self {
        let segments = history.segments();
        Self { history, segments, context: Vec::new(), max_depth, neighbours: Vec::new() }
    }

    fn search(&mut self) {
        self.neighbours.clear();
        let mut found = Vec::new();
        for (i, segment) in self.segments.iter().enumerate().rev() {
            segment.nearest(&self.context, self.max_depth, PER_SEGMENT, &mut found);
            self.neighbours.extend(found.drain(..).map(|neighbour| (i as u32, neighbour)));
        }
        self.neighbours.sort_by_key(|(_, neighbour)| std::cmp::Reverse(neighbour.n_tokens));
        self.neighbours.truncate(MAX_NEIGHBOURS);
    }

    /// The token behind a place after `n_steps` more.
    fn follower(&self, (segment, neighbour): &(u32, Neighbour), n_steps: u32) -> TokenId {
        let text = self.segments[*segment as usize].text();
        let at = neighbour.position as usize + n_steps as usize + 1;
        text.get(at).copied().unwrap_or(END_OF_DOCUMENT)
    }

    /// Asks for the first place; is there any?
    pub(super) fn ask(&self) -> bool {
        prefetch(&self.neighbours, 0);
        !self.neighbours.is_empty()
    }

    /// How many tokens agree and what follows, where at most one place is left.
    pub(super) fn copy(&self, [mask, n_steps]: Cursor) -> Option<(u32, &[TokenId])> {
        if mask & mask.wrapping_sub(1) != 0 {
            return None;
        }
        let Some((_, (segment, neighbour))) = self.alive(mask).next() else { return Some((0, &[])) };
        let text = self.segments[*segment as usize].text();
        let tokens = text.get((neighbour.position + n_steps) as usize + 1..).unwrap_or_default();
        Some((neighbour.n_tokens + n_steps, tokens))
    }

    /// The cursor behind the next token of a copy.
    pub(super) fn next([mask, n_steps]: Cursor) -> Cursor {
        [mask, n_steps + 1]
    }

    /// The places whose bits are set.
    fn alive(&self, mut mask: u32) -> impl Iterator<Item = (usize, &(u32, Neighbour))> {
        std::iter::from_fn(move || {
            let i = mask.trailing_zeros() as usize;
            mask &= mask.wrapping_sub(1);
            self.neighbours.get(i).map(|place| (i, place))
        })
    }
}

impl Source for PastTexts {
    fn commit(&mut self, commit: &Commit<'_>) {
        let news = &commit.tokens[commit.tokens.len().saturating_sub(self.max_depth)..];
        let n_old = self.context.len().min(self.max_depth - news.len());
        self.context.drain(..self.context.len() - n_old);
        self.context.extend_from_slice(news);
        self.segments = self.history.segments();
        self.search();
    }

    fn prepare(&mut self, _budget: usize) {
        if !self.history.holds(&self.segments) {
            self.segments = self.history.segments();
            self.search();
        }
    }

    fn root(&self) -> Cursor {
        let mask = 1u64.wrapping_shl(self.neighbours.len() as u32) - 1;
        [mask as u32, 0]
    }

    fn step(&self, [mask, n_steps]: Cursor, token: TokenId) -> Cursor {
        let mut agreeing = 0;
        for (i, place) in self.alive(mask) {
            agreeing |= u32::from(self.follower(place, n_steps) == token) << i;
        }
        [agreeing, n_steps + 1]
    }

    fn levels(&self, [mask, n_steps]: Cursor, levels: &mut Levels) {
        let mut alive = self.alive(mask).peekable();
        let (mut n, mut n_levels, mut latest) = (0, 0, None);
        while let Some((_, place)) = alive.next() {
            let token = self.follower(place, n_steps);
            latest = latest.or(Some(token));
            levels.count(token);
            n += 1;
            let next = alive.peek();
            // A level is complete before the next place that agrees less.
            if next.is_none_or(|(_, next)| next.1.n_tokens < place.1.n_tokens) {
                let n_tokens = place.1.n_tokens + n_steps;
                levels.close(n_tokens, n as f32, escape(OTHER, n_tokens as usize), latest.unwrap_or(token));
                n_levels += 1;
                if next.is_none() || n_levels == MAX_LEVELS || !levels.is_wanted() {
                    return;
                }
                levels.go_on_counting();
            }
        }
    }

    fn n_matched(&self) -> usize {
        let is_continued = |place: &&(u32, Neighbour)| self.follower(place, 0) != END_OF_DOCUMENT;
        self.neighbours.iter().find(is_continued).map_or(0, |(_, neighbour)| neighbour.n_tokens as usize)
    }

    fn n_bytes(&self) -> usize {
        self.context.capacity() * size_of::<TokenId>()
            + self.neighbours.capacity() * size_of::<(u32, Neighbour)>()
    }
}

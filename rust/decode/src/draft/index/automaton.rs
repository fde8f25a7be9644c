//! Where did the latest tokens occur before, how often, and what followed?
//!
//! A suffix automaton: one state for each set of substrings that end at the same places, transitions by token, and a
//! suffix link from each state to the longest suffix of its strings that occurs in more places. The states of all
//! suffixes of the text are the link chain that starts at the state of the whole text, so the longest suffix that
//! occurred before is found by following links, never by searching again. Each state carries how often its strings
//! were *continued* and where the latest continuation begins; the chain of the current end is counted when the next
//! token arrives, so the unfinished end of a text counts nowhere.
//!
//! Cost: appending a token is O(1) amortised for states and transitions (at most 2n and 3n of them) plus the chain
//! below `max_depth`, which is at most `max_depth` states (one repeated token) and about five on text. Nothing depends
//! on the length of the text. Strings longer than `max_depth` are not counted. Memory: 28 B a state, 16 B and about
//! 11 B of the table for each transition beyond the first of its state, 4 B a token.
//!
//! Several documents share one automaton, each written through its own [`DocumentEnd`]; a finished one is followed by
//! [`END_OF_DOCUMENT`], so no count and no continuation crosses from one document into the next.
//!
//! Blumer et al., "The smallest automaton recognizing the subwords of a text", 1985.

use tokenloom_tokenize::prefetch::prefetch;
use tokenloom_vocab::TokenId;

use super::edge_index::EdgeIndex;
use super::readers::MAX_RUN;

/// No state, no edge, no token.
pub(super) const NONE: u32 = u32::MAX;
/// The state of the empty string.
pub(super) const ROOT: u32 = 0;

/// What follows the last token of a finished document. Greater than every token id that is taken.
pub const END_OF_DOCUMENT: TokenId = 1 << 31;

/// A substring of the indexed text: `length` tokens, read in `state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    state: u32,
    length: u32,
}

impl From<Match> for [u32; 2] {
    fn from(matched: Match) -> Self {
        [matched.state, matched.length]
    }
}

impl From<[u32; 2]> for Match {
    fn from([state, length]: [u32; 2]) -> Self {
        Self { state, length }
    }
}

impl Match {
    /// How many tokens match.
    pub fn n_tokens(self) -> usize {
        self.length as usize
    }
}

/// Where a document is written on. The default value begins a document.
#[derive(Clone, Copy, Debug, Default)]
pub struct DocumentEnd {
    /// The state of the whole document.
    tail: u32,
    /// The last `max_depth + 1` tokens of the document: what followed a string of `max_depth` tokens is one longer.
    suffix: Match,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The longest string of the state, in tokens.
    pub(super) length: u32,
    pub(super) link: u32,
    /// How often the strings of the state were followed by another token.
    pub(super) n_continued: u32,
    /// Where the latest token that followed lies in the text.
    pub(super) latest: u32,
    /// The first transition lies in the state itself: most states have no other.
    pub(super) token: u32,
    pub(super) target: u32,
    /// The first of the other transitions.
    pub(super) more: u32,
}

impl State {
    fn new(length: u32) -> Self {
        Self { length, link: NONE, n_continued: 0, latest: NONE, token: NONE, target: NONE, more: NONE }
    }
}

/// A transition beyond the first of its state; `next` lists them for copying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    state: u32,
    token: u32,
    pub(super) target: u32,
    next: u32,
}

/// A growing suffix automaton over token ids, with counts and latest positions.
#[derive(Clone, Debug)]
pub struct Automaton {
    max_depth: u32,
    text: Vec<TokenId>,
    pub(super) states: Vec<State>,
    pub(super) edges: Vec<Edge>,
    pub(super) edge_index: EdgeIndex,
}

impl Automaton {
    /// Longer strings are never worth a look.
    pub const MAX_DEPTH: u32 = 1 << 16;

    /// Positions and states have 32 bits, and a token makes two states at most.
    pub const MAX_TOKENS: usize = 1 << 30;

    /// So many states do not lie in the inner caches.
    const MANY_STATES: usize = 1 << 18;

    /// An empty automaton that counts strings up to `max_depth` tokens.
    pub fn new(max_depth: usize) -> Self {
        Self {
            max_depth: u32::try_from(max_depth).unwrap_or(u32::MAX).min(Self::MAX_DEPTH),
            text: Vec::new(),
            states: vec![State::new(0)],
            edges: Vec::new(),
            edge_index: EdgeIndex::default(),
        }
    }

    /// How many tokens were appended.
    pub fn n_tokens(&self) -> usize {
        self.text.len()
    }

    /// The tokens appended so far, all documents in a row.
    pub fn text(&self) -> &[TokenId] {
        &self.text
    }

    /// Bytes held by the arenas.
    pub fn n_bytes(&self) -> usize {
        self.text.capacity() * size_of::<TokenId>()
            + self.states.capacity() * size_of::<State>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.edge_index.n_bytes()
    }

    /// The tokens, without the index.
    pub fn into_text(self) -> Vec<TokenId> {
        self.text
    }

    /// The longest string that is matched and counted.
    pub fn max_depth(&self) -> usize {
        self.max_depth as usize
    }

    /// Appends one token to the document that ends at `end`.
    pub fn push(&mut self, end: &mut DocumentEnd, token: TokenId) {
        // Splits by other documents may have moved a short string to another state.
        let suffix = self.shorten(end.suffix, self.max_depth + 1);
        self.count_continuations(suffix);
        grow(&mut self.text);
        self.text.push(token);
        end.tail = self.extend(end.tail, token);
        let suffix = self.shorten(suffix, self.max_depth + 1);
        let state = self.target(suffix.state, token).unwrap_or(end.tail);
        end.suffix = self.shorten(Match { state, length: suffix.length + 1 }, self.max_depth + 1);
    }

    /// Asks for what a look-up behind the empty match reads, where that is in few lines.
    pub(crate) fn ask(&self) {
        prefetch(&self.states, ROOT as usize);
        self.edge_index.ask();
    }

    /// Appends tokens.
    pub fn extend_with(&mut self, end: &mut DocumentEnd, tokens: &[TokenId]) {
        for run in tokens.chunks(MAX_RUN) {
            if self.states.len() >= Self::MANY_STATES {
                self.read_ahead(end.suffix.state, run);
            }
            for &token in run {
                self.push(end, token);
            }
        }
    }

    /// All suffixes of a document are about to be followed by the token at the next position.
    fn count_continuations(&mut self, suffix: Match) {
        let at = self.text.len() as u32;
        let mut state = suffix.state;
        while state != NONE {
            let entry = &mut self.states[state as usize];
            entry.n_continued += 1;
            entry.latest = at;
            state = entry.link;
        }
    }

    /// Adds `token` behind the string of `tail` and returns the state of the longer string.
    fn extend(&mut self, tail: u32, token: TokenId) -> u32 {
        if let Some(target) = self.target(tail, token) {
            // Only at the start of a document: the string is already known from another one.
            return self.split(tail, token, target);
        }
        let length = self.states[tail as usize].length + 1;
        let state = self.add_state(State::new(length));
        let mut from = tail;
        while from != NONE {
            if let Some(target) = self.target(from, token) {
                self.states[state as usize].link = self.split(from, token, target);
                return state;
            }
            self.add_edge(from, token, state);
            from = self.states[from as usize].link;
        }
        self.states[state as usize].link = ROOT;
        state
    }

    /// The state whose longest string is the longest string of `from` and `token`: `target` itself, or its short half.
    fn split(&mut self, from: u32, token: TokenId, target: u32) -> u32 {
        let length = self.states[from as usize].length + 1;
        let whole = self.states[target as usize];
        if whole.length == length {
            return target;
        }
        let half = self.add_state(State { length, more: NONE, ..whole });
        let mut edge = whole.more;
        while edge != NONE {
            let Edge { token, target, next, .. } = self.edges[edge as usize];
            self.add_edge(half, token, target);
            edge = next;
        }
        self.states[target as usize].link = half;
        let mut from = from;
        while from != NONE && self.redirect(from, token, target, half) {
            from = self.states[from as usize].link;
        }
        half
    }

    /// Lets a transition that leads to `old` lead to `new`; false where it does not lead to `old`.
    fn redirect(&mut self, from: u32, token: TokenId, old: u32, new: u32) -> bool {
        let state = &mut self.states[from as usize];
        let target = if state.token == token {
            &mut state.target
        } else {
            match self.edge_index.find(hash(from, token), |edge| is_at(&self.edges, edge, from, token)) {
                Some(edge) => &mut self.edges[edge as usize].target,
                None => return false,
            }
        };
        let matches = *target == old;
        if matches {
            *target = new;
        }
        matches
    }

    fn add_state(&mut self, state: State) -> u32 {
        grow(&mut self.states);
        self.states.push(state);
        (self.states.len() - 1) as u32
    }

    fn add_edge(&mut self, from: u32, token: TokenId, target: u32) {
        let state = &mut self.states[from as usize];
        if state.token == NONE {
            (state.token, state.target) = (token, target);
            return;
        }
        grow(&mut self.edges);
        let edge = self.edges.len() as u32;
        self.edges.push(Edge { state: from, token, target, next: state.more });
        state.more = edge;
        self.edge_index.insert(hash(from, token), edge);
    }

    #[inline]
    fn target(&self, from: u32, token: TokenId) -> Option<u32> {
        let state = &self.states[from as usize];
        if state.token == token {
            return Some(state.target);
        }
        if state.more == NONE {
            return None;
        }
        let found = self.edge_index.find(hash(from, token), |edge| is_at(&self.edges, edge, from, token));
        found.map(|edge| self.edges[edge as usize].target)
    }

    /// Keeps the last `length` tokens of a match.
    fn shorten(&self, mut matched: Match, length: u32) -> Match {
        if matched.length > length {
            matched.length = length;
        }
        loop {
            let link = self.states[matched.state as usize].link;
            if link == NONE || self.states[link as usize].length < matched.length {
                return matched;
            }
            matched.state = link;
        }
    }

    /// The last tokens of a document, at most `max_depth`. They need not have occurred before.
    pub fn suffix(&self, end: DocumentEnd) -> Match {
        self.shorten(end.suffix, self.max_depth)
    }

    /// The longest suffix of `matched` and `token` that occurs in the text, at most `max_depth` tokens.
    pub fn advance(&self, mut matched: Match, token: TokenId) -> Match {
        loop {
            if let Some(state) = self.target(matched.state, token) {
                return self.shorten(Match { state, length: matched.length + 1 }, self.max_depth);
            }
            match self.states[matched.state as usize].link {
                NONE => return Match::default(),
                link => matched = Match { state: link, length: self.states[link as usize].length },
            }
        }
    }

    /// `matched` and `token`, if they occur together.
    pub(crate) fn descend(&self, matched: Match, token: TokenId) -> Option<Match> {
        self.target(matched.state, token).map(|state| Match { state, length: matched.length + 1 })
    }

    /// The longest suffix of `context` that occurs in the text, at most `max_depth` tokens.
    pub fn find(&self, context: &[TokenId]) -> Match {
        let skipped = context.len().saturating_sub(self.max_depth());
        context[skipped..].iter().fold(Match::default(), |matched, &token| self.advance(matched, token))
    }

    /// The longest suffix of `matched`, itself included, that was followed by a token.
    pub fn longest_continued(&self, matched: Match) -> Match {
        let mut matched = matched;
        while self.states[matched.state as usize].n_continued == 0 {
            match self.next_shorter(matched) {
                Some(shorter) => matched = shorter,
                None => return Match::default(),
            }
        }
        matched
    }

    /// The longest suffix of `matched` that occurs in more places, or `None` for the empty string.
    pub fn next_shorter(&self, matched: Match) -> Option<Match> {
        match self.states[matched.state as usize].link {
            NONE => None,
            link => Some(Match { state: link, length: self.states[link as usize].length }),
        }
    }

    /// How often the matched string was followed by a token.
    pub fn n_continued(&self, matched: Match) -> u32 {
        self.states[matched.state as usize].n_continued
    }

    /// The token that followed the matched string the last time, and its position in the text.
    pub fn latest(&self, matched: Match) -> Option<(TokenId, usize)> {
        let at = self.states[matched.state as usize].latest as usize;
        self.text.get(at).map(|&token| (token, at))
    }

    /// The tokens that followed the matched string and how often, where `open` is the document that is still written:
    /// the first that ever did, then the others, the newest first.
    pub(crate) fn followers(
        &self,
        matched: Match,
        open: DocumentEnd,
    ) -> impl Iterator<Item = (TokenId, u32)> {
        let state = self.states[matched.state as usize];
        let first = (state.token != NONE).then_some((state.token, state.target));
        let mut edge = state.more;
        let more = std::iter::from_fn(move || {
            let Edge { token, target, next, .. } = *self.edges.get(edge as usize)?;
            edge = next;
            Some((token, target))
        });
        first.into_iter().chain(more).map(move |(token, target)| {
            // Counts lag by one token: the occurrence that ends the document is on its chain only.
            let ends_here = self.is_suffix(target, open);
            (token, self.states[target as usize].n_continued + u32::from(ends_here))
        })
    }

    /// Do the strings of `state` end the document?
    fn is_suffix(&self, state: u32, end: DocumentEnd) -> bool {
        let length = self.states[state as usize].length;
        let mut at = end.suffix.state;
        while at != NONE && at != state && self.states[at as usize].length > length {
            at = self.states[at as usize].link;
        }
        at == state
    }
}

/// Arenas of fewer entries are copied when they grow; larger ones are moved by the system, page by page.
const MANY: usize = 1 << 16;

/// Grows by a fifth, then by an eighth, so that the memory stays near what is used.
fn grow<T>(arena: &mut Vec<T>) {
    if arena.len() == arena.capacity() {
        let part = if arena.len() < MANY { 5 } else { 8 };
        arena.reserve_exact((arena.len() / part).max(16));
    }
}

#[inline]
pub(super) fn is_at(edges: &[Edge], edge: u32, state: u32, token: TokenId) -> bool {
    let entry = &edges[edge as usize];
    entry.state == state && entry.token == token
}

/// Mixes both halves so that neither consecutive states nor consecutive tokens cluster.
#[inline]
pub(super) fn hash(state: u32, token: TokenId) -> u32 {
    let key = (u64::from(state) << 32) | u64::from(token);
    let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32) as u32
}

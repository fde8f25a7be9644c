//! Which parts of the text are added tokens?
//!
//! One Aho-Corasick automaton over the contents, leftmost-longest, built once: thousands of added tokens cost nothing
//! per call. Tokens that are matched in raw text and those matched in normalized text have an automaton each. The
//! rules for `single_word`, `lstrip` and `rstrip` are those of Hugging Face `tokenizers`; a match they refuse is not
//! tried again as a shorter one.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::HashMap;
use tokenloom_vocab::{AddedToken, TokenId};

use crate::BuildErrorKind;
use crate::normalize::Normalizers;
use crate::pretokenize::class::{is_white_space, is_word};

/// A part of a text: an added token, or what lies between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) id: Option<TokenId>,
}

/// The added tokens that are matched in one form of the text.
#[derive(Clone, Debug)]
pub(crate) struct AddedMatcher {
    automaton: Option<AhoCorasick>,
    tokens: Vec<AddedToken>,
    /// By token: the longest other one that its content starts with, and that one's length.
    shorter: Vec<Option<(usize, usize)>>,
    first_bytes: FirstBytes,
}

/// The bytes that contents start with: where none of them is, nothing matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstBytes {
    None,
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
    More,
}

impl AddedMatcher {
    /// A matcher of the tokens whose `normalized` flag is `normalized`; their contents go through `normalizers`.
    pub(crate) fn new(
        tokens: &[AddedToken],
        normalized: bool,
        normalizers: &Normalizers,
    ) -> Result<Self, BuildErrorKind> {
        let tokens: Vec<AddedToken> = tokens.iter().filter(|t| t.normalized == normalized).cloned().collect();
        let contents: Vec<String> = tokens
            .iter()
            .map(|token| {
                if normalized {
                    normalizers.apply(&token.content, false).into_owned()
                } else {
                    token.content.clone()
                }
            })
            .collect();
        let shorter = shorter(&contents);
        let first_bytes = FirstBytes::of(&contents);
        let automaton = if tokens.is_empty() {
            None
        } else {
            let build = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(contents);
            let n_tokens = tokens.len();
            Some(build.map_err(|source| BuildErrorKind::AddedTokens { n_tokens, source: Box::new(source) })?)
        };
        Ok(Self { automaton, tokens, shorter, first_bytes })
    }

    /// Whether some token may be in `text`. Quicker than looking for one.
    #[inline]
    pub(crate) fn may_match(&self, text: &str) -> bool {
        let text = text.as_bytes();
        match self.first_bytes {
            FirstBytes::None => false,
            FirstBytes::One(a) => memchr::memchr(a, text).is_some(),
            FirstBytes::Two(a, b) => memchr::memchr2(a, b, text).is_some(),
            FirstBytes::Three(a, b, c) => memchr::memchr3(a, b, c, text).is_some(),
            FirstBytes::More => true,
        }
    }

    /// Cuts `text` into segments. `allowed` says which special tokens are matched; the others are ordinary text.
    pub(crate) fn segments<'a>(
        &'a self,
        text: &'a str,
        allowed: impl Fn(TokenId) -> bool + 'a,
    ) -> impl Iterator<Item = Segment> + 'a {
        // `done`: end of the last segment; `search`: where the automaton goes on.
        let (mut done, mut search) = (0, 0);
        let mut pending: Option<Segment> = None;
        std::iter::from_fn(move || {
            if let Some(segment) = pending.take() {
                return Some(segment);
            }
            while let Some(automaton) = &self.automaton {
                let Some(found) = automaton.find(aho_corasick::Input::new(text).range(search..)) else {
                    break;
                };
                let Some((which, end)) = self.allowed_at(found.pattern().as_usize(), found.range(), &allowed)
                else {
                    search = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
                    continue;
                };
                let token = &self.tokens[which];
                search = end;
                if token.single_word && touches_word(text, found.start(), end) {
                    continue;
                }
                let (start, end) = stripped(text, token, found.start(), end, done);
                let before = (done < start).then_some(Segment { start: done, end: start, id: None });
                let segment = Segment { start, end, id: Some(token.id) };
                done = end;
                search = search.max(end);
                if before.is_some() {
                    pending = Some(segment);
                    return before;
                }
                return Some(segment);
            }
            let start = std::mem::replace(&mut done, text.len());
            search = text.len();
            (start < text.len()).then_some(Segment { start, end: text.len(), id: None })
        })
    }
}

impl AddedMatcher {
    /// The token itself where it is allowed, else the longest allowed one that it starts with; and where that ends.
    fn allowed_at(
        &self,
        mut which: usize,
        span: Range<usize>,
        allowed: impl Fn(TokenId) -> bool,
    ) -> Option<(usize, usize)> {
        let mut end = span.end;
        while self.tokens[which].special && !allowed(self.tokens[which].id) {
            let (next, length) = self.shorter[which]?;
            (which, end) = (next, span.start + length);
        }
        Some((which, end))
    }
}

impl FirstBytes {
    fn of(contents: &[String]) -> Self {
        // What is empty would match anywhere.
        if contents.iter().any(String::is_empty) {
            return Self::More;
        }
        let mut bytes: Vec<u8> = contents.iter().map(|content| content.as_bytes()[0]).collect();
        bytes.sort_unstable();
        bytes.dedup();
        match bytes[..] {
            [] => Self::None,
            [a] => Self::One(a),
            [a, b] => Self::Two(a, b),
            [a, b, c] => Self::Three(a, b, c),
            _ => Self::More,
        }
    }
}

/// By content: the longest other one that it starts with, and that one's length.
fn shorter(contents: &[String]) -> Vec<Option<(usize, usize)>> {
    let by_content: HashMap<&str, usize> =
        contents.iter().enumerate().map(|(at, text)| (text.as_str(), at)).collect();
    let longest_prefix = |content: &String| {
        let ends = content.char_indices().map(|(end, _)| end).rev();
        ends.filter_map(|end| by_content.get(&content[..end]).map(|&at| (at, end))).next()
    };
    contents.iter().map(longest_prefix).collect()
}

fn touches_word(text: &str, start: usize, end: usize) -> bool {
    let word = |c: Option<char>| c.is_some_and(is_word);
    word(text[..start].chars().next_back()) || word(text[end..].chars().next())
}

fn stripped(text: &str, token: &AddedToken, start: usize, end: usize, done: usize) -> (usize, usize) {
    let mut span = (start, end);
    if token.lstrip {
        span.0 = text[..start].trim_end_matches(is_white_space).len().max(done);
    }
    if token.rstrip {
        span.1 = text.len() - text[end..].trim_start_matches(is_white_space).len();
    }
    span
}

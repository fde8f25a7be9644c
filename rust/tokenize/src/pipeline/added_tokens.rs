//! Which parts of a text are added tokens, in the order and with the rules of Hugging Face `tokenizers`?
//!
//! Tokens that are not `normalized` are searched in the raw text; what lies between is normalized, and the others
//! searched there, by their normalized contents. Each search is one pass of an Aho-Corasick automaton that finds the
//! leftmost, longest matches. A match that is refused (a special token that is not allowed, or one inside a word) is
//! skipped as a whole: no shorter token is looked for in it. A match that takes white space with it may reach into the
//! next one; both are then pieces.
//!
//! O(text), whatever the number of tokens.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::{HashMap, HashSet};
use tokenloom_vocab::{AddedToken, TokenId};

use super::normalizers::Normalizer;
use super::pieces::{Piece, Pieces};
use super::text::AlignedText;
use crate::pretokenize::class::{is_white_space, is_word};
use crate::{AllowedSpecial, BuildErrorKind, EncodeError, EncodeErrorKind};

/// The added tokens of a tokenizer.
#[derive(Clone, Debug)]
pub(super) struct AddedTokens {
    raw: Matcher,
    normalized: Matcher,
    by_content: HashMap<Box<str>, TokenId>,
    /// By id: what the vocabulary says of it. That is the normalized content, if the token is searched by it.
    by_id: HashMap<TokenId, Box<str>>,
    special: HashSet<Box<str>>,
}

/// The tokens that are searched in one form of the text.
#[derive(Clone, Debug)]
struct Matcher {
    automaton: Option<AhoCorasick>,
    tokens: Vec<AddedToken>,
}

impl AddedTokens {
    pub(super) fn new(
        tokens: &[AddedToken],
        normalizer: Option<&Normalizer>,
    ) -> Result<Self, BuildErrorKind> {
        let mut by_content = HashMap::with_capacity(tokens.len());
        let mut last = HashMap::with_capacity(tokens.len());
        let mut special = HashSet::new();
        for (place, token) in tokens.iter().enumerate() {
            by_content.insert(Box::from(&*token.content), token.id);
            last.insert(token.id, place);
            if token.special {
                special.insert(Box::from(&*token.content));
            }
        }
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        let mut by_id = HashMap::with_capacity(tokens.len());
        for (place, token) in tokens.iter().enumerate() {
            if last.get(&token.id) != Some(&place) {
                continue;
            }
            let content = searched_form(token, normalizer)?;
            by_id.insert(token.id, Box::from(&*content));
            if !content.is_empty() {
                if token.normalized { &mut normalized } else { &mut raw }.push((content, token.clone()));
            }
        }
        Ok(Self {
            raw: Matcher::new(raw)?,
            normalized: Matcher::new(normalized)?,
            by_content,
            by_id,
            special,
        })
    }

    /// The id of a content.
    pub(super) fn id(&self, content: &str) -> Option<TokenId> {
        self.by_content.get(content).copied()
    }

    /// The string of an id.
    pub(super) fn text(&self, id: TokenId) -> Option<&str> {
        self.by_id.get(&id).map(|text| &**text)
    }

    /// Whether a string is the content of a special token.
    pub(super) fn is_special(&self, text: &str) -> bool {
        self.special.contains(text)
    }

    /// Cuts `text` at the added tokens and normalizes what lies between.
    pub(super) fn cut<'a>(
        &self,
        text: AlignedText<'a>,
        normalizer: Option<&Normalizer>,
        allowed: &AllowedSpecial,
    ) -> Result<Pieces<'a>, EncodeError> {
        let mut pieces = Pieces::new(text);
        pieces.split(|text, out| self.cut_by(&self.raw, text, allowed, out))?;
        pieces.split(|mut text, out| {
            if let Some(normalizer) = normalizer {
                normalizer.normalize(&mut text)?;
            }
            self.cut_by(&self.normalized, text, allowed, out)
        })?;
        Ok(pieces)
    }

    fn cut_by<'a>(
        &self,
        matcher: &Matcher,
        text: AlignedText<'a>,
        allowed: &AllowedSpecial,
        out: &mut Vec<Piece<'a>>,
    ) -> Result<(), EncodeError> {
        let Some(automaton) = &matcher.automaton else {
            // A part again, even if it is the whole: what it stands for is then what its characters stand for.
            out.push(Piece { text: text.slice(0..text.len()), added: None });
            return Ok(());
        };
        let whole = text.as_str();
        let mut done = 0;
        for found in automaton.find_iter(whole) {
            let token = &matcher.tokens[found.pattern().as_usize()];
            let (mut start, mut end) = (found.start(), found.end());
            if self.is_special(&token.content) && !allowed.allows(token.id)
                || token.single_word && touches_word(whole, start, end)
            {
                continue;
            }
            if token.lstrip {
                start = whole[..start].trim_end_matches(is_white_space).len().max(done);
            }
            if token.rstrip {
                end = whole.len() - whole[end..].trim_start_matches(is_white_space).len();
            }
            if start > end {
                return Err(EncodeErrorKind::AddedTokensOverlap { byte_offset: end }.into());
            }
            if done < start {
                out.push(Piece { text: text.slice(done..start), added: None });
            }
            out.push(Piece { text: text.slice(start..end), added: Some(token.id) });
            done = end;
        }
        if done != whole.len() {
            out.push(Piece { text: text.slice(done..whole.len()), added: None });
        }
        Ok(())
    }
}

impl Matcher {
    fn new(tokens: Vec<(String, AddedToken)>) -> Result<Self, BuildErrorKind> {
        let (contents, tokens): (Vec<_>, Vec<_>) = tokens.into_iter().unzip();
        let n_tokens = tokens.len();
        let automaton = match n_tokens {
            0 => None,
            _ => Some(
                AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .kind(Some(AhoCorasickKind::ContiguousNFA))
                    .build(contents)
                    .map_err(|source| BuildErrorKind::AddedTokens { n_tokens, source: Box::new(source) })?,
            ),
        };
        Ok(Self { automaton, tokens })
    }
}

/// What of a token is searched.
pub(super) fn searched_form(
    token: &AddedToken,
    normalizer: Option<&Normalizer>,
) -> Result<String, BuildErrorKind> {
    match normalizer.filter(|_| token.normalized) {
        Some(normalizer) => normalizer
            .normalize_str(&token.content)
            .map_err(|source| BuildErrorKind::AddedTokenForm { id: token.id, source: Box::new(source) }),
        None => Ok(token.content.clone()),
    }
}

fn touches_word(text: &str, start: usize, end: usize) -> bool {
    let word = |c: Option<char>| c.is_some_and(is_word);
    word(text[..start].chars().next_back()) || word(text[end..].chars().next())
}

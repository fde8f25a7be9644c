//! Which strings are tokens, and which ids do they have?
//!
//! A model brings its tokens; added tokens come on top. [`ModelVocabulary`] looks up both ways without a second copy of
//! the strings. [`AddedVocabulary`] gives ids by the rules of Hugging Face `tokenizers`: a content that the model knows
//! keeps the model's id, any other gets the next free one above both. O(1) a look-up; adding is O(tokens added).

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use tokenloom_vocab::{AddedToken, TokenId};

use super::definition::{BpeModel, Model, PieceModel};
use crate::byte_chars;

/// A model with its tokens indexed.
#[derive(Debug)]
pub struct ModelVocabulary {
    model: Model,
    /// Places in the model's list, by token string. Of a repeated string the last one holds.
    by_token: HashTable<u32>,
    /// Places in the model's list, by id.
    by_id: FxHashMap<TokenId, u32>,
}

impl ModelVocabulary {
    /// Indexes the tokens of `model`.
    pub fn new(model: Model) -> Self {
        let n_tokens = model.n_entries();
        let mut by_token: HashTable<u32> = HashTable::with_capacity(n_tokens);
        let mut by_id = FxHashMap::with_capacity_and_hasher(n_tokens, FxBuildHasher);
        let token = |place: u32| model.entry(place as usize).map_or("", |(token, _)| token);
        for place in 0..n_tokens as u32 {
            let Some((text, id)) = model.entry(place as usize) else { continue };
            by_id.insert(id, place);
            let hash = FxBuildHasher.hash_one(text);
            match by_token.find_mut(hash, |&other| token(other) == text) {
                Some(other) => *other = place,
                None => {
                    by_token.insert_unique(hash, place, |&other| FxBuildHasher.hash_one(token(other)));
                }
            }
        }
        Self { model, by_token, by_id }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many tokens there are. A Unigram model counts a repeated string as often as its list has it.
    pub fn len(&self) -> usize {
        match &self.model {
            Model::Unigram { vocab, .. } => vocab.len(),
            _ => self.by_token.len(),
        }
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<TokenId> {
        let hash = FxBuildHasher.hash_one(token);
        let is_it = |&place: &u32| self.model.entry(place as usize).is_some_and(|(text, _)| text == token);
        let place = *self.by_token.find(hash, is_it)?;
        self.model.entry(place as usize).map(|(_, id)| id)
    }

    /// The token of an id.
    pub fn token(&self, id: TokenId) -> Option<&str> {
        let place = *self.by_id.get(&id)?;
        self.model.entry(place as usize).map(|(token, _)| token)
    }

    /// All tokens and ids, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TokenId)> {
        (0..self.model.n_entries()).filter_map(|place| self.model.entry(place))
    }
}

impl Model {
    /// The fields without the lists.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        match self {
            Self::Bpe(model) => {
                let BpeModel { dropout, fuse_unk, byte_fallback, ignore_merges, .. } = *model;
                let unk_token = model.unk_token.clone();
                let continuing_subword_prefix = model.continuing_subword_prefix.clone();
                let end_of_word_suffix = model.end_of_word_suffix.clone();
                let (vocab, merges) = Default::default();
                Self::Bpe(BpeModel {
                    vocab,
                    merges,
                    dropout,
                    unk_token,
                    continuing_subword_prefix,
                    end_of_word_suffix,
                    fuse_unk,
                    byte_fallback,
                    ignore_merges,
                })
            }
            Self::WordPiece { unk_token, continuing_subword_prefix, max_input_chars_per_word, .. } => {
                Self::WordPiece {
                    vocab: Vec::new(),
                    unk_token: unk_token.clone(),
                    continuing_subword_prefix: continuing_subword_prefix.clone(),
                    max_input_chars_per_word: *max_input_chars_per_word,
                }
            }
            Self::WordLevel { unk_token, .. } => {
                Self::WordLevel { vocab: Vec::new(), unk_token: unk_token.clone() }
            }
            Self::Unigram { byte_fallback, .. } => {
                Self::Unigram { vocab: Vec::new(), unk_id: None, byte_fallback: *byte_fallback }
            }
            Self::Pieces(model) => {
                Self::Pieces(Box::new(PieceModel { pieces: Vec::new(), ..*model.clone() }))
            }
        }
    }

    /// The lists of this model under the fields of another; none if it is of another kind.
    pub fn with_fields_of(&self, other: &Self) -> Option<Self> {
        let mut changed = other.clone();
        match (&mut changed, self) {
            (Self::Bpe(changed), Self::Bpe(lists)) => {
                changed.vocab.clone_from(&lists.vocab);
                changed.merges.clone_from(&lists.merges);
            }
            (Self::WordPiece { vocab, .. }, Self::WordPiece { vocab: lists, .. })
            | (Self::WordLevel { vocab, .. }, Self::WordLevel { vocab: lists, .. }) => {
                vocab.clone_from(lists)
            }
            _ => return None,
        }
        Some(changed)
    }

    /// A Unigram model with other scores; none for another model, or another number of scores.
    pub fn with_scores(&self, scores: &[f64]) -> Option<Self> {
        let mut changed = self.clone();
        match &mut changed {
            Self::Unigram { vocab, .. } if vocab.len() == scores.len() => {
                vocab.iter_mut().zip(scores).for_each(|(entry, score)| entry.1 = *score);
                Some(changed)
            }
            _ => None,
        }
    }

    fn n_entries(&self) -> usize {
        match self {
            Self::Bpe(model) => model.vocab.len(),
            Self::WordPiece { vocab, .. } | Self::WordLevel { vocab, .. } => vocab.len(),
            Self::Unigram { vocab, .. } => vocab.len(),
            Self::Pieces(model) => model.pieces.len(),
        }
    }

    fn entry(&self, place: usize) -> Option<(&str, TokenId)> {
        let (token, id) = match self {
            Self::Bpe(model) => model.vocab.get(place).map(|(token, id)| (token, *id))?,
            Self::WordPiece { vocab, .. } | Self::WordLevel { vocab, .. } => {
                vocab.get(place).map(|(token, id)| (token, *id))?
            }
            Self::Unigram { vocab, .. } => vocab.get(place).map(|(token, _)| (token, place as TokenId))?,
            Self::Pieces(model) => model.pieces.get(place).map(|piece| (&piece.text, place as TokenId))?,
        };
        Some((token, id))
    }
}

/// The added tokens. Adding makes another vocabulary, so that one in use never changes.
#[derive(Clone, Debug, Default)]
pub struct AddedVocabulary {
    /// In the order in which they were added.
    tokens: Vec<Arc<AddedToken>>,
    /// Places in `tokens`.
    by_content: FxHashMap<Arc<str>, usize>,
    /// Places in `tokens`.
    by_id: FxHashMap<TokenId, usize>,
    /// Contents that were special when they were added. Adding them again as ordinary tokens does not undo that.
    special: FxHashSet<Arc<str>>,
    /// Whether a content is one thing as text and another as byte characters.
    is_ambiguous: bool,
    /// Whether a content that is matched in normalized text may change by normalizing.
    may_change: bool,
}

impl AddedVocabulary {
    /// The tokens with the ids that they have.
    pub fn with_ids(tokens: impl IntoIterator<Item = AddedToken>) -> Self {
        let mut vocabulary = Self::default();
        tokens.into_iter().for_each(|token| vocabulary.put(token));
        vocabulary
    }

    /// The tokens in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().map(|token| &**token)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of a content.
    pub fn id(&self, content: &str) -> Option<TokenId> {
        self.by_content.get(content).map(|&place| self.tokens[place].id)
    }

    /// The token of an id.
    pub fn token(&self, id: TokenId) -> Option<&AddedToken> {
        self.by_id.get(&id).map(|&place| &*self.tokens[place])
    }

    /// The tokens as machines treat them: what was special once stays so.
    pub fn in_effect(&self) -> impl Iterator<Item = AddedToken> {
        self.iter().cloned().map(|token| AddedToken {
            special: token.special || self.special.contains(token.content.as_str()),
            ..token
        })
    }

    /// Whether a token may decode to something else than its content where decoding reads GPT-2's byte characters.
    pub fn is_ambiguous(&self, is_normalizing: bool) -> bool {
        self.is_ambiguous || is_normalizing && self.may_change
    }

    /// The vocabulary with more tokens, whose ids do not matter, and how many of them are new or changed.
    #[must_use]
    pub fn with(
        &self,
        tokens: impl IntoIterator<Item = AddedToken>,
        model: &ModelVocabulary,
    ) -> (Self, usize) {
        let mut vocabulary = self.clone();
        let n_model = model.len() as TokenId;
        let mut next_id = match self.by_id.keys().max() {
            Some(&largest) if largest >= n_model => largest + 1,
            _ => n_model,
        };
        let mut n_added = 0;
        for mut token in tokens {
            let known = vocabulary.id(&token.content);
            token.id = known.or_else(|| model.id(&token.content)).unwrap_or(next_id);
            let is_same = known.is_some() && vocabulary.token(token.id) == Some(&token);
            if token.content.is_empty() || is_same {
                continue;
            }
            if known.is_none() && model.id(&token.content).is_none() {
                next_id += 1;
            }
            n_added += 1;
            vocabulary.put(token);
        }
        (vocabulary, n_added)
    }

    fn put(&mut self, token: AddedToken) {
        let place = match self.by_content.get(token.content.as_str()) {
            Some(&place) => place,
            None => {
                self.by_content.insert(token.content.as_str().into(), self.tokens.len());
                self.tokens.push(Arc::new(token.clone()));
                self.tokens.len() - 1
            }
        };
        self.by_id.insert(token.id, place);
        if token.special {
            self.special.insert(token.content.as_str().into());
        }
        let bytes = byte_chars::bytes_of_text(&token.content);
        self.is_ambiguous |= bytes.is_some_and(|bytes| bytes != token.content.as_bytes());
        self.may_change |= token.normalized && !token.content.is_ascii();
        self.tokens[place] = Arc::new(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(content: &str) -> AddedToken {
        AddedToken {
            id: 0,
            content: content.into(),
            special: false,
            normalized: true,
            lstrip: false,
            rstrip: false,
            single_word: false,
        }
    }

    fn model() -> ModelVocabulary {
        let vocab = vec![("a".into(), 7), ("b".into(), 2), ("c".into(), 0)];
        ModelVocabulary::new(Model::WordLevel { vocab, unk_token: "a".into() })
    }

    #[test]
    fn ids_go_on_above_the_size_of_the_model_and_the_largest_added_one() {
        let model = model();
        let (added, n_added) = AddedVocabulary::default().with([token("x"), token("b"), token("")], &model);
        assert_eq!((added.id("x"), added.id("b"), n_added), (Some(3), Some(2), 2));
        let (more, n_added) = added.with([token("x"), token("y")], &model);
        assert_eq!((more.id("y"), n_added, more.len()), (Some(4), 1, 3));
        let (changed, n_added) = more.with([AddedToken { special: true, ..token("x") }], &model);
        assert_eq!((changed.id("x"), n_added, changed.len()), (Some(3), 1, 3));
    }

    #[test]
    fn a_model_is_looked_up_both_ways() {
        let model = model();
        assert_eq!(
            (model.id("a"), model.id("z"), model.token(2), model.token(1)),
            (Some(7), None, Some("b"), None)
        );
    }
}

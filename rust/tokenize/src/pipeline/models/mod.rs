//! How does a word become tokens?
//!
//! A [`Model`] is one of the four of `tokenizer.json`, or a SentencePiece model, compiled. It is given one word at a time, as a string, and says
//! which tokens it becomes and which bytes of the word each stands for.
//!
//! Byte pair encoding costs O(n log n) for a word of n characters, WordPiece and Unigram O(n · L) with tokens of at most
//! L bytes, WordLevel O(n).

mod bpe;
mod unigram;
mod vocabulary;
mod word_piece;

use tokenloom_vocab::TokenId;

use super::definition;
use super::sentencepiece::PieceCutter;
use crate::{BuildError, BuildErrorKind, EncodeError, EncodeErrorKind};
use bpe::Bpe;
pub use bpe::Draws;
use unigram::Unigram;
pub use vocabulary::Vocabulary;
use word_piece::WordPiece;

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Model {
    vocabulary: Vocabulary,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Bpe(Bpe),
    WordPiece(WordPiece),
    WordLevel { unk_token: Box<str> },
    Unigram(Unigram),
    Pieces(PieceCutter),
}

/// A token of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelToken {
    /// Its id.
    pub id: TokenId,
    /// The bytes of the word that it stands for. With byte fallback and affixes they can lie beyond its end.
    pub span: (usize, usize),
    /// Its string is that part of the word, not the string of the vocabulary.
    pub is_literal: bool,
}

impl ModelToken {
    pub(super) fn new(id: TokenId, start: usize, end: usize) -> Self {
        Self { id, span: (start, end), is_literal: false }
    }
}

impl Model {
    /// Compiles a model.
    ///
    /// # Errors
    /// [`BuildErrorKind::Vocab`], [`BuildErrorKind::UnknownMergeToken`], [`BuildErrorKind::UnknownMergeResult`],
    /// [`BuildErrorKind::TooManyMerges`], [`BuildErrorKind::Field`].
    pub fn new(definition: &definition::Model) -> Result<Self, BuildError> {
        Ok(Self::compile(definition)?)
    }

    fn compile(definition: &definition::Model) -> Result<Self, BuildErrorKind> {
        let strings = |vocab: &[(String, TokenId)]| {
            Vocabulary::new(vocab.iter().map(|(text, id)| (text.as_str(), *id)))
        };
        let (vocabulary, kind);
        match definition {
            definition::Model::Bpe(bpe) => {
                vocabulary = strings(&bpe.vocab)?;
                kind = Kind::Bpe(Bpe::new(bpe, &vocabulary)?);
            }
            definition::Model::WordPiece {
                vocab,
                unk_token,
                continuing_subword_prefix,
                max_input_chars_per_word,
            } => {
                vocabulary = strings(vocab)?;
                let unk = unk_token.as_str();
                let prefix = continuing_subword_prefix;
                kind = Kind::WordPiece(WordPiece::new(&vocabulary, unk, prefix, *max_input_chars_per_word));
            }
            definition::Model::WordLevel { vocab, unk_token } => {
                vocabulary = strings(vocab)?;
                kind = Kind::WordLevel { unk_token: unk_token.as_str().into() };
            }
            definition::Model::Unigram { vocab, unk_id, byte_fallback } => {
                let texts = vocab.iter().zip(0..).map(|((text, _), id)| (text.as_str(), id));
                vocabulary = Vocabulary::new(texts)?;
                let scores = vocab.iter().map(|&(_, score)| score).collect();
                kind = Kind::Unigram(Unigram::new(&vocabulary, scores, *unk_id, *byte_fallback)?);
            }
            definition::Model::Pieces(model) => {
                let texts = model.pieces.iter().zip(0..).map(|(piece, id)| (piece.text.as_str(), id));
                vocabulary = Vocabulary::new(texts)?;
                kind = Kind::Pieces(PieceCutter::new(model, &vocabulary)?);
            }
        }
        Ok(Self { vocabulary, kind })
    }

    /// The token strings.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens of a word. `draws` decide what byte pair encoding with dropout leaves out.
    ///
    /// # Errors
    /// [`EncodeErrorKind::NoUnknownToken`].
    pub fn tokenize(&self, word: &str, draws: &mut Draws) -> Result<Vec<ModelToken>, EncodeError> {
        let mut tokens = Vec::new();
        self.append(word, draws, &mut tokens)?;
        Ok(tokens)
    }

    pub(crate) fn append(
        &self,
        word: &str,
        draws: &mut Draws,
        out: &mut Vec<ModelToken>,
    ) -> Result<(), EncodeErrorKind> {
        match &self.kind {
            Kind::Bpe(bpe) => bpe.append(&self.vocabulary, word, draws, out),
            Kind::WordPiece(word_piece) => word_piece.append(word, out),
            Kind::WordLevel { unk_token } => {
                let id = self.vocabulary.id(word).or_else(|| self.vocabulary.id(unk_token));
                let no_token = || EncodeErrorKind::NoUnknownToken { byte_offset: 0, unk: unk_token.clone() };
                out.push(ModelToken::new(id.ok_or_else(no_token)?, 0, word.len()));
                Ok(())
            }
            Kind::Unigram(unigram) => unigram.append(&self.vocabulary, word, out),
            Kind::Pieces(cutter) => {
                cutter.append(&self.vocabulary, word, out);
                Ok(())
            }
        }
    }

    /// The string of a token of `word`.
    pub fn token_text<'a>(&'a self, token: &ModelToken, word: &'a str) -> &'a str {
        let literal = token.is_literal.then(|| word.get(token.span.0..token.span.1)).flatten();
        literal.or_else(|| self.vocabulary.text(token.id)).unwrap_or_default()
    }
}

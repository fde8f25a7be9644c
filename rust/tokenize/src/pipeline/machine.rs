//! How does the machine turn a text into tokens with offsets and back?
//!
//! Added tokens cut the text, what lies between is normalized and pre-tokenized, each word goes to the model, and the
//! spans of the tokens are followed back to the source. The result is what Hugging Face `tokenizers` has before
//! truncation, post-processing and padding, which work on [`Encoding`]s alone.
//!
//! A [`Pipeline`] is immutable and can be used by many threads at once.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::added_tokens::AddedTokens;
use super::decoders::{Decoder, DecoderState};
use super::definition::{Definition, Model as ModelDefinition, Side};
use super::encoding::Encoding;
use super::models::{Draws, Model, ModelToken};
use super::normalizers::{Normalizer, aligned};
use super::offsets::CharIndex;
use super::pieces::{Piece, Pieces};
use super::pretokenizers::PreTokenizer;
use crate::{AllowedSpecial, BuildError, DecodeError, DecodeErrorKind, EncodeError};

/// A tokenizer of any parts.
#[derive(Clone, Debug)]
pub struct Pipeline {
    definition: Arc<Definition>,
    added: AddedTokens,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    model: Model,
    decoder: Decoder,
}

/// One sequence of a text or of a pair.
#[derive(Clone, Copy, Debug)]
pub enum Sequence<'a> {
    /// A text.
    Text(&'a str),
    /// A text that is already cut into words. Each is encoded for itself; offsets are those in the word, and the word
    /// number is that of the word.
    Words(&'a [&'a str]),
}

/// What offsets count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetUnit {
    /// Characters.
    #[default]
    Chars,
    /// Bytes.
    Bytes,
    /// Nothing: ids and type ids alone, the other fields say nothing (strings are left out).
    None,
}

/// How a sequence is encoded.
#[derive(Clone, Debug, Default)]
pub struct SequenceOptions {
    /// The type id of every token.
    pub type_id: u32,
    /// What offsets count.
    pub offsets: OffsetUnit,
    /// Which special tokens are matched in the text.
    pub allowed_special: AllowedSpecial,
    /// Words are tokenized from the side that is not cut until so many tokens are there; the other words, and their
    /// numbers, are left out. This is what truncation does to long texts.
    pub limit: Option<(usize, Side)>,
    /// Decides what a model with dropout leaves out.
    pub dropout_seed: u64,
}

impl Pipeline {
    /// Builds the machine of a definition.
    ///
    /// # Errors
    /// [`BuildErrorKind`](crate::BuildErrorKind) says which part cannot be built.
    pub fn new(definition: Arc<Definition>) -> Result<Self, BuildError> {
        let (normalizer, decoder) = match &definition.model {
            ModelDefinition::Pieces(model) => {
                (Some(Normalizer::of_pieces(model)?), Decoder::of_pieces(model))
            }
            _ => (
                definition.normalizer.as_ref().map(Normalizer::new).transpose()?,
                Decoder::new(definition.decoder.as_ref())?,
            ),
        };
        Ok(Self {
            added: AddedTokens::new(&definition.added_tokens, normalizer.as_ref())?,
            normalizer,
            pre_tokenizer: definition.pre_tokenizer.as_ref().map(PreTokenizer::new).transpose()?,
            model: Model::new(&definition.model)?,
            decoder,
            definition,
        })
    }

    /// What the machine was built from.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The id of a token string: that of the added token, then that of the model.
    pub fn token_to_id(&self, token: &str) -> Option<TokenId> {
        self.added.id(token).or_else(|| self.model.vocabulary().id(token))
    }

    /// The string of an id. That of an added token which is matched in normalized text is normalized.
    pub fn id_to_token(&self, id: TokenId) -> Option<&str> {
        self.added.text(id).or_else(|| self.model.vocabulary().text(id))
    }

    /// The tokens of one sequence, before truncation, post-processing and padding.
    ///
    /// # Errors
    /// [`EncodeErrorKind`](crate::EncodeErrorKind) says which part could not go on.
    pub fn encode_sequence(
        &self,
        sequence: Sequence<'_>,
        options: &SequenceOptions,
    ) -> Result<Encoding, EncodeError> {
        let mut encoding = Encoding::default();
        let mut draws = Draws::new(options.dropout_seed);
        match sequence {
            Sequence::Text(text) => self.encode_into(text, None, options, &mut draws, &mut encoding)?,
            Sequence::Words(words) => {
                for (text, word) in words.iter().zip(0..) {
                    self.encode_into(text, Some(word), options, &mut draws, &mut encoding)?;
                }
            }
        }
        Ok(encoding)
    }

    fn encode_into(
        &self,
        text: &str,
        word: Option<u32>,
        options: &SequenceOptions,
        draws: &mut Draws,
        out: &mut Encoding,
    ) -> Result<(), EncodeError> {
        let mut pieces =
            self.added.cut(aligned(text)?, self.normalizer.as_ref(), &options.allowed_special)?;
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let chars = (options.offsets == OffsetUnit::Chars).then(|| CharIndex::new(text));
        let mut finish = |piece: &Piece<'_>, number: u32, token: &ModelToken| {
            out.ids.push(token.id);
            out.type_ids.push(options.type_id);
            out.special_tokens_mask.push(false);
            out.attention_mask.push(true);
            if options.offsets == OffsetUnit::None {
                out.words.push(None);
                out.offsets.push((0, 0));
                return;
            }
            let text = piece.text.as_str();
            let string = if piece.added.is_some() { text } else { self.model.token_text(token, text) };
            out.tokens.push(string.to_owned());
            out.words.push(Some(word.unwrap_or(number)));
            let span = match token.span {
                (start, end) if start == end && self.is_sentencepiece() => piece.text.point_of(start),
                (start, end) => piece.text.source_of(start..end).unwrap_or(token.span),
            };
            out.offsets.push(chars.as_ref().map_or(span, |chars| chars.span(span)));
        };
        match options.limit {
            Some((limit, Side::Left)) => {
                let (tokens, first) = self.tokenize_from_end(&pieces, limit, draws)?;
                for (number, (piece, tokens)) in (0..).zip(pieces.iter().skip(first).zip(&tokens)) {
                    tokens.iter().for_each(|token| finish(piece, number, token));
                }
            }
            limit => {
                let limit = limit.map_or(usize::MAX, |(limit, _)| limit);
                let (mut tokens, mut n_tokens) = (Vec::new(), 0);
                for (number, piece) in (0..).zip(pieces.iter()) {
                    tokens.clear();
                    self.tokenize(piece, draws, &mut tokens)?;
                    tokens.iter().for_each(|token| finish(piece, number, token));
                    n_tokens += tokens.len();
                    // An added token never ends the search.
                    if piece.added.is_none() && n_tokens >= limit {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The tokens of the last pieces, until there are `limit`, and how many pieces stand before them.
    fn tokenize_from_end(
        &self,
        pieces: &Pieces<'_>,
        limit: usize,
        draws: &mut Draws,
    ) -> Result<(Vec<Vec<ModelToken>>, usize), EncodeError> {
        let (mut all, mut n_tokens) = (Vec::new(), 0);
        for piece in pieces.iter().rev() {
            let mut tokens = Vec::new();
            self.tokenize(piece, draws, &mut tokens)?;
            n_tokens += tokens.len();
            all.push(tokens);
            if piece.added.is_none() && n_tokens >= limit {
                break;
            }
        }
        all.reverse();
        let n_before = pieces.iter().len() - all.len();
        Ok((all, n_before))
    }

    fn tokenize(
        &self,
        piece: &Piece<'_>,
        draws: &mut Draws,
        out: &mut Vec<ModelToken>,
    ) -> Result<(), EncodeError> {
        match piece.added {
            Some(id) => {
                out.push(ModelToken { id, span: (0, piece.text.len()), is_literal: true });
                Ok(())
            }
            None => Ok(self.model.append(piece.text.as_str(), draws, out)?),
        }
    }

    /// The text of ids. Ids that are no tokens are left out, and special tokens where `skip_special_tokens` is set.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Pattern`].
    pub fn decode(&self, ids: &[TokenId], skip_special_tokens: bool) -> Result<String, DecodeError> {
        self.decoder.decode(ids.iter().filter_map(|&id| self.decoded_token(id, skip_special_tokens)))
    }

    /// The string that the decoder is given for an id.
    fn decoded_token(&self, id: TokenId, skip_special_tokens: bool) -> Option<&str> {
        let token = self.id_to_token(id)?;
        match skip_special_tokens && self.added.is_special(token) {
            // A token without text still ends a run of bytes for SentencePiece.
            true => self.is_sentencepiece().then_some(""),
            false => Some(token),
        }
    }

    fn is_sentencepiece(&self) -> bool {
        matches!(self.definition.model, ModelDefinition::Pieces(_))
    }
}

/// A text that is decoded while its ids arrive. The parts joined are what decoding all ids at once gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStream {
    state: DecoderState,
    skip_special_tokens: bool,
    n_ids: usize,
}

impl PipelineStream {
    /// A stream at its start.
    pub fn new(pipeline: &Pipeline, skip_special_tokens: bool) -> Self {
        Self { state: DecoderState::new(&pipeline.decoder), skip_special_tokens, n_ids: 0 }
    }

    /// The text that is certain once `id` has arrived. How much waits: see [`super::decoders`].
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`], the stream is as before; [`DecodeErrorKind::Pattern`].
    pub fn push(&mut self, pipeline: &Pipeline, id: TokenId) -> Result<String, DecodeError> {
        if pipeline.id_to_token(id).is_none() {
            return Err(DecodeErrorKind::UnknownToken { id, index: self.n_ids }.into());
        }
        self.n_ids += 1;
        let mut text = String::new();
        if let Some(token) = pipeline.decoded_token(id, self.skip_special_tokens) {
            self.state.push(&pipeline.decoder, token, &mut text)?;
        }
        Ok(text)
    }

    /// The text that was waiting; the stream is as new afterwards.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Pattern`].
    pub fn flush(&mut self, pipeline: &Pipeline) -> Result<String, DecodeError> {
        let mut text = String::new();
        self.state.finish(&pipeline.decoder, &mut text)?;
        self.n_ids = 0;
        Ok(text)
    }
}

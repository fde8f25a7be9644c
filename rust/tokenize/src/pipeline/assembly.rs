//! How does a tokenizer whose parts may be exchanged stay one that never changes?
//!
//! An [`Assembly`] holds the parts of a definition and is immutable: exchanging a part makes another one that shares all
//! the others, so that whoever encodes with the old one is not disturbed. Machines are built when they are first needed
//! and shared by all assemblies whose ids they give: the post-processor, truncation and padding come after the machine
//! and cost nothing to exchange.
//!
//! Ids alone come from the compiled machine where the parts can be lowered to it; token strings, words and offsets, and
//! everything of a definition that cannot be lowered, from the machine that interprets the definition.

use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use super::added_tokens::{AddedTokens, searched_form};
use super::definition::{Decoder, Definition, Normalizer, Padding, PostProcessor, PreTokenizer, Truncation};
use super::encoding::Encoding;
use super::machine::{OffsetUnit, Pipeline, Sequence, SequenceOptions};
use super::post_processors::{self, ProcessError};
use super::truncation::{self, TruncationError};
use super::vocabulary::{AddedVocabulary, ModelVocabulary};
use super::{normalizers, pretokenizers};
use crate::spec::TokenizerSpec;
use crate::{
    AllowedSpecial, BuildError, DecodeError, EncodeError, EncodeOptions, Text, Tokenizer, WordEncoding,
};

/// Gives the specification of the compiled machine that gives the ids of a definition, if there is one.
pub type Lower = fn(&Definition) -> Option<TokenizerSpec>;

/// What is done to every text beside encoding it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Cuts every encoding.
    pub truncation: Option<Truncation>,
    /// Fills every encoding.
    pub padding: Option<Padding>,
    /// Special tokens in texts are ordinary text.
    pub encode_special_tokens: bool,
}

/// One input: the words of a sequence, and of a second one. A text that is not cut into words is one word.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The first sequence.
    pub first: Vec<&'a str>,
    /// The second sequence.
    pub second: Option<Vec<&'a str>>,
    /// Whether the sequences came cut into words.
    pub is_split: bool,
}

/// The encodings of one sequence or two.
pub type Sequences = (Encoding, Option<Encoding>);

/// A text that cannot be encoded, or ids that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// A part is not usable.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Ids cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An encoding cannot be cut.
    #[error(transparent)]
    Truncation(#[from] TruncationError),
    /// An encoding cannot be finished.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A tokenizer in its parts.
#[derive(Clone, Debug)]
pub struct Assembly {
    model: Arc<ModelVocabulary>,
    added: Arc<AddedVocabulary>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: Option<PostProcessor>,
    decoder: Option<Decoder>,
    lower: Lower,
    machines: Arc<Machines>,
}

#[derive(Debug, Default)]
struct Machines {
    compiled: OnceLock<Option<Tokenizer>>,
    pipeline: OnceLock<Pipeline>,
}

impl Assembly {
    /// The assembly of a definition, and what it says about truncation and padding.
    pub fn new(definition: Definition, lower: Lower) -> (Self, Settings) {
        let Definition { truncation, padding, .. } = definition;
        let assembly = Self {
            model: Arc::new(ModelVocabulary::new(definition.model)),
            added: Arc::new(AddedVocabulary::with_ids(definition.added_tokens)),
            normalizer: definition.normalizer,
            pre_tokenizer: definition.pre_tokenizer,
            post_processor: definition.post_processor,
            decoder: definition.decoder,
            lower,
            machines: Arc::default(),
        };
        (assembly, Settings { truncation, padding, encode_special_tokens: false })
    }

    /// Whether the added tokens have the forms by which they are searched.
    ///
    /// # Errors
    /// [`BuildError`] if the normalizer is not usable, or cannot normalize one of them.
    pub fn check_added(&self) -> Result<(), BuildError> {
        let mut searched_by_form = self.added.iter().filter(|token| token.normalized).peekable();
        let (Some(normalizer), Some(_)) = (&self.normalizer, searched_by_form.peek()) else { return Ok(()) };
        let normalizer = normalizers::Normalizer::new(normalizer)?;
        searched_by_form.try_for_each(|token| searched_form(token, Some(&normalizer)).map(|_| ()))?;
        Ok(())
    }

    /// A model alone.
    pub fn of_model(model: Arc<ModelVocabulary>, lower: Lower) -> Self {
        Self {
            model,
            added: Arc::default(),
            normalizer: None,
            pre_tokenizer: None,
            post_processor: None,
            decoder: None,
            lower,
            machines: Arc::default(),
        }
    }

    /// The whole as data.
    pub fn definition(&self, settings: &Settings) -> Definition {
        let mut added_tokens: Vec<_> = self.added.iter().cloned().collect();
        added_tokens.sort_by_key(|token| token.id);
        Definition {
            truncation: settings.truncation.clone(),
            padding: settings.padding.clone(),
            added_tokens,
            normalizer: self.normalizer.clone(),
            pre_tokenizer: self.pre_tokenizer.clone(),
            post_processor: self.post_processor.clone(),
            decoder: self.decoder.clone(),
            model: self.model.model().clone(),
        }
    }

    /// The model and its tokens.
    pub fn model(&self) -> &Arc<ModelVocabulary> {
        &self.model
    }

    /// The added tokens.
    pub fn added(&self) -> &AddedVocabulary {
        &self.added
    }

    /// The normalizer.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.normalizer.as_ref()
    }

    /// The pretokenizer.
    pub fn pre_tokenizer(&self) -> Option<&PreTokenizer> {
        self.pre_tokenizer.as_ref()
    }

    /// The post-processor.
    pub fn post_processor(&self) -> Option<&PostProcessor> {
        self.post_processor.as_ref()
    }

    /// The decoder.
    pub fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_ref()
    }

    /// With another model; the added tokens keep their ids.
    #[must_use]
    pub fn with_model(&self, model: Arc<ModelVocabulary>) -> Self {
        Self { model, machines: Arc::default(), ..self.clone() }
    }

    /// With another normalizer.
    #[must_use]
    pub fn with_normalizer(&self, normalizer: Option<Normalizer>) -> Self {
        Self { normalizer, machines: Arc::default(), ..self.clone() }
    }

    /// With another pretokenizer.
    #[must_use]
    pub fn with_pre_tokenizer(&self, pre_tokenizer: Option<PreTokenizer>) -> Self {
        Self { pre_tokenizer, machines: Arc::default(), ..self.clone() }
    }

    /// With another post-processor.
    #[must_use]
    pub fn with_post_processor(&self, post_processor: Option<PostProcessor>) -> Self {
        Self { post_processor, ..self.clone() }
    }

    /// With another decoder.
    #[must_use]
    pub fn with_decoder(&self, decoder: Option<Decoder>) -> Self {
        let mut other = Self { decoder, ..self.clone() };
        // The interpreting machine decodes; the compiled one, which gives ids alone, is the same.
        let machines = Machines::default();
        if let Some(Some(compiled)) = self.machines.compiled.get() {
            let _first = machines.compiled.set(Some(compiled.clone()));
        }
        other.machines = Arc::new(machines);
        other
    }

    /// With other added tokens.
    #[must_use]
    pub fn with_added(&self, added: AddedVocabulary) -> Self {
        Self { added: Arc::new(added), machines: Arc::default(), ..self.clone() }
    }

    /// How many special tokens the post-processor puts around a single sequence or a pair.
    pub fn n_added_tokens(&self, is_pair: bool) -> usize {
        self.post_processor.as_ref().map_or(0, |processor| processor.n_added_tokens(is_pair))
    }

    /// What machines are built from.
    fn encoding_parts(&self) -> Definition {
        let added_tokens = self.added.in_effect().collect();
        Definition { post_processor: None, added_tokens, ..self.definition(&Settings::default()) }
    }

    /// The compiled machine, if it gives the ids of these parts.
    pub fn compiled(&self) -> Option<&Tokenizer> {
        let build = || (self.lower)(&self.encoding_parts()).and_then(|spec| Tokenizer::new(spec).ok());
        self.machines.compiled.get_or_init(build).as_ref()
    }

    /// The machine that interprets the parts.
    ///
    /// # Errors
    /// [`BuildError`] if a part is not usable. Nothing is kept then.
    pub fn pipeline(&self) -> Result<&Pipeline, BuildError> {
        if let Some(pipeline) = self.machines.pipeline.get() {
            return Ok(pipeline);
        }
        let built = Pipeline::new(Arc::new(self.encoding_parts()))?;
        Ok(self.machines.pipeline.get_or_init(|| built))
    }

    /// The id of an added token or a token of the model.
    pub fn token_to_id(&self, token: &str) -> Option<TokenId> {
        self.added.id(token).or_else(|| self.model.id(token))
    }

    /// How many different tokens there are, those of the model and the added ones.
    pub fn n_tokens(&self) -> usize {
        let only_added = self.added.iter().filter(|token| self.model.id(&token.content).is_none());
        self.model.len() + only_added.count()
    }

    /// The string of an id. That of an added token which is matched in normalized text is normalized.
    ///
    /// # Errors
    /// [`BuildError`] if a part is not usable.
    pub fn id_to_token(&self, id: TokenId) -> Result<Option<&str>, BuildError> {
        match self.added.token(id) {
            Some(token) if token.normalized && self.normalizer.is_some() => {
                Ok(self.pipeline()?.id_to_token(id))
            }
            Some(token) => Ok(Some(&token.content)),
            None => Ok(self.model.token(id)),
        }
    }

    /// The text of ids; those that are no tokens are left out.
    ///
    /// # Errors
    /// [`AssemblyError::Build`] and [`AssemblyError::Decode`].
    pub fn decode(&self, ids: &[TokenId], skip_special_tokens: bool) -> Result<String, AssemblyError> {
        let is_normalizing = match &self.normalizer {
            None => false,
            Some(Normalizer::Sequence(steps)) => !steps.is_empty(),
            Some(_) => true,
        };
        if let (Some(Decoder::ByteLevel { .. }), Some(compiled), false) =
            (&self.decoder, self.compiled(), self.added.is_ambiguous(is_normalizing))
        {
            let known = ids.iter().copied().filter(|&id| compiled.token_bytes(id).is_some());
            let bytes = compiled.decode_filtered(&known.collect::<Vec<_>>(), skip_special_tokens)?;
            return Ok(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            });
        }
        Ok(self.pipeline()?.decode(ids, skip_special_tokens)?)
    }

    /// Plain encodings of all sequences of all inputs by the compiled machine, on at most `n_threads` threads; none
    /// where there is no such machine. It looks for shorter tokens where a special token is text, which the format
    /// does not, so it has no answer there either.
    ///
    /// # Errors
    /// [`EncodeError`] of the first text that has one.
    pub fn compiled_sequences(
        &self,
        inputs: &[Input<'_>],
        encode_special_tokens: bool,
        n_threads: usize,
    ) -> Result<Option<Vec<Sequences>>, EncodeError> {
        let Some(compiled) = self.compiled().filter(|_| !encode_special_tokens) else { return Ok(None) };
        let texts: Vec<Text<'_>> = inputs.iter().flat_map(Input::texts).map(Text::Str).collect();
        let ragged = compiled.encode_batch(&texts, &EncodeOptions::default(), n_threads)?;
        let mut ends = ragged.offsets.iter().skip(1).map(|&offset| offset as usize);
        let mut at = 0;
        let mut take = |n_words: usize, type_id| {
            let start = at;
            at = ends.by_ref().take(n_words).last().unwrap_or(start);
            Encoding::plain(ragged.values[start..at].to_vec(), type_id)
        };
        let sequences = inputs.iter().map(|input| {
            let first = take(input.first.len(), 0);
            (first, input.second.as_ref().map(|second| take(second.len(), 1)))
        });
        Ok(Some(sequences.collect()))
    }

    /// Encodings of the sequences of one input. Of a plain encoding the ids are made alone. `seed` decides what a model
    /// with dropout leaves out.
    ///
    /// # Errors
    /// [`AssemblyError::Build`] and [`AssemblyError::Encode`].
    pub fn sequences(
        &self,
        input: &Input<'_>,
        encode_special_tokens: bool,
        seed: u64,
        is_plain: bool,
    ) -> Result<Sequences, AssemblyError> {
        let encode = |words: &[&str], type_id: u32| {
            let seed = seed ^ u64::from(type_id).rotate_right(1);
            match self.compiled() {
                Some(compiled) if !encode_special_tokens && !is_plain => {
                    self.compiled_sequence(compiled, words, input.is_split, type_id)
                }
                _ => self.interpreted_sequence(
                    words,
                    input.is_split,
                    type_id,
                    encode_special_tokens,
                    seed,
                    is_plain,
                ),
            }
        };
        let first = encode(&input.first, 0)?;
        Ok((first, input.second.as_ref().map(|second| encode(second, 1)).transpose()?))
    }

    fn interpreted_sequence(
        &self,
        words: &[&str],
        is_split: bool,
        type_id: u32,
        encode_special_tokens: bool,
        dropout_seed: u64,
        is_plain: bool,
    ) -> Result<Encoding, AssemblyError> {
        let sequence = match words {
            [text] if !is_split => Sequence::Text(text),
            words => Sequence::Words(words),
        };
        let options = SequenceOptions {
            type_id,
            offsets: if is_plain { OffsetUnit::None } else { OffsetUnit::Chars },
            allowed_special: allowed_special(encode_special_tokens),
            dropout_seed,
            limit: None,
        };
        let encoding = self.pipeline()?.encode_sequence(sequence, &options)?;
        Ok(if is_plain { Encoding::plain(encoding.ids, type_id) } else { encoding })
    }

    /// The compiled machine knows words and offsets too; token strings are those of the vocabulary, or what an added
    /// token matched.
    fn compiled_sequence(
        &self,
        compiled: &Tokenizer,
        words: &[&str],
        is_split: bool,
        type_id: u32,
    ) -> Result<Encoding, AssemblyError> {
        let mut whole = Encoding::default();
        for (text, word) in words.iter().zip(0..) {
            let WordEncoding { encoding, words, added } =
                compiled.encode_with_words(text, &EncodeOptions::default())?;
            let n_before = whole.tokens.len();
            whole
                .tokens
                .extend(encoding.ids.iter().map(|&id| self.model.token(id).unwrap_or_default().to_owned()));
            for (place, text) in added {
                whole.tokens[n_before + place] = text;
            }
            whole.words.extend(words.iter().map(|&number| Some(if is_split { word } else { number })));
            let offsets = encoding.char_offsets.iter().map(|&[start, end]| (start as usize, end as usize));
            whole.offsets.extend(offsets);
            whole.ids.extend(encoding.ids);
        }
        let Encoding { ids, tokens, words, offsets, .. } = whole;
        Ok(Encoding { tokens, words, offsets, ..Encoding::plain(ids, type_id) })
    }

    /// What each text is cut into: its added tokens, and the words that the model is given, as it is given them.
    ///
    /// # Errors
    /// [`AssemblyError::Build`] and [`AssemblyError::Encode`].
    pub fn words(
        &self,
        texts: &[String],
        encode_special_tokens: bool,
    ) -> Result<Vec<Vec<String>>, AssemblyError> {
        let normalizer = self.normalizer.as_ref().map(normalizers::Normalizer::new).transpose()?;
        let pre_tokenizer = self.pre_tokenizer.as_ref().map(pretokenizers::PreTokenizer::new).transpose()?;
        let added: Vec<_> = self.added.in_effect().collect();
        let added = AddedTokens::new(&added, normalizer.as_ref()).map_err(BuildError::from)?;
        let allowed = allowed_special(encode_special_tokens);
        let words = |text: &String| {
            let mut pieces = added.cut(normalizers::aligned(text)?, normalizer.as_ref(), &allowed)?;
            if let Some(cut) = &pre_tokenizer {
                cut.pre_tokenize(&mut pieces)?;
            }
            Ok(pieces.iter().map(|piece| piece.text.as_str().to_owned()).collect())
        };
        texts.iter().map(words).collect()
    }

    /// Cuts the sequences of an input and puts special tokens around. Padding is for whole batches.
    ///
    /// # Errors
    /// [`AssemblyError::Truncation`] and [`AssemblyError::Process`].
    pub fn finish(
        &self,
        (mut first, mut second): Sequences,
        settings: &Settings,
        add_special_tokens: bool,
        is_plain: bool,
    ) -> Result<Encoding, AssemblyError> {
        if let Some(truncation) = &settings.truncation {
            let n_added = if add_special_tokens { self.n_added_tokens(second.is_some()) } else { 0 };
            truncation::truncate(&mut first, second.as_mut(), &truncation.leaving_room(n_added))?;
        }
        let processor = self.post_processor.as_ref();
        Ok(post_processors::process(processor, first, second, add_special_tokens, is_plain)?)
    }
}

impl<'a> Input<'a> {
    fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.first.iter().chain(self.second.iter().flatten()).copied()
    }
}

fn allowed_special(encode_special_tokens: bool) -> AllowedSpecial {
    if encode_special_tokens { AllowedSpecial::Only(FxHashSet::default()) } else { AllowedSpecial::All }
}

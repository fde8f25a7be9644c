//! How does a tokenizer of any parts answer the same questions as a compiled one?
//!
//! [`Interpreted`] is a [`Pipeline`] and the post-processor of its definition: ids, offsets, counts, batches and text,
//! with the meaning of the methods of the same names of [`crate::Tokenizer`]. Stored truncation and padding are not
//! applied. What it does not have are tokens as bytes: its tokens are text that normalizers, unknown tokens and decoders
//! may have changed. A batch is shared among threads of the call alone.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

use crate::describe::Stage;
use crate::offsets::Encoding;
use crate::pipeline::definition::{Definition, Model, PieceModel, PostProcessor};
use crate::pipeline::{OffsetUnit, Pipeline, Sequence, SequenceOptions};
use crate::pipeline::{encoding, post_processors};
use crate::{
    AllowedSpecial, BuildError, DecodeError, EncodeError, EncodeErrorKind, EncodeOptions, Ragged, workers,
};

/// A tokenizer that interprets its definition.
#[derive(Clone, Debug)]
pub struct Interpreted {
    pipeline: Pipeline,
    id_bound: usize,
    n_tokens: usize,
}

impl Interpreted {
    /// Builds the machine of a definition.
    ///
    /// # Errors
    /// Those of [`Pipeline::new`].
    pub fn new(definition: Arc<Definition>) -> Result<Self, BuildError> {
        let model_ids: Vec<TokenId> = match &definition.model {
            Model::Bpe(model) => model.vocab.iter().map(|(_, id)| *id).collect(),
            Model::WordPiece { vocab, .. } | Model::WordLevel { vocab, .. } => {
                vocab.iter().map(|(_, id)| *id).collect()
            }
            Model::Unigram { vocab, .. } => (0..vocab.len() as TokenId).collect(),
            Model::Pieces(model) => (0..model.pieces.len() as TokenId).collect(),
        };
        let mut ids = model_ids;
        ids.extend(definition.added_tokens.iter().map(|token| token.id));
        ids.sort_unstable();
        ids.dedup();
        let id_bound = ids.last().map_or(0, |&last| last as usize + 1);
        Ok(Self { pipeline: Pipeline::new(definition)?, id_bound, n_tokens: ids.len() })
    }

    /// What the machine was built from.
    pub fn definition(&self) -> &Arc<Definition> {
        self.pipeline.definition()
    }

    /// The machine.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// One more than the largest id.
    pub fn id_bound(&self) -> usize {
        self.id_bound
    }

    /// How many ids there are.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// The special tokens and their ids.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, TokenId)> {
        let tokens = self.definition().added_tokens.iter().filter(|token| token.special);
        tokens.map(|token| (token.content.as_str(), token.id))
    }

    /// Allows the special tokens with these contents.
    ///
    /// # Errors
    /// [`EncodeErrorKind::UnknownSpecialToken`].
    pub fn allow_only<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<AllowedSpecial, EncodeError> {
        let id = |name: &str| {
            let found = self.special_tokens().find(|&(content, _)| content == name);
            found
                .map(|(_, id)| id)
                .ok_or_else(|| EncodeErrorKind::UnknownSpecialToken { name: name.into() }.into())
        };
        Ok(AllowedSpecial::Only(names.into_iter().map(id).collect::<Result<_, EncodeError>>()?))
    }

    fn processed(
        &self,
        text: &str,
        options: &EncodeOptions,
        offsets: OffsetUnit,
    ) -> Result<encoding::Encoding, EncodeError> {
        let allowed_special = options.allowed_special.clone();
        let sequence = SequenceOptions { offsets, allowed_special, ..SequenceOptions::default() };
        let is_plain = offsets == OffsetUnit::None;
        let mut encoding = self.pipeline.encode_sequence(Sequence::Text(text), &sequence)?;
        if is_plain {
            encoding = encoding::Encoding::plain(encoding.ids, 0);
        }
        let processor = self.definition().post_processor.as_ref();
        post_processors::process(processor, encoding, None, options.add_special_tokens, is_plain)
            .map_err(|error| EncodeErrorKind::Process { reason: error.to_string().into() }.into())
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// Every [`EncodeErrorKind`].
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Vec<TokenId>, EncodeError> {
        if !options.add_special_tokens && !may_change_ids(self.definition().post_processor.as_ref()) {
            let allowed_special = options.allowed_special.clone();
            let offsets = OffsetUnit::None;
            let sequence = SequenceOptions { offsets, allowed_special, ..SequenceOptions::default() };
            return Ok(self.pipeline.encode_sequence(Sequence::Text(text), &sequence)?.ids);
        }
        Ok(self.processed(text, options, OffsetUnit::None)?.ids)
    }

    /// The ids of `text` with their offsets. Ids that the post-processor adds have empty byte spans.
    ///
    /// # Errors
    /// Every [`EncodeErrorKind`].
    pub fn encode_with_offsets(&self, text: &str, options: &EncodeOptions) -> Result<Encoding, EncodeError> {
        let processed = self.processed(text, options, OffsetUnit::Chars)?;
        let allowed_special = options.allowed_special.clone();
        let bytes =
            SequenceOptions { offsets: OffsetUnit::Bytes, allowed_special, ..SequenceOptions::default() };
        let spans = self.pipeline.encode_sequence(Sequence::Text(text), &bytes)?.offsets;
        let pair = |(start, end): (usize, usize)| [start as i64, end as i64];
        let (mut spans, mut end) = (spans.into_iter(), 0);
        let byte_offsets = processed
            .special_tokens_mask
            .iter()
            .map(|&is_added| {
                let span = if is_added { None } else { spans.next() };
                let span = span.unwrap_or((end, end));
                end = span.1;
                pair(span)
            })
            .collect();
        Ok(Encoding {
            char_offsets: processed.offsets.into_iter().map(pair).collect(),
            ids: processed.ids,
            byte_offsets,
        })
    }

    /// The ids of every text, on at most `n_threads` threads.
    ///
    /// # Errors
    /// That of the first text that has one.
    pub fn encode_batch(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        n_threads: usize,
    ) -> Result<Ragged, EncodeError> {
        let mut ragged = Ragged { values: Vec::new(), offsets: vec![0] };
        let work = |_, at: usize| self.encode(texts[at], options);
        workers::each_in_order(texts.len(), n_threads, work, |ids| {
            ragged.values.extend(ids);
            ragged.offsets.push(ragged.values.len() as i64);
        })?;
        Ok(ragged)
    }

    /// The text of ids.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownToken`](crate::DecodeErrorKind::UnknownToken) and those of [`Pipeline::decode`].
    pub fn decode(&self, ids: &[TokenId], skip_special_tokens: bool) -> Result<String, DecodeError> {
        for (index, &id) in ids.iter().enumerate() {
            if self.pipeline.id_to_token(id).is_none() {
                return Err(crate::DecodeErrorKind::UnknownToken { id, index }.into());
            }
        }
        self.pipeline.decode(ids, skip_special_tokens)
    }

    /// The steps in the order of encoding, the decoder last, as the definition names them.
    pub fn stages(&self) -> Vec<Stage> {
        let definition = self.definition();
        let stage = |part, action: String| Stage { part, action, engine: "interpreted".to_owned() };
        let mut stages = Vec::new();
        let (n_added, n_special) = (definition.added_tokens.len(), self.special_tokens().count());
        if n_added > 0 {
            stages.push(stage("added tokens", format!("{n_added} strings, {n_special} of them special")));
        }
        if let Some(step) = &definition.normalizer {
            stages.push(stage("normalizer", shortened(step)));
        }
        if let Some(step) = &definition.pre_tokenizer {
            stages.push(stage("pretokenizer", shortened(step)));
        }
        let model = match &definition.model {
            Model::Bpe(model) => format!("BPE, {} tokens, {} merges", model.vocab.len(), model.merges.len()),
            Model::WordPiece { vocab, .. } => format!("WordPiece, {} tokens", vocab.len()),
            Model::WordLevel { vocab, .. } => format!("WordLevel, {} tokens", vocab.len()),
            Model::Unigram { vocab, .. } => format!("Unigram, {} tokens", vocab.len()),
            Model::Pieces(model) => {
                stages.push(stage("normalizer", preparation(model)));
                format!("SentencePiece {:?}, {} tokens", model.algorithm, model.pieces.len())
            }
        };
        stages.push(stage("model", model));
        if let Some(step) = &definition.post_processor {
            stages.push(stage("template", shortened(step)));
        }
        if let Some(step) = &definition.decoder {
            stages.push(stage("decoder", shortened(step)));
        }
        stages
    }
}

/// Without special tokens, templates may still leave a sequence out.
fn may_change_ids(processor: Option<&PostProcessor>) -> bool {
    match processor {
        None
        | Some(
            PostProcessor::ByteLevel { .. } | PostProcessor::Bert { .. } | PostProcessor::Roberta { .. },
        ) => false,
        Some(PostProcessor::Sequence(steps)) => steps.iter().any(|step| may_change_ids(Some(step))),
        Some(PostProcessor::Template { .. }) => true,
    }
}

/// What a SentencePiece model does to text before it cuts it.
fn preparation(model: &PieceModel) -> String {
    let side = if model.treat_whitespace_as_suffix { "behind" } else { "before" };
    let steps = [
        (!model.charsmap.is_empty(), "compiled map".to_owned()),
        (model.remove_extra_whitespaces, "extra spaces removed".to_owned()),
        (model.add_dummy_prefix, format!("a space {side} the text")),
        (model.escape_whitespaces, "spaces to U+2581".to_owned()),
    ];
    let names: Vec<String> = steps.into_iter().filter(|step| step.0).map(|step| step.1).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A component in words, without the long lists that some have.
fn shortened(component: &impl std::fmt::Debug) -> String {
    let text = format!("{component:?}");
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

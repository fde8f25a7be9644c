//! What does a whole `tokenizer.json` say?
//!
//! [`Document`] is the [`Definition`] with the lists of a BPE model still in flat buffers: it becomes a `Definition`, or
//! is lowered to the compiled machine's specification without a string object for each token.
//!
//! Ids of added tokens follow the format's reader, not the file: a content that is a token of the model has that
//! token's id, any other gets the next id from the size of the vocabulary on, in file order.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::pipeline::definition::{
    BpeModel, Decoder, Definition, Model, Normalizer, Padding, PostProcessor, PreTokenizer, Truncation,
};
use tokenloom_tokenize::spec::Merge;
use tokenloom_vocab::AddedToken;

use crate::error::{FormatError, FormatErrorKind};
use crate::json::components;
use crate::json::model::{AnyVocab, ModelParts};
use crate::json::reader::File;
use crate::json::value::{At, Value};
use crate::json::vocab::Vocab;
use crate::{Kind, limits};

/// A whole file, its components understood.
pub(crate) struct Document {
    pub(crate) truncation: Option<Truncation>,
    pub(crate) padding: Option<Padding>,
    pub(crate) added_tokens: Vec<AddedToken>,
    pub(crate) normalizer: Option<Normalizer>,
    pub(crate) pre_tokenizer: Option<PreTokenizer>,
    pub(crate) post_processor: Option<PostProcessor>,
    pub(crate) decoder: Option<Decoder>,
    pub(crate) model: FlatModel,
}

/// The model with its lists as they were read.
pub(crate) enum FlatModel {
    Bpe(FlatBpe),
    Other(Model),
}

/// A BPE model whose lists lie beside it.
pub(crate) struct FlatBpe {
    pub(crate) vocab: Vocab,
    pub(crate) merges: Vec<Merge>,
    /// Everything but the lists, which are empty here.
    pub(crate) options: BpeModel,
}

impl Document {
    pub(crate) fn read(mut file: File) -> Result<Self, FormatError> {
        let version = file.component("version");
        if !version.is_null() && version.text()? != "1.0" {
            return Err(version.unsupported(format!("{:?}", version.text()?)));
        }
        let parts = file.model.take().ok_or_else(|| {
            FormatError::new(Kind::TokenizerJson, "", FormatErrorKind::MissingField { field: "model" })
        })?;
        let model = FlatModel::read(parts)?;
        Ok(Self {
            truncation: components::optional(&file.component("truncation"), components::truncation)?,
            padding: components::optional(&file.component("padding"), components::padding)?,
            added_tokens: added_tokens(&file.added_tokens, &model)?,
            normalizer: components::optional(&file.component("normalizer"), components::normalizer)?,
            pre_tokenizer: components::optional(&file.component("pre_tokenizer"), components::pre_tokenizer)?,
            post_processor: components::optional(
                &file.component("post_processor"),
                components::post_processor,
            )?,
            decoder: components::optional(&file.component("decoder"), components::decoder)?,
            model,
        })
    }

    /// The document that says what a definition says. Its tokens and ids must be different, as in a file.
    pub(crate) fn of(definition: &Definition) -> Result<Self, FormatError> {
        let model = match &definition.model {
            Model::Bpe(model) => FlatModel::Bpe(FlatBpe::of(model)?),
            other => FlatModel::Other(other.clone()),
        };
        Ok(Self {
            truncation: definition.truncation.clone(),
            padding: definition.padding.clone(),
            added_tokens: definition.added_tokens.clone(),
            normalizer: definition.normalizer.clone(),
            pre_tokenizer: definition.pre_tokenizer.clone(),
            post_processor: definition.post_processor.clone(),
            decoder: definition.decoder.clone(),
            model,
        })
    }

    pub(crate) fn into_definition(self) -> Definition {
        Definition {
            truncation: self.truncation,
            padding: self.padding,
            added_tokens: self.added_tokens,
            normalizer: self.normalizer,
            pre_tokenizer: self.pre_tokenizer,
            post_processor: self.post_processor,
            decoder: self.decoder,
            model: self.model.into_model(),
        }
    }
}

impl FlatBpe {
    fn of(model: &BpeModel) -> Result<Self, FormatError> {
        let error = |path: &str, kind| FormatError::new(Kind::TokenizerJson, path, kind);
        let tokens = model.vocab.iter().map(|(text, id)| (text.as_str(), *id));
        let vocab = Vocab::of(tokens).map_err(|kind| error("model.vocab", kind))?;
        let n_prefix = model.continuing_subword_prefix.as_ref().map_or(0, String::len);
        let merges = vocab.merges(&model.merges, n_prefix).map_err(|kind| error("model.merges", kind))?;
        let BpeModel { dropout, fuse_unk, byte_fallback, ignore_merges, .. } = *model;
        let options = BpeModel {
            dropout,
            unk_token: model.unk_token.clone(),
            continuing_subword_prefix: model.continuing_subword_prefix.clone(),
            end_of_word_suffix: model.end_of_word_suffix.clone(),
            fuse_unk,
            byte_fallback,
            ignore_merges,
            ..BpeModel::default()
        };
        Ok(Self { vocab, merges, options })
    }
}

impl FlatModel {
    pub(crate) fn read(parts: ModelParts) -> Result<Self, FormatError> {
        let ModelParts { fields, vocab, merges } = parts;
        let fields = Value::Object(fields);
        let at = At::new(&fields, "model");
        let missing = |field| at.error(FormatErrorKind::MissingField { field });
        // Files of 2019 have no type; the format's reader then tries the models in this order.
        let name = match at.get("type")? {
            Some(name) => name.text()?,
            None if matches!(vocab, Some(AnyVocab::Scores(_))) => "Unigram",
            None if merges.is_some() => "BPE",
            None if at.get("max_input_chars_per_word")?.is_some() => "WordPiece",
            None if at.get("unk_token")?.is_some() => "WordLevel",
            None => "BPE",
        };
        if !["BPE", "WordPiece", "WordLevel", "Unigram"].contains(&name) {
            return Err(at.field("type")?.unsupported(name));
        }
        let vocab = match (vocab.ok_or_else(|| missing("vocab"))?, name) {
            (AnyVocab::Scores(vocab), "Unigram") => return unigram(vocab, &at).map(Self::Other),
            (AnyVocab::Ids(vocab), "BPE" | "WordPiece" | "WordLevel") => vocab,
            (found, _) => {
                let (expected, found) = match found {
                    AnyVocab::Ids(_) => ("a list of tokens with scores", "an object"),
                    AnyVocab::Scores(_) => ("an object of tokens and ids", "a list"),
                };
                let kind = FormatErrorKind::WrongType { expected, found: found.into() };
                return Err(FormatError::new(Kind::TokenizerJson, "model.vocab", kind));
            }
        };
        let owned = |vocab: &Vocab| vocab.iter().map(|(text, id)| (text.to_owned(), id)).collect();
        Ok(match name {
            "WordPiece" => Self::Other(Model::WordPiece {
                vocab: owned(&vocab),
                unk_token: at.field("unk_token")?.text()?.to_owned(),
                continuing_subword_prefix: at.field("continuing_subword_prefix")?.text()?.to_owned(),
                max_input_chars_per_word: at.field("max_input_chars_per_word")?.count()?,
            }),
            "WordLevel" => Self::Other(Model::WordLevel {
                vocab: owned(&vocab),
                unk_token: at.field("unk_token")?.text()?.to_owned(),
            }),
            _ => {
                let options = bpe_options(&at)?;
                let n_prefix = options.continuing_subword_prefix.as_ref().map_or(0, String::len);
                let merges = merges.ok_or_else(|| missing("merges"))?.resolve(&vocab, n_prefix);
                let merges =
                    merges.map_err(|kind| FormatError::new(Kind::TokenizerJson, "model.merges", kind))?;
                Self::Bpe(FlatBpe { vocab, merges, options })
            }
        })
    }

    pub(crate) fn into_model(self) -> Model {
        match self {
            Self::Other(model) => model,
            Self::Bpe(FlatBpe { vocab, merges, options }) => Model::Bpe(BpeModel {
                vocab: vocab.iter().map(|(text, id)| (text.to_owned(), id)).collect(),
                merges: merges.iter().map(|merge| (merge.left, merge.right)).collect(),
                ..options
            }),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bpe(model) => model.vocab.len(),
            Self::Other(Model::WordPiece { vocab, .. } | Model::WordLevel { vocab, .. }) => vocab.len(),
            Self::Other(Model::Unigram { vocab, .. }) => vocab.len(),
            Self::Other(_) => 0,
        }
    }
}

fn unigram(vocab: Vec<(String, f64)>, at: &At<'_>) -> Result<Model, FormatError> {
    let unk_id = at.get("unk_id")?.map(|value| value.count()).transpose()?;
    if let Some(unk_id) = unk_id
        && unk_id >= vocab.len()
    {
        return Err(at.field("unk_id")?.wrong_type("a place in the vocabulary"));
    }
    Ok(Model::Unigram { vocab, unk_id, byte_fallback: at.flag_or("byte_fallback", false)? })
}

fn bpe_options(at: &At<'_>) -> Result<BpeModel, FormatError> {
    let text = |key| at.get(key)?.map(|value| value.text().map(str::to_owned)).transpose();
    let dropout = match at.get("dropout")? {
        None => None,
        Some(value) => {
            let found = match value.value {
                Value::Integer(number) => *number as f32,
                Value::Float(number) => *number as f32,
                _ => -1.0,
            };
            if !(0.0..=1.0).contains(&found) {
                return Err(value.wrong_type("a probability from 0 to 1"));
            }
            Some(found)
        }
    };
    Ok(BpeModel {
        dropout,
        unk_token: text("unk_token")?,
        continuing_subword_prefix: text("continuing_subword_prefix")?,
        end_of_word_suffix: text("end_of_word_suffix")?,
        fuse_unk: at.flag_or("fuse_unk", false)?,
        byte_fallback: at.flag_or("byte_fallback", false)?,
        ignore_merges: at.flag_or("ignore_merges", false)?,
        ..BpeModel::default()
    })
}

/// The ids of the model's tokens by string; of a repeated string the last one holds.
enum IdOf<'a> {
    Flat(&'a Vocab),
    Table(HashMap<&'a str, u32, FxBuildHasher>),
}

impl<'a> IdOf<'a> {
    fn new(model: &'a FlatModel) -> Self {
        match model {
            FlatModel::Bpe(model) => Self::Flat(&model.vocab),
            FlatModel::Other(Model::WordPiece { vocab, .. } | Model::WordLevel { vocab, .. }) => {
                Self::Table(vocab.iter().map(|(text, id)| (text.as_str(), *id)).collect())
            }
            FlatModel::Other(Model::Unigram { vocab, .. }) => {
                Self::Table(vocab.iter().zip(0..).map(|((text, _), id)| (text.as_str(), id)).collect())
            }
            FlatModel::Other(_) => Self::Table(HashMap::default()),
        }
    }

    fn get(&self, text: &str) -> Option<u32> {
        match self {
            Self::Flat(vocab) => vocab.id(text),
            Self::Table(table) => table.get(text).copied(),
        }
    }
}

/// The added tokens with the ids that the format's reader gives them.
fn added_tokens(declared: &[Value], model: &FlatModel) -> Result<Vec<AddedToken>, FormatError> {
    let mut tokens: Vec<AddedToken> = Vec::with_capacity(declared.len());
    let mut place_of: HashMap<&str, usize, FxBuildHasher> = HashMap::default();
    let ids = IdOf::new(model);
    let mut next_id = model.len() as u32;
    for (index, value) in declared.iter().enumerate() {
        let at = At::new(value, format!("added_tokens[{index}]"));
        let content_at = at.field("content")?;
        let content = content_at.text()?;
        // A number, and no more: the reader gives ids of its own.
        at.field("id")?.id()?;
        let (found, limit) = (content.len() as u64, limits::TOKEN_BYTES);
        if found > limit {
            return Err(content_at.error(FormatErrorKind::TooLarge {
                what: "bytes in one token",
                found,
                limit,
            }));
        }
        let mut token = AddedToken {
            id: 0,
            content: content.to_owned(),
            special: at.field("special")?.flag()?,
            normalized: at.field("normalized")?.flag()?,
            lstrip: at.field("lstrip")?.flag()?,
            rstrip: at.field("rstrip")?.flag()?,
            single_word: at.field("single_word")?.flag()?,
        };
        if content.is_empty() {
            continue;
        }
        // A content given again keeps its id and takes the later flags, but what was special stays so.
        if let Some(&place) = place_of.get(content) {
            token.id = tokens[place].id;
            token.special |= tokens[place].special;
            tokens[place] = token;
            continue;
        }
        token.id = match ids.get(content) {
            Some(id) => id,
            None => {
                let id = next_id;
                next_id += 1;
                id
            }
        };
        place_of.insert(content, tokens.len());
        tokens.push(token);
    }
    Ok(tokens)
}

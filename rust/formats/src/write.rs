//! How is a tokenizer written so that Hugging Face `tokenizers` gives the same ids?
//!
//! [`write_definition`] writes a definition as that library does, byte for byte. A specification is made into a
//! definition first. The format's reader derives ids of added tokens (see [`crate::tokenizer_json`]), so an added token
//! that would be given another id is also put into the vocabulary: there are as few of those as possible, because a
//! vocabulary string may match a whole pretoken.
//!
//! Two things cannot be said in the format, and are written as published conversions do. Merges that share a rank
//! (tiktoken's, SentencePiece's) get ranks of their own, in order of the ids of their parts; the readings differ only
//! where such merges compete for overlapping parts. The space that SentencePiece puts before the whole input is put
//! behind every added token, too.

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::pipeline::definition::{
    BpeModel, Decoder, Definition, Model, Normalizer as DefinedNormalizer, Padding, Pattern, PostProcessor,
    PreTokenizer, PrependScheme as DefinedScheme, TemplatePiece, TemplateToken, Truncation,
};
use tokenloom_tokenize::spec::{
    Decoder as SpecDecoder, Merge, Normalizer, PrependScheme, Pretokenizer, SplitPattern, Symbols, Template,
    TokenizerSpec,
};
use tokenloom_vocab::TokenId;

use crate::error::{FormatError, FormatErrorKind};
use crate::json::writer::{self, Writer};
use crate::{Kind, byte_chars, dialect};

const SPACE_MARK: &str = "\u{2581}";

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::TokenizerJson, path, kind)
}

/// The text of a `tokenizer.json`, compact or indented by two spaces.
///
/// # Errors
/// [`FormatError`]: a SentencePiece model, which the format cannot say.
pub fn write_definition(definition: &Definition, is_pretty: bool) -> Result<String, FormatError> {
    if let Model::Pieces(_) = &definition.model {
        let component = "a SentencePiece model that no other format can say".into();
        return Err(error("model", FormatErrorKind::Unsupported { component }));
    }
    let n_entries = match &definition.model {
        Model::Bpe(model) => model.vocab.len() + model.merges.len(),
        Model::WordPiece { vocab, .. } | Model::WordLevel { vocab, .. } => vocab.len(),
        Model::Unigram { vocab, .. } => vocab.len(),
        _ => 0,
    };
    let mut writer = Writer::new(is_pretty, n_entries * 24 + 4096);
    writer.definition(definition);
    Ok(writer.finish())
}

/// The bytes of a file that is read back as `definition`: a `.model` or a `tokenizer.json`.
///
/// # Errors
/// As [`write_definition`].
pub fn state(definition: &Definition) -> Result<Vec<u8>, FormatError> {
    match &definition.model {
        Model::Pieces(model) => Ok(crate::sentencepiece::write(model)),
        _ => write_definition(definition, false).map(String::into_bytes),
    }
}

/// The definition of what [`state`] wrote.
///
/// # Errors
/// [`FormatError`] of the kind of file that it is.
pub fn definition_of_state(state: &[u8]) -> Result<Definition, FormatError> {
    match state.first() {
        Some(b'{') => crate::tokenizer_json::parse_definition(state),
        _ => crate::sentencepiece::parse_definition(state),
    }
}

/// The compact JSON of a model.
pub fn write_model(model: &Model) -> String {
    let mut writer = Writer::new(false, 0);
    writer.model(model);
    writer.finish()
}

macro_rules! component_writers {
    ($($name:ident, $write:path, $type:ty;)*) => {$(
        /// The compact JSON of one component, or `null`.
        pub fn $name(component: Option<&$type>) -> String {
            let mut writer = Writer::new(false, 0);
            writer.value(&writer::optional(component, $write));
            writer.finish()
        }
    )*};
}

component_writers! {
    write_truncation, writer::truncation, Truncation;
    write_padding, writer::padding, Padding;
    write_normalizer, writer::normalizer, DefinedNormalizer;
    write_pre_tokenizer, writer::pre_tokenizer, PreTokenizer;
    write_post_processor, writer::post_processor, PostProcessor;
    write_decoder, writer::decoder, Decoder;
}

/// The bytes of a `tokenizer.json` that says what `spec` says.
///
/// # Errors
/// [`FormatError`]: something in `spec` that the format cannot say.
pub fn tokenizer_json(spec: &TokenizerSpec) -> Result<Vec<u8>, FormatError> {
    write_definition(&definition(spec)?, true).map(String::into_bytes)
}

/// The definition that says what `spec` says.
///
/// # Errors
/// [`FormatError`]: something in `spec` that the format cannot say.
pub fn definition(spec: &TokenizerSpec) -> Result<Definition, FormatError> {
    let merges = spec.all_merges();
    let texts = Texts::new(spec, &merges)?;
    for (index, merge) in merges.iter().enumerate() {
        for id in [merge.left, merge.right] {
            texts.model(id, || format!("merges[{index}]"))?;
        }
    }
    let mut added_tokens = spec.added_tokens.clone();
    added_tokens.sort_by_key(|token| token.id);
    Ok(Definition {
        truncation: None,
        padding: None,
        added_tokens,
        normalizer: normalizer(&spec.normalizers)?,
        pre_tokenizer: pretokenizer(spec)?,
        post_processor: post_processor(spec, &texts)?,
        decoder: Some(decoder(spec)),
        model: Model::Bpe(BpeModel {
            fuse_unk: is_characters(spec),
            byte_fallback: is_characters(spec),
            merges: merges.iter().map(|merge| (merge.left, merge.right)).collect(),
            ignore_merges: spec.ignore_merges,
            vocab: texts.vocabulary.into_iter().map(|(id, text)| (text, id)).collect(),
            ..BpeModel::default()
        }),
    })
}

/// The strings that stand for ids.
struct Texts {
    /// What is written under `vocab`, by id.
    vocabulary: Vec<(TokenId, String)>,
    added: HashMap<TokenId, String, FxBuildHasher>,
}

impl Texts {
    fn new(spec: &TokenizerSpec, merges: &[Merge]) -> Result<Self, FormatError> {
        let added: HashMap<TokenId, String, FxBuildHasher> =
            spec.added_tokens.iter().map(|token| (token.id, token.content.clone())).collect();
        let mut vocabulary: Vec<(TokenId, String)> = Vec::with_capacity(spec.tokens.len() + added.len());
        // Where an id is both, the content of the added token is written.
        let mut shared: HashMap<TokenId, bool, FxBuildHasher> = HashMap::default();
        let text_of = |bytes: &[u8]| match &spec.symbols {
            Symbols::Characters { .. } => String::from_utf8_lossy(bytes).replace(' ', SPACE_MARK),
            _ => byte_chars::text_of_bytes(bytes),
        };
        if let Symbols::Characters { byte_tokens } = &spec.symbols {
            vocabulary.extend((0u8..).zip(byte_tokens).map(|(byte, &id)| (id, format!("<0x{byte:02X}>"))));
        }
        for (id, bytes) in spec.tokens.iter() {
            let text = text_of(bytes);
            match added.get(&id) {
                Some(content) => {
                    shared.insert(id, *content == text);
                    vocabulary.push((id, content.clone()));
                }
                None => vocabulary.push((id, text)),
            }
        }
        for (id, bytes) in &spec.decode_only {
            let text = String::from_utf8_lossy(bytes).into_owned();
            shared.insert(*id, false);
            vocabulary.push((*id, text));
        }
        for (index, merge) in merges.iter().enumerate() {
            let is_changed = |id| shared.get(&id) == Some(&false);
            if [merge.left, merge.right, merge.result].into_iter().any(is_changed) {
                let component = format!("merge {index} with a token whose string says other bytes").into();
                return Err(error("merges", FormatErrorKind::Unsupported { component }));
            }
        }
        let mut outside: Vec<(TokenId, &String)> =
            added.iter().filter(|(id, _)| !shared.contains_key(*id)).map(|(id, text)| (*id, text)).collect();
        outside.sort_unstable();
        let n_written = n_needing_vocabulary(vocabulary.len(), &outside);
        vocabulary.extend(outside[..n_written].iter().map(|(id, text)| (*id, (*text).clone())));
        vocabulary.sort_unstable();
        check_distinct(&vocabulary)?;
        Ok(Self { vocabulary, added })
    }

    fn model(&self, id: TokenId, path: impl Fn() -> String) -> Result<&str, FormatError> {
        match self.vocabulary.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(index) => Ok(&self.vocabulary[index].1),
            Err(_) => {
                Err(error(path(), FormatErrorKind::UndefinedToken { token: format!("id {id}").into() }))
            }
        }
    }

    fn any(&self, id: TokenId) -> Result<&str, FormatError> {
        match self.added.get(&id) {
            Some(content) => Ok(content),
            None => self.model(id, || "post_processor".to_owned()),
        }
    }
}

/// Two ids with one string cannot both be keys of one object.
fn check_distinct(vocabulary: &[(TokenId, String)]) -> Result<(), FormatError> {
    let mut seen: HashSet<&str, FxBuildHasher> = HashSet::default();
    for (id, text) in vocabulary {
        if !seen.insert(text) {
            let kind = FormatErrorKind::DuplicateToken { token: text.as_str().into() };
            return Err(error(format!("vocab (id {id})"), kind));
        }
    }
    Ok(())
}

/// How many of the added tokens that are not in the model must be written into the vocabulary, smallest ids first, so
/// that the reader numbers the rest as they are: it counts on from the size of the vocabulary.
fn n_needing_vocabulary(n_model: usize, outside: &[(TokenId, &String)]) -> usize {
    let Some((last, _)) = outside.last() else { return 0 };
    // The rest must be contiguous and end at the last id: only the longest contiguous tail is a candidate, and it
    // starts where the vocabulary ends exactly if the last id is the last of all.
    if *last as usize + 1 != n_model + outside.len() {
        return outside.len();
    }
    let is_step = |pair: &[(TokenId, &String)]| pair[0].0 + 1 == pair[1].0;
    let n_tail = 1 + outside.windows(2).rev().take_while(|pair| is_step(pair)).count();
    outside.len() - n_tail
}

fn normalizer(steps: &[Normalizer]) -> Result<Option<DefinedNormalizer>, FormatError> {
    let mut defined = Vec::with_capacity(steps.len());
    for step in steps {
        defined.push(match step {
            Normalizer::Nfc => DefinedNormalizer::Nfc,
            Normalizer::PrependSpace | Normalizer::PrependFirst => {
                DefinedNormalizer::Prepend { prepend: SPACE_MARK.to_owned() }
            }
            Normalizer::SpaceMark => DefinedNormalizer::Replace {
                pattern: Pattern::Literal(" ".to_owned()),
                content: SPACE_MARK.to_owned(),
            },
            other => {
                let component = format!("normalizer {other:?}").into();
                return Err(error("normalizer", FormatErrorKind::Unsupported { component }));
            }
        });
    }
    Ok(match defined.len() {
        0 | 1 => defined.pop(),
        _ => Some(DefinedNormalizer::Sequence(defined)),
    })
}

fn is_characters(spec: &TokenizerSpec) -> bool {
    matches!(spec.symbols, Symbols::Characters { .. })
}

fn decoder(spec: &TokenizerSpec) -> Decoder {
    let SpecDecoder::ByteFallback { strip_space, .. } = spec.decoder else {
        return Decoder::ByteLevel { add_prefix_space: true, trim_offsets: true, use_regex: true };
    };
    let marks =
        Decoder::Replace { pattern: Pattern::Literal(SPACE_MARK.to_owned()), content: " ".to_owned() };
    let mut steps = vec![marks, Decoder::ByteFallback, Decoder::Fuse];
    if strip_space {
        steps.push(Decoder::Strip { content: ' ', start: 1, stop: 0 });
    }
    Decoder::Sequence(steps)
}

fn pretokenizer(spec: &TokenizerSpec) -> Result<Option<PreTokenizer>, FormatError> {
    let steps = &spec.pretokenizers;
    let mut defined = Vec::with_capacity(steps.len() + 1);
    for (index, step) in steps.iter().enumerate() {
        let unsupported = |component: String| {
            let path = format!("pre_tokenizer[{index}]");
            error(path, FormatErrorKind::Unsupported { component: component.into() })
        };
        defined.push(match step {
            Pretokenizer::Split { pattern, behavior, invert } => {
                let pattern = match pattern {
                    SplitPattern::Literal(text) => Pattern::Literal(text.clone()),
                    SplitPattern::Regex(regex) => {
                        let regex = dialect::to_oniguruma(regex)
                            .map_err(|what| unsupported(format!("{} in a split pattern", what.0)))?;
                        Pattern::Regex(regex.into_owned())
                    }
                };
                PreTokenizer::Split { pattern, behavior: *behavior, invert: *invert }
            }
            Pretokenizer::Digits { individual } => PreTokenizer::Digits { individual_digits: *individual },
            Pretokenizer::ByteLevel { add_prefix_space, use_regex } => {
                let (add_prefix_space, use_regex) = (*add_prefix_space, *use_regex);
                PreTokenizer::ByteLevel { add_prefix_space, trim_offsets: true, use_regex }
            }
            Pretokenizer::Metaspace { prepend, split } => PreTokenizer::Metaspace {
                replacement: '\u{2581}',
                prepend_scheme: match prepend {
                    PrependScheme::First => DefinedScheme::First,
                    PrependScheme::Never => DefinedScheme::Never,
                    PrependScheme::Always => DefinedScheme::Always,
                },
                split: *split,
            },
            other => return Err(unsupported(format!("pretokenizer {other:?}"))),
        });
    }
    if !is_characters(spec) && !matches!(steps.last(), Some(Pretokenizer::ByteLevel { .. })) {
        defined.push(PreTokenizer::ByteLevel {
            add_prefix_space: false,
            trim_offsets: true,
            use_regex: false,
        });
    }
    Ok(match defined.len() {
        0 | 1 => defined.pop(),
        _ => Some(PreTokenizer::Sequence(defined)),
    })
}

fn post_processor(spec: &TokenizerSpec, texts: &Texts) -> Result<Option<PostProcessor>, FormatError> {
    let trimming = PostProcessor::ByteLevel {
        add_prefix_space: spec.trim_keeps_first_space,
        trim_offsets: spec.trim_offsets,
        use_regex: true,
    };
    let Template { prefix, suffix } = &spec.template;
    if prefix.is_empty() && suffix.is_empty() {
        return Ok((!is_characters(spec)).then_some(trimming));
    }
    let one = |is_second: bool| -> Result<Vec<TemplatePiece>, FormatError> {
        let type_id = u32::from(is_second);
        let piece =
            |&id: &TokenId| Ok(TemplatePiece::SpecialToken { id: texts.any(id)?.to_owned(), type_id });
        let mut pieces = prefix.iter().map(piece).collect::<Result<Vec<_>, FormatError>>()?;
        pieces.push(TemplatePiece::Sequence { is_second, type_id });
        for id in suffix {
            pieces.push(piece(id)?);
        }
        Ok(pieces)
    };
    let mut ids: Vec<TokenId> = prefix.iter().chain(suffix).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let token = |&id: &TokenId| -> Result<TemplateToken, FormatError> {
        let name = texts.any(id)?;
        Ok(TemplateToken { id: name.to_owned(), ids: vec![id], tokens: vec![name.to_owned()] })
    };
    let template = PostProcessor::Template {
        single: one(false)?,
        pair: [one(false)?, one(true)?].concat(),
        special_tokens: ids.iter().map(token).collect::<Result<_, _>>()?,
    };
    if is_characters(spec) {
        return Ok(Some(template));
    }
    Ok(Some(PostProcessor::Sequence(vec![trimming, template])))
}

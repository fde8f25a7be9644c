//! Which tokenizer lies in the metadata of a GGUF file?
//!
//! GGUF is a little-endian list of typed key-value pairs in front of the tensors; only the pairs are read, from any
//! reader, and only the `tokenizer.ggml.*` values are kept. Models: `gpt2` (byte-level BPE; the file names its split
//! pattern in `tokenizer.ggml.pre`, and [`crate::gguf_pre`] holds what each name means), `gemma4` (BPE over characters),
//! `llama` and `t5` (pieces with scores: [`crate::pieces`]) and `bert` (WordPiece). Tokens marked control, user-defined
//! or unknown are matched in the text; the others belong to the model.
//!
//! Two things the original `tokenizer.json` may have are not in a GGUF file and so not in the result: a normalizer,
//! and the flags of added tokens.
//!
//! Linear in the metadata. Strings and arrays grow as their bytes arrive, so a stated length costs nothing.

use std::io::Read;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::pipeline::definition::{
    Decoder as DefinedDecoder, Definition, Model, NamedToken, Normalizer as DefinedNormalizer, Piece,
    PieceAlgorithm, PieceType, PostProcessor, PreTokenizer, TemplatePiece, TemplateToken,
};
use tokenloom_tokenize::spec::{
    Decoder, InvalidRun, Merge, Normalizer, Pretokenizer, SplitBehavior, SplitPattern, Symbols, Template,
    TokenizerSpec,
};
use tokenloom_vocab::{AddedToken, TokenId, TokenList};

use crate::error::{FormatError, FormatErrorKind};
use crate::gguf_pre::pretokenizer_named;
use crate::gguf_reader::{Metadata, read_metadata};
use crate::pieces::{Parsed, PieceFile, Reading, piece_type};
use crate::{Kind, byte_chars, limits};

const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Gguf, path, kind)
}

/// Reads the tokenizer in the metadata of a GGUF file; the reader is left behind the metadata.
///
/// # Errors
/// [`FormatError`] of [`Kind::Gguf`]: see the head of this module, [`limits`] and the kinds.
pub fn parse(reader: impl Read) -> Result<Parsed, FormatError> {
    let metadata = read_metadata(reader)?;
    match metadata.text("tokenizer.ggml.model")? {
        "gpt2" => byte_level(&metadata).map(Parsed::Spec),
        "gemma4" => characters(&metadata).map(Parsed::Spec),
        "llama" => pieces(&metadata).map(Parsed::Spec),
        "t5" => unigram_pieces(&metadata),
        "bert" => word_pieces(&metadata),
        other => Err(unsupported("tokenizer.ggml.model", other)),
    }
}

fn byte_level(metadata: &Metadata) -> Result<TokenizerSpec, FormatError> {
    // The other program takes a file without a name for one of its default pattern, and warns.
    let name = metadata.optional_text("tokenizer.ggml.pre")?.unwrap_or("default");
    let pre = pretokenizer_named(name).ok_or_else(|| unsupported("tokenizer.ggml.pre", name))?;
    let mut tokens = Tokens::read(metadata, byte_chars::bytes_of_text)?;
    let merges = tokens.merges(metadata)?;
    tokens.share_merged(&merges);
    Ok(TokenizerSpec {
        merges: tokens.reachable(merges),
        template: template(metadata, pre.adds_bos, pre.adds_sep)?,
        tokens: tokens.model,
        decode_only: tokens.decode_only,
        added_tokens: tokens.added,
        ignore_merges: pre.ignore_merges,
        pretokenizers: pre.steps,
        ..TokenizerSpec::default()
    })
}

/// Gemma 4: merges over characters, spaces as U+2581, a token for every byte; text is cut at line feeds.
fn characters(metadata: &Metadata) -> Result<TokenizerSpec, FormatError> {
    let bytes_of = |text: &str| (!text.contains(' ')).then(|| text.replace('\u{2581}', " ").into_bytes());
    let tokens = Tokens::read(metadata, bytes_of)?;
    let merges = tokens.merges(metadata)?;
    let byte_token = |byte: u8| {
        let text = format!("<0x{byte:02X}>");
        tokens.by_text.get(text.as_str()).copied().filter(|id| tokens.bytes.contains(id))
    };
    let byte_tokens: Option<Vec<TokenId>> = (0..=255).map(byte_token).collect();
    let Some(byte_tokens) = byte_tokens else {
        return Err(unsupported("tokenizer.ggml.tokens", "without a token for every byte"));
    };
    if metadata.optional_flag("tokenizer.ggml.add_space_prefix")? == Some(true) {
        return Err(unsupported("tokenizer.ggml.add_space_prefix", "true"));
    }
    Ok(TokenizerSpec {
        merges: tokens.reachable(merges),
        symbols: Symbols::Characters { byte_tokens },
        template: template(metadata, false, false)?,
        tokens: tokens.model,
        decode_only: tokens.decode_only,
        added_tokens: tokens.added,
        normalizers: vec![Normalizer::SpaceMark],
        pretokenizers: vec![Pretokenizer::Split {
            pattern: SplitPattern::Regex(r"[^\n]+|[\n]+".to_owned()),
            behavior: SplitBehavior::Isolated,
            invert: false,
        }],
        decoder: Decoder::ByteFallback { strip_space: false, invalid: InvalidRun::Whole },
        ..TokenizerSpec::default()
    })
}

/// SentencePiece's BPE.
fn pieces(metadata: &Metadata) -> Result<TokenizerSpec, FormatError> {
    let mut file = piece_file(metadata, Reading::LlamaCpp, PieceAlgorithm::Bpe)?;
    file.template = template_of(metadata, true, false)?;
    check_template(&file.template, file.model.pieces.len())?;
    file.compiled()
}

/// SentencePiece's Unigram, which the other program reads as that library does.
fn unigram_pieces(metadata: &Metadata) -> Result<Parsed, FormatError> {
    let mut file = piece_file(metadata, Reading::SentencePiece, PieceAlgorithm::Unigram)?;
    let key = "tokenizer.ggml.precompiled_charsmap";
    // The array is of bytes, signed or not.
    let as_byte =
        |&number: &i64| u8::try_from(number).or_else(|_| i8::try_from(number).map(i8::cast_unsigned));
    let charsmap = metadata.optional_integers(key)?.unwrap_or_default().iter().map(as_byte);
    file.model.charsmap =
        charsmap.collect::<Result<_, _>>().map_err(|_| unsupported(key, "of other numbers"))?;
    let suffix = metadata.optional_flag("tokenizer.ggml.treat_whitespace_as_suffix")?;
    file.model.treat_whitespace_as_suffix = suffix.unwrap_or(false);
    let template = template_of(metadata, false, true)?;
    check_template(&template, file.model.pieces.len())?;
    let named = |&id: &TokenId| (file.model.pieces[id as usize].text.clone(), id);
    let (prefix, suffix): (Vec<_>, Vec<_>) =
        (template.prefix.iter().map(named).collect(), template.suffix.iter().map(named).collect());
    let definition = Definition { post_processor: Some(around(&prefix, &suffix)), ..file.definition()? };
    Ok(Parsed::Definition(Box::new(definition), Box::new(unsupported("tokenizer.ggml.model", "t5"))))
}

/// Special tokens before and behind each sequence.
fn around(prefix: &[NamedToken], suffix: &[NamedToken]) -> PostProcessor {
    let one = |is_second| {
        let type_id = u32::from(is_second);
        let special = move |(id, _): &NamedToken| TemplatePiece::SpecialToken { id: id.clone(), type_id };
        let sequence = TemplatePiece::Sequence { is_second, type_id };
        prefix.iter().map(special).chain([sequence]).chain(suffix.iter().map(special)).collect::<Vec<_>>()
    };
    let token = |(text, id): &NamedToken| TemplateToken {
        id: text.clone(),
        ids: vec![*id],
        tokens: vec![text.clone()],
    };
    let special_tokens = prefix.iter().chain(suffix).map(token).collect();
    PostProcessor::Template { single: one(false), pair: [one(false), one(true)].concat(), special_tokens }
}

fn piece_file(
    metadata: &Metadata,
    reading: Reading,
    algorithm: PieceAlgorithm,
) -> Result<PieceFile, FormatError> {
    let texts = texts(metadata)?;
    let scores = metadata.floats("tokenizer.ggml.scores")?;
    let types = metadata.optional_integers("tokenizer.ggml.token_type")?;
    for (key, found) in [
        ("tokenizer.ggml.scores", Some(scores.len())),
        ("tokenizer.ggml.token_type", types.map(<[i64]>::len)),
    ] {
        if let Some(found) = found.filter(|&found| found != texts.len()) {
            let (expected, found) = (texts.len() as u64, found as u64);
            return Err(error(key, FormatErrorKind::LengthMismatch { expected, found }));
        }
    }
    let mut file = PieceFile::new(Kind::Gguf, reading);
    file.model.algorithm = algorithm;
    for (index, text) in texts.iter().enumerate() {
        let number = types.map_or(NORMAL, |types| types[index]);
        let piece_type = piece_type(number)
            .ok_or_else(|| unsupported("tokenizer.ggml.token_type", &number.to_string()))?;
        let piece = Piece { text: (*text).to_owned(), score: scores[index], piece_type };
        file.model.byte_fallback |= piece_type == PieceType::Byte;
        file.push(piece)?;
    }
    let flag = |key, default| Ok::<_, FormatError>(metadata.optional_flag(key)?.unwrap_or(default));
    file.model.add_dummy_prefix = flag("tokenizer.ggml.add_space_prefix", true)?;
    file.model.remove_extra_whitespaces = flag("tokenizer.ggml.remove_extra_whitespaces", false)?;
    Ok(file)
}

fn word_pieces(metadata: &Metadata) -> Result<Parsed, FormatError> {
    let texts = texts(metadata)?;
    let types = metadata.optional_integers("tokenizer.ggml.token_type")?;
    let mut vocab = Vec::with_capacity(texts.len());
    let mut added_tokens = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let id = index as TokenId;
        let token_type = types.and_then(|types| types.get(index)).copied().unwrap_or(NORMAL);
        if matches!(token_type, CONTROL | USER_DEFINED | UNKNOWN) {
            added_tokens.push(added_token(id, text, token_type != USER_DEFINED));
            vocab.push(((*text).to_owned(), id));
        } else if let Some(word) = text.strip_prefix('\u{2581}') {
            vocab.push((word.to_owned(), id));
        } else {
            vocab.push((format!("##{text}"), id));
        }
    }
    let id_or = |key, default: u32| Ok::<_, FormatError>(metadata.optional_id(key)?.unwrap_or(default));
    let unknown = id_or("tokenizer.ggml.unknown_token_id", 100)?;
    let first = id_or("tokenizer.ggml.bos_token_id", id_or("tokenizer.ggml.cls_token_id", 101)?)?;
    let last = id_or("tokenizer.ggml.seperator_token_id", 102)?;
    check_template(&Template { prefix: vec![first, unknown], suffix: vec![last] }, texts.len())?;
    let named = |id: TokenId| (vocab[id as usize].0.clone(), id);
    let lowercase = metadata.optional_flag("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
    let strip_accents = metadata.optional_flag("tokenizer.ggml.normalizer.strip_accents")?;
    let definition = Definition {
        truncation: None,
        padding: None,
        added_tokens,
        normalizer: Some(DefinedNormalizer::Bert {
            clean_text: true,
            handle_chinese_chars: true,
            strip_accents,
            lowercase,
        }),
        pre_tokenizer: Some(PreTokenizer::Bert),
        post_processor: Some(PostProcessor::Bert { sep: named(last), cls: named(first) }),
        decoder: Some(DefinedDecoder::WordPiece { prefix: "##".to_owned(), cleanup: true }),
        model: Model::WordPiece {
            unk_token: vocab[unknown as usize].0.clone(),
            continuing_subword_prefix: "##".to_owned(),
            // As these models were published.
            max_input_chars_per_word: 100,
            vocab,
        },
    };
    let reason = unsupported("tokenizer.ggml.model", "bert");
    Ok(Parsed::Definition(Box::new(definition), Box::new(reason)))
}

fn unsupported(key: &str, found: &str) -> FormatError {
    error(key, FormatErrorKind::Unsupported { component: format!("{key} {found}").into() })
}

/// The token strings, each within the limits.
fn texts(metadata: &Metadata) -> Result<Vec<&str>, FormatError> {
    let key = "tokenizer.ggml.tokens";
    let texts = metadata.texts(key)?;
    let n_tokens = texts.len() as u64;
    if n_tokens > limits::TOKENS {
        let kind = FormatErrorKind::TooLarge { what: "tokens", found: n_tokens, limit: limits::TOKENS };
        return Err(error(key, kind));
    }
    for (index, text) in texts.iter().enumerate() {
        let (found, limit) = (text.len() as u64, limits::TOKEN_BYTES);
        if found > limit {
            let kind = FormatErrorKind::TooLarge { what: "bytes in one token", found, limit };
            return Err(error(format!("{key}[{index}]"), kind));
        }
    }
    Ok(texts)
}

fn added_token(id: TokenId, text: &str, special: bool) -> AddedToken {
    AddedToken {
        id,
        content: text.to_owned(),
        special,
        normalized: false,
        lstrip: false,
        rstrip: false,
        single_word: false,
    }
}

fn check_template(template: &Template, n_tokens: usize) -> Result<(), FormatError> {
    match template.prefix.iter().chain(&template.suffix).find(|&&id| id as usize >= n_tokens) {
        None => Ok(()),
        Some(id) => {
            let token = format!("id {id}").into();
            Err(error("tokenizer.ggml", FormatErrorKind::UndefinedToken { token }))
        }
    }
}

struct Tokens<'a> {
    model: TokenList,
    decode_only: Vec<(TokenId, Box<[u8]>)>,
    added: Vec<AddedToken>,
    /// Tokens of single bytes, in ascending order of their ids.
    bytes: Vec<TokenId>,
    by_text: HashMap<&'a str, TokenId, FxBuildHasher>,
    bytes_of: fn(&str) -> Option<Vec<u8>>,
}

impl<'a> Tokens<'a> {
    /// Sorts the vocabulary; `bytes_of` are the bytes of a string that text can become.
    fn read(metadata: &'a Metadata, bytes_of: fn(&str) -> Option<Vec<u8>>) -> Result<Self, FormatError> {
        let texts = texts(metadata)?;
        let types = metadata.optional_integers("tokenizer.ggml.token_type")?;
        if let Some(types) = types
            && types.len() != texts.len()
        {
            let (expected, found) = (texts.len() as u64, types.len() as u64);
            let kind = FormatErrorKind::LengthMismatch { expected, found };
            return Err(error("tokenizer.ggml.token_type", kind));
        }
        let mut tokens = Self {
            model: TokenList::new(),
            decode_only: Vec::new(),
            added: Vec::new(),
            bytes: Vec::new(),
            by_text: HashMap::default(),
            bytes_of,
        };
        for (index, text) in texts.iter().enumerate() {
            let token_type = types.map_or(NORMAL, |types| types[index]);
            let id = index as TokenId;
            if tokens.by_text.insert(text, id).is_some() {
                let path = format!("tokenizer.ggml.tokens[{index}]");
                return Err(error(path, FormatErrorKind::DuplicateToken { token: (*text).into() }));
            }
            match token_type {
                NORMAL => match bytes_of(text) {
                    Some(bytes) => tokens.model.push(id, bytes),
                    None => tokens.decode_only.push((id, text.as_bytes().into())),
                },
                UNUSED => tokens.decode_only.push((id, text.as_bytes().into())),
                BYTE => tokens.bytes.push(id),
                CONTROL | USER_DEFINED | UNKNOWN if text.is_empty() => {}
                CONTROL | USER_DEFINED | UNKNOWN => {
                    tokens.added.push(added_token(id, text, token_type != USER_DEFINED));
                }
                other => return Err(unsupported("tokenizer.ggml.token_type", &other.to_string())),
            }
        }
        Ok(tokens)
    }

    /// A token that is matched in the text and also made by a merge belongs to the model too.
    fn share_merged(&mut self, merges: &[Merge]) {
        let mut merged: Vec<TokenId> =
            merges.iter().flat_map(|merge| [merge.left, merge.right, merge.result]).collect();
        merged.sort_unstable();
        merged.dedup();
        for token in &self.added {
            if merged.binary_search(&token.id).is_ok()
                && let Some(bytes) = (self.bytes_of)(&token.content)
            {
                self.model.push(token.id, bytes);
            }
        }
    }

    /// Without the merges of strings that the byte mapping never produces: they apply to no text.
    fn reachable(&self, mut merges: Vec<Merge>) -> Vec<Merge> {
        let mut is_model = vec![false; self.by_text.len()];
        self.model.iter().for_each(|(id, _)| is_model[id as usize] = true);
        merges
            .retain(|merge| [merge.left, merge.right, merge.result].iter().all(|&id| is_model[id as usize]));
        merges
    }

    fn merges(&self, metadata: &Metadata) -> Result<Vec<Merge>, FormatError> {
        let key = "tokenizer.ggml.merges";
        let texts = metadata.texts(key)?;
        if texts.len() as u64 > limits::MERGES {
            let found = texts.len() as u64;
            return Err(error(
                key,
                FormatErrorKind::TooLarge { what: "merges", found, limit: limits::MERGES },
            ));
        }
        let mut merges = Vec::with_capacity(texts.len());
        let mut seen: HashMap<(TokenId, TokenId), (), FxBuildHasher> =
            HashMap::with_capacity_and_hasher(texts.len(), FxBuildHasher);
        let mut both = String::new();
        for (index, text) in texts.iter().enumerate() {
            let at = |kind| error(format!("{key}[{index}]"), kind);
            // The separator is the first space behind the first character, as llama.cpp looks for it.
            let (left, right) = match text.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => (left, right),
                _ => return Err(at(FormatErrorKind::MalformedMerge { merge: (*text).into() })),
            };
            if left.is_empty() || right.is_empty() {
                return Err(at(FormatErrorKind::CyclicMerge { index }));
            }
            both.clear();
            both.push_str(left);
            both.push_str(right);
            let id = |text: &str| {
                self.by_text
                    .get(text)
                    .copied()
                    .ok_or_else(|| at(FormatErrorKind::UnknownMergeToken { index, token: text.into() }))
            };
            let merge = Merge { left: id(left)?, right: id(right)?, result: id(&both)? };
            if seen.insert((merge.left, merge.right), ()).is_some() {
                return Err(at(FormatErrorKind::DuplicateMerge { index }));
            }
            merges.push(merge);
        }
        Ok(merges)
    }
}

fn template(metadata: &Metadata, adds_bos: bool, adds_sep: bool) -> Result<Template, FormatError> {
    let mut template = template_of(metadata, adds_bos, false)?;
    if adds_sep && template.suffix.is_empty() {
        template.suffix.extend(metadata.optional_id("tokenizer.ggml.seperator_token_id")?);
    }
    Ok(template)
}

fn template_of(metadata: &Metadata, adds_bos: bool, adds_eos: bool) -> Result<Template, FormatError> {
    let mut template = Template::default();
    if metadata.optional_flag("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos) {
        template.prefix.push(metadata.id("tokenizer.ggml.bos_token_id")?);
    }
    if metadata.optional_flag("tokenizer.ggml.add_eos_token")?.unwrap_or(adds_eos) {
        template.suffix.push(metadata.id("tokenizer.ggml.eos_token_id")?);
    }
    Ok(template)
}

//! Which tokenizer lies in the metadata of a GGUF file?
//!
//! GGUF is a little-endian list of typed key-value pairs in front of the tensors; only the pairs are read, from any
//! reader, and only the `tokenizer.ggml.*` values are kept. Vocabularies of model `gpt2` (byte-level BPE) are
//! understood. The file names its split pattern in `tokenizer.ggml.pre`; [`crate::gguf_pre`] holds what each name
//! means. Tokens marked control, user-defined or unknown are matched in the text; the others belong to the model.
//!
//! Two things the original `tokenizer.json` may have are not in a GGUF file and so not in the result: a normalizer,
//! and the flags of added tokens.
//!
//! Linear in the metadata. Strings and arrays grow as their bytes arrive, so a stated length costs nothing.

use std::io::Read;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::spec::{Merge, Template, TokenizerSpec};
use tokenloom_vocab::{AddedToken, TokenId};

use crate::error::{FormatError, FormatErrorKind};
use crate::gguf_pre::pretokenizer_named;
use crate::gguf_reader::{Metadata, read_metadata};
use crate::{Kind, byte_chars, limits};

const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Gguf, path, kind)
}

/// Reads the tokenizer in the metadata of a GGUF file; the reader is left behind the metadata.
///
/// # Errors
/// [`FormatError`] of [`Kind::Gguf`]: see the head of this module, [`limits`] and the kinds.
pub fn parse(reader: impl Read) -> Result<TokenizerSpec, FormatError> {
    let metadata = read_metadata(reader)?;
    let model = metadata.text("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(unsupported("tokenizer.ggml.model", model));
    }
    let Some(pre) = metadata.optional_text("tokenizer.ggml.pre")? else {
        return Err(unsupported("tokenizer.ggml.pre", "missing: the split pattern is unknown"));
    };
    let pre = pretokenizer_named(pre).ok_or_else(|| unsupported("tokenizer.ggml.pre", pre))?;
    let mut tokens = Tokens::read(&metadata)?;
    let merges = tokens.merges(&metadata)?;
    tokens.share_merged(&merges);
    Ok(TokenizerSpec {
        merges: tokens.reachable(merges),
        template: template(&metadata, pre.adds_bos)?,
        tokens: tokens.model,
        decode_only: tokens.decode_only,
        added_tokens: tokens.added,
        ignore_merges: pre.ignore_merges,
        pretokenizers: pre.steps,
        ..TokenizerSpec::default()
    })
}

fn unsupported(key: &str, found: &str) -> FormatError {
    error(key, FormatErrorKind::Unsupported { component: format!("{key} {found}").into() })
}

struct Tokens<'a> {
    model: Vec<(TokenId, Box<[u8]>)>,
    decode_only: Vec<(TokenId, Box<[u8]>)>,
    added: Vec<AddedToken>,
    by_text: HashMap<&'a str, TokenId, FxBuildHasher>,
}

impl<'a> Tokens<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, FormatError> {
        let key = "tokenizer.ggml.tokens";
        let texts = metadata.texts(key)?;
        let n_tokens = texts.len() as u64;
        if n_tokens > limits::TOKENS {
            let kind = FormatErrorKind::TooLarge { what: "tokens", found: n_tokens, limit: limits::TOKENS };
            return Err(error(key, kind));
        }
        let types = metadata.optional_integers("tokenizer.ggml.token_type")?;
        if let Some(types) = types
            && types.len() != texts.len()
        {
            let kind = FormatErrorKind::LengthMismatch { expected: n_tokens, found: types.len() as u64 };
            return Err(error("tokenizer.ggml.token_type", kind));
        }
        let mut tokens = Self {
            model: Vec::new(),
            decode_only: Vec::new(),
            added: Vec::new(),
            by_text: HashMap::default(),
        };
        for (index, text) in texts.iter().enumerate() {
            let path = || format!("{key}[{index}]");
            let (found, limit) = (text.len() as u64, limits::TOKEN_BYTES);
            if found > limit {
                return Err(error(
                    path(),
                    FormatErrorKind::TooLarge { what: "bytes in one token", found, limit },
                ));
            }
            let token_type = types.map_or(NORMAL, |types| types[index]);
            let id = index as TokenId;
            if tokens.by_text.insert(text, id).is_some() {
                return Err(error(path(), FormatErrorKind::DuplicateToken { token: (*text).into() }));
            }
            match token_type {
                NORMAL => match byte_chars::bytes_of_text(text) {
                    Some(bytes) => tokens.model.push((id, bytes.into_boxed_slice())),
                    None => tokens.decode_only.push((id, text.as_bytes().into())),
                },
                UNUSED => tokens.decode_only.push((id, text.as_bytes().into())),
                CONTROL | USER_DEFINED | UNKNOWN if text.is_empty() => {}
                CONTROL | USER_DEFINED | UNKNOWN => tokens.added.push(AddedToken {
                    id,
                    content: (*text).to_owned(),
                    special: token_type != USER_DEFINED,
                    normalized: false,
                    lstrip: false,
                    rstrip: false,
                    single_word: false,
                }),
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
                && let Some(bytes) = byte_chars::bytes_of_text(&token.content)
            {
                self.model.push((token.id, bytes.into_boxed_slice()));
            }
        }
    }

    /// Without the merges of strings that the byte mapping never produces: they apply to no text.
    fn reachable(&self, mut merges: Vec<Merge>) -> Vec<Merge> {
        let mut is_model = vec![false; self.by_text.len()];
        self.model.iter().for_each(|(id, _)| is_model[*id as usize] = true);
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

fn template(metadata: &Metadata, adds_bos: bool) -> Result<Template, FormatError> {
    let mut template = Template::default();
    let adds_bos = metadata.optional_flag("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos);
    let adds_eos = metadata.optional_flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    if adds_bos {
        template.prefix.push(metadata.id("tokenizer.ggml.bos_token_id")?);
    }
    if adds_eos {
        template.suffix.push(metadata.id("tokenizer.ggml.eos_token_id")?);
    }
    Ok(template)
}

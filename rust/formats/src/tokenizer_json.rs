//! What does a `tokenizer.json` of Hugging Face `tokenizers` mean?
//!
//! The file is read once by a streaming JSON reader. The model's lists go into flat buffers (`bpe_model`), every other
//! component becomes a small value whose meaning `pipeline` reads or refuses by name. Byte-level BPE is understood;
//! another model, a component that would change ids, and the file's own truncation and padding (which the format's
//! reader applies on every encode) are [`FormatErrorKind::Unsupported`].
//!
//! Ids of added tokens follow the format's reader, not the file: a content that is a token of the model has that
//! token's id, any other gets the next id from the size of the vocabulary on, in file order.
//!
//! Linear in the file. Nesting beyond [`limits::JSON_DEPTH`], repeated keys, ids, tokens or merges, merges without
//! their tokens and values of the wrong type are errors with their place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenloom_tokenize::spec::{Merge, TokenizerSpec};
use tokenloom_vocab::AddedToken;

use crate::bpe_model::{ModelParts, ModelSeed, Vocab};
use crate::byte_chars;
use crate::error::{FormatError, FormatErrorKind};
use crate::json_value::{At, Slot, Value, ValueSeed};
use crate::{Kind, limits, pipeline};

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads on although the file stores truncation or padding; neither is applied then.
    pub ignore_truncation_and_padding: bool,
}

/// Reads the bytes of a `tokenizer.json`.
///
/// # Errors
/// [`FormatError`] of [`Kind::TokenizerJson`]: see the head of this module.
pub fn parse(data: &[u8], options: Options) -> Result<TokenizerSpec, FormatError> {
    let error = |kind| FormatError::new(Kind::TokenizerJson, "", kind);
    if data.len() as u64 > limits::JSON_FILE_BYTES {
        let found = data.len() as u64;
        return Err(error(FormatErrorKind::TooLarge {
            what: "bytes",
            found,
            limit: limits::JSON_FILE_BYTES,
        }));
    }
    let text = std::str::from_utf8(data)
        .map_err(|bad| error(FormatErrorKind::NotUtf8).at(bad.valid_up_to() as u64))?;
    let mut slot = Slot::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let file = FileSeed { slot: &mut slot }
        .deserialize(&mut reader)
        .and_then(|file| reader.end().map(|()| file))
        .map_err(|bad| from_json(&bad, text, slot.reason.take()))?;
    build(file, options)
}

/// Turns the JSON reader's complaint, or the reason a visitor left, into ours.
fn from_json(bad: &serde_json::Error, text: &str, reason: Option<(FormatErrorKind, String)>) -> FormatError {
    let (kind, path) = reason.unwrap_or_else(|| {
        let full = bad.to_string();
        let message = full.split(" at line ").next().unwrap_or_default();
        let kind = if message.contains("recursion limit") {
            FormatErrorKind::TooDeep { limit: limits::JSON_DEPTH }
        } else if bad.is_eof() {
            FormatErrorKind::Truncated { what: "JSON", n_missing: 1 }
        } else {
            FormatErrorKind::Json { message: message.into() }
        };
        (kind, String::new())
    });
    let line_start = match bad.line() {
        0 | 1 => 0,
        line => text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .nth(line - 2)
            .map_or(0, |(at, _)| at + 1),
    };
    let reached = (line_start + bad.column().saturating_sub(1)).min(text.len());
    let byte_offset = if bad.is_eof() { text.len() } else { reached };
    FormatError::new(Kind::TokenizerJson, path, kind).at(byte_offset as u64)
}

#[derive(Default)]
struct File {
    /// The small components in file order.
    components: Vec<(&'static str, Value)>,
    added_tokens: Vec<Value>,
    model: Option<ModelParts>,
}

impl File {
    fn component(&self, name: &'static str) -> At<'_> {
        static NULL: Value = Value::Null;
        let value = self.components.iter().find(|(key, _)| *key == name).map_or(&NULL, |(_, value)| value);
        At::new(value, name)
    }
}

struct FileSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = File;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<File, D::Error> {
        deserializer.deserialize_map(self)
    }
}

const COMPONENTS: [&str; 7] =
    ["version", "truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"];

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut file = File::default();
        let (mut has_added_tokens, mut has_model) = (false, false);
        while let Some(key) = map.next_key::<String>()? {
            let is_repeated = match key.as_str() {
                "added_tokens" => std::mem::replace(&mut has_added_tokens, true),
                "model" => std::mem::replace(&mut has_model, true),
                other => file.components.iter().any(|(name, _)| *name == other),
            };
            if is_repeated {
                return Err(self.slot.fail(FormatErrorKind::DuplicateKey { key: key.into() }, ""));
            }
            match key.as_str() {
                "added_tokens" => file.added_tokens = map.next_value_seed(AddedSeed { slot: self.slot })?,
                "model" => file.model = Some(map.next_value_seed(ModelSeed { slot: self.slot })?),
                other => match COMPONENTS.iter().find(|name| **name == other) {
                    Some(&name) => {
                        let mut n_left = limits::COMPONENT_VALUES;
                        let seed = ValueSeed { slot: self.slot, path: name, n_left: &mut n_left };
                        file.components.push((name, map.next_value_seed(seed)?));
                    }
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        Ok(file)
    }
}

struct AddedSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for AddedSeed<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Value>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AddedSeed<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array at added_tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Value>, A::Error> {
        let mut tokens = Vec::new();
        loop {
            let path = format!("added_tokens[{}]", tokens.len());
            if tokens.len() as u64 == limits::ADDED_TOKENS {
                let (found, limit) = (limits::ADDED_TOKENS + 1, limits::ADDED_TOKENS);
                return Err(self
                    .slot
                    .fail(FormatErrorKind::TooLarge { what: "added tokens", found, limit }, path));
            }
            // Seven fields; a little room for fields of later versions.
            let mut n_left = 32;
            match seq.next_element_seed(ValueSeed { slot: self.slot, path: &path, n_left: &mut n_left })? {
                Some(token) => tokens.push(token),
                None => return Ok(tokens),
            }
        }
    }
}

fn build(mut file: File, options: Options) -> Result<TokenizerSpec, FormatError> {
    let error = |path: &str, kind| FormatError::new(Kind::TokenizerJson, path, kind);
    let version = file.component("version");
    if !version.is_null() && version.text()? != "1.0" {
        return Err(version.unsupported(format!("{:?}", version.text()?)));
    }
    if !options.ignore_truncation_and_padding {
        pipeline::check_absent(&file.component("truncation"))?;
        pipeline::check_absent(&file.component("padding"))?;
    }
    let parts =
        file.model.take().ok_or_else(|| error("", FormatErrorKind::MissingField { field: "model" }))?;
    let model = Model::read(parts)?;
    let post = pipeline::post_processor(&file.component("post_processor"))?;
    pipeline::check_decoder(&file.component("decoder"))?;
    let mut spec = TokenizerSpec {
        normalizers: pipeline::normalizers(&file.component("normalizer"))?,
        pretokenizers: pipeline::pretokenizers(&file.component("pre_tokenizer"))?,
        template: post.template,
        trim_offsets: post.trim_offsets,
        trim_keeps_first_space: post.trim_keeps_first_space,
        ignore_merges: model.ignore_merges,
        ..TokenizerSpec::default()
    };
    spec.added_tokens = added_tokens(&file.added_tokens, &model.vocab)?;
    sort_tokens(&model.vocab, &mut spec);
    spec.merges = reachable(model.merges, &spec);
    model.unknown_policy.check(&spec)?;
    Ok(spec)
}

struct Model {
    vocab: Vocab,
    merges: Vec<Merge>,
    ignore_merges: bool,
    unknown_policy: UnknownPolicy,
}

/// What the model would do with a character that is no token. Without effect where every byte of UTF-8 is one.
#[derive(Default)]
struct UnknownPolicy {
    /// The fields that are set, for the complaint.
    set: Option<&'static str>,
}

impl UnknownPolicy {
    fn check(&self, spec: &TokenizerSpec) -> Result<(), FormatError> {
        let Some(field) = self.set else { return Ok(()) };
        let mut present = [false; 256];
        for (_, bytes) in &spec.tokens {
            if let [byte] = **bytes {
                present[byte as usize] = true;
            }
        }
        match (0..=255u8).find(|&byte| is_in_utf8(byte) && !present[byte as usize]) {
            None => Ok(()),
            Some(byte) => {
                let component = format!("{field} with byte {byte:#04x} missing from the vocabulary").into();
                Err(FormatError::new(Kind::TokenizerJson, field, FormatErrorKind::Unsupported { component }))
            }
        }
    }
}

/// Thirteen byte values occur in no UTF-8 text.
fn is_in_utf8(byte: u8) -> bool {
    !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF)
}

impl Model {
    fn read(parts: ModelParts) -> Result<Self, FormatError> {
        let fields = Value::Object(parts.fields);
        let at = At::new(&fields, "model");
        // Files of 2019 have no type; the format's reader then tries BPE first.
        if let Some(name) = at.get("type")?
            && name.text()? != "BPE"
        {
            return Err(name.unsupported(name.text()?));
        }
        if parts.vocab_is_list {
            return Err(at.unsupported("whose vocabulary is a list"));
        }
        let missing = |field| at.error(FormatErrorKind::MissingField { field });
        let vocab = parts.vocab.ok_or_else(|| missing("vocab"))?;
        let merges = parts.merges.ok_or_else(|| missing("merges"))?;
        let merges = merges
            .resolve(&vocab)
            .map_err(|kind| FormatError::new(Kind::TokenizerJson, "model.merges", kind))?;
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let Some(affix) = at.get(key)?
                && !affix.text()?.is_empty()
            {
                return Err(affix.unsupported(format!("{:?}", affix.text()?)));
            }
        }
        if let Some(dropout) = at.get("dropout")?
            && !matches!(dropout.value, Value::Integer(0) | Value::Float(0.0))
        {
            return Err(dropout.unsupported("other than 0"));
        }
        let mut unknown_policy = UnknownPolicy::default();
        if let Some(unk_token) = at.get("unk_token")? {
            unk_token.text()?;
            unknown_policy.set = Some("model.unk_token");
        }
        if at.flag_or("byte_fallback", false)? {
            unknown_policy.set = Some("model.byte_fallback");
        }
        // Only tells how unknown tokens are joined.
        at.flag_or("fuse_unk", false)?;
        Ok(Self { vocab, merges, ignore_merges: at.flag_or("ignore_merges", false)?, unknown_policy })
    }
}

/// Sorts the vocabulary into the model's tokens and those that only decode.
///
/// A vocabulary string with a character that stands for no byte can never come out of the byte mapping, so text never
/// becomes it; its bytes are its own UTF-8. If it is an added token, that entry alone says everything about it.
fn sort_tokens(vocab: &Vocab, spec: &mut TokenizerSpec) {
    let mut added_ids: Vec<u32> = spec.added_tokens.iter().map(|token| token.id).collect();
    added_ids.sort_unstable();
    spec.tokens.reserve(vocab.len());
    for (text, id) in vocab.iter() {
        match byte_chars::bytes_of_text(text) {
            Some(bytes) => spec.tokens.push((id, bytes.into_boxed_slice())),
            None if added_ids.binary_search(&id).is_ok() => {}
            None => spec.decode_only.push((id, text.as_bytes().into())),
        }
    }
}

/// Without the merges of strings that the byte mapping never produces: they apply to no text.
fn reachable(mut merges: Vec<Merge>, spec: &TokenizerSpec) -> Vec<Merge> {
    let mut ids: Vec<u32> = spec.tokens.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let is_dense = ids.last().is_none_or(|&last| last as usize + 1 == ids.len());
    let is_token =
        |id: u32| if is_dense { (id as usize) < ids.len() } else { ids.binary_search(&id).is_ok() };
    merges.retain(|merge| [merge.left, merge.right, merge.result].into_iter().all(is_token));
    merges
}

/// The added tokens with the ids that the format's reader gives them.
fn added_tokens(declared: &[Value], vocab: &Vocab) -> Result<Vec<AddedToken>, FormatError> {
    let mut tokens: Vec<AddedToken> = Vec::with_capacity(declared.len());
    let mut place_of: hashbrown::HashMap<&str, usize, rustc_hash::FxBuildHasher> =
        hashbrown::HashMap::default();
    let mut content_of_id: hashbrown::HashMap<u32, &str, rustc_hash::FxBuildHasher> =
        hashbrown::HashMap::default();
    let mut next_id = vocab.len() as u32;
    for (index, value) in declared.iter().enumerate() {
        let at = At::new(value, format!("added_tokens[{index}]"));
        let content_at = at.field("content")?;
        let content = content_at.text()?;
        let declared_id = at.field("id")?.id()?;
        let (found, limit) = (content.len() as u64, limits::TOKEN_BYTES);
        if found > limit {
            return Err(content_at.error(FormatErrorKind::TooLarge {
                what: "bytes in one token",
                found,
                limit,
            }));
        }
        if *content_of_id.entry(declared_id).or_insert(content) != content {
            return Err(at.error(FormatErrorKind::DuplicateId { id: declared_id }));
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
        // A content given again keeps its id and takes the later flags.
        if let Some(&place) = place_of.get(content) {
            token.id = tokens[place].id;
            tokens[place] = token;
            continue;
        }
        token.id = match vocab.id(content) {
            Some(id) => id,
            None => {
                let id = next_id;
                next_id += 1;
                if vocab.is_taken(id) {
                    return Err(at.error(FormatErrorKind::DuplicateId { id }));
                }
                id
            }
        };
        place_of.insert(content, tokens.len());
        tokens.push(token);
    }
    Ok(tokens)
}

//! How is a `tokenizer.json` taken apart in one pass?
//!
//! A streaming reader: the model's lists go into flat buffers (`model`), every other component becomes a small value.
//! Nesting beyond [`limits::JSON_DEPTH`], repeated keys and values of the wrong type are errors with their place.
//! Linear in the file.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{FormatError, FormatErrorKind};
use crate::json::model::{ModelParts, ModelSeed};
use crate::json::value::{At, Slot, Value, ValueSeed};
use crate::{Kind, limits};

/// Reads the bytes of a whole file.
pub(crate) fn read(data: &[u8]) -> Result<File, FormatError> {
    let error = |kind| FormatError::new(Kind::TokenizerJson, "", kind);
    if data.len() as u64 > limits::JSON_FILE_BYTES {
        let found = data.len() as u64;
        return Err(error(FormatErrorKind::TooLarge {
            what: "bytes",
            found,
            limit: limits::JSON_FILE_BYTES,
        }));
    }
    with_seed(data, |slot, reader| FileSeed { slot }.deserialize(reader))
}

/// Reads the bytes of one small value.
pub(crate) fn read_value(data: &[u8], path: &str) -> Result<Value, FormatError> {
    let mut n_left = limits::COMPONENT_VALUES;
    with_seed(data, |slot, reader| ValueSeed { slot, path, n_left: &mut n_left }.deserialize(reader))
}

/// Reads the bytes of one model.
pub(crate) fn read_model(data: &[u8]) -> Result<ModelParts, FormatError> {
    with_seed(data, |slot, reader| ModelSeed { slot }.deserialize(reader))
}

type JsonReader<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

fn with_seed<'de, T>(
    data: &'de [u8],
    read: impl FnOnce(&mut Slot, &mut JsonReader<'de>) -> Result<T, serde_json::Error>,
) -> Result<T, FormatError> {
    let text = simdutf8::compat::from_utf8(data).map_err(|bad| {
        FormatError::new(Kind::TokenizerJson, "", FormatErrorKind::NotUtf8).at(bad.valid_up_to() as u64)
    })?;
    let mut slot = Slot { reason: None, n_bytes: data.len() };
    let mut reader = serde_json::Deserializer::from_str(text);
    read(&mut slot, &mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|bad| from_json(&bad, text, slot.reason.take()))
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

/// A file taken apart.
#[derive(Default)]
pub(crate) struct File {
    /// The small components in file order.
    components: Vec<(&'static str, Value)>,
    pub(crate) added_tokens: Vec<Value>,
    pub(crate) model: Option<ModelParts>,
}

impl File {
    pub(crate) fn component(&self, name: &'static str) -> At<'_> {
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

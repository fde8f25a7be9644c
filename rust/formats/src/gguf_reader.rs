//! What are the key-value pairs of a GGUF file?
//!
//! Layout: magic `GGUF`, version (u32), number of tensors and of pairs (u64 each), then the pairs: key (u64 length and
//! bytes), value type (u32), value. An array is an element type (u32), a count (u64) and the elements. Version 3 and its
//! identical predecessor 2 are read; version 1 had 32-bit counts and is refused.
//!
//! Values outside `tokenizer.ggml.` are read over, not kept. Source: the GGUF specification of the ggml project.

use std::io::{ErrorKind, Read};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, limits};

/// The values that a tokenizer needs.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pairs: Vec<(Box<str>, GgufValue)>,
}

#[derive(Debug)]
enum GgufValue {
    Flag(bool),
    Integer(i64),
    Text(Box<str>),
    /// One arena and the end of each string in it.
    Texts(String, Vec<u32>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    /// A value of a type that no tokenizer key has.
    Other,
}

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Gguf, path, kind)
}

impl Metadata {
    fn get(&self, key: &str) -> Option<&GgufValue> {
        self.pairs.iter().find(|(name, _)| **name == *key).map(|(_, value)| value)
    }

    fn wrong(key: &'static str, expected: &'static str) -> FormatError {
        error(key, FormatErrorKind::WrongType { expected, found: "a value of another type".into() })
    }

    pub(crate) fn optional_text(&self, key: &'static str) -> Result<Option<&str>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Self::wrong(key, "a string")),
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<&str, FormatError> {
        self.optional_text(key)?.ok_or_else(|| error("", FormatErrorKind::MissingField { field: key }))
    }

    pub(crate) fn texts(&self, key: &'static str) -> Result<Vec<&str>, FormatError> {
        match self.get(key) {
            None => Err(error("", FormatErrorKind::MissingField { field: key })),
            Some(GgufValue::Texts(arena, ends)) => {
                let mut start = 0;
                let text = |&end: &u32| {
                    let text = &arena[start..end as usize];
                    start = end as usize;
                    text
                };
                Ok(ends.iter().map(text).collect())
            }
            Some(_) => Err(Self::wrong(key, "an array of strings")),
        }
    }

    pub(crate) fn optional_integers(&self, key: &'static str) -> Result<Option<&[i64]>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Integers(values)) => Ok(Some(values)),
            Some(_) => Err(Self::wrong(key, "an array of integers")),
        }
    }

    pub(crate) fn floats(&self, key: &'static str) -> Result<&[f32], FormatError> {
        match self.get(key) {
            None => Err(error("", FormatErrorKind::MissingField { field: key })),
            Some(GgufValue::Floats(values)) => Ok(values),
            Some(_) => Err(Self::wrong(key, "an array of 32-bit floats")),
        }
    }

    pub(crate) fn optional_flag(&self, key: &'static str) -> Result<Option<bool>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Flag(value)) => Ok(Some(*value)),
            Some(_) => Err(Self::wrong(key, "a flag")),
        }
    }

    pub(crate) fn id(&self, key: &'static str) -> Result<u32, FormatError> {
        self.optional_id(key)?.ok_or_else(|| error("", FormatErrorKind::MissingField { field: key }))
    }

    pub(crate) fn optional_id(&self, key: &'static str) -> Result<Option<u32>, FormatError> {
        match self.get(key) {
            None => Ok(None),
            Some(GgufValue::Integer(value)) => {
                u32::try_from(*value).map(Some).map_err(|_| Self::wrong(key, "a token id"))
            }
            Some(_) => Err(Self::wrong(key, "a token id")),
        }
    }
}

/// Reads the header and all pairs.
pub(crate) fn read_metadata(reader: impl Read) -> Result<Metadata, FormatError> {
    let mut source = Source { reader, byte_offset: 0, path: String::new() };
    let magic = source.u32("the magic number")?;
    if magic != u32::from_le_bytes(*b"GGUF") {
        let (expected, found) = (u64::from(u32::from_le_bytes(*b"GGUF")), u64::from(magic));
        return Err(source.error(FormatErrorKind::Unexpected { what: "magic number", expected, found }));
    }
    let version = source.u32("the version")?;
    if version != 2 && version != 3 {
        let component = format!("GGUF version {version}").into();
        return Err(source.error(FormatErrorKind::Unsupported { component }));
    }
    source.u64("the number of tensors")?;
    let n_pairs = source.u64("the number of keys")?;
    if n_pairs > limits::GGUF_KEYS {
        let kind = FormatErrorKind::TooLarge { what: "keys", found: n_pairs, limit: limits::GGUF_KEYS };
        return Err(source.error(kind));
    }
    let mut metadata = Metadata::default();
    for index in 0..n_pairs {
        source.path = format!("key {index}");
        let key = source.text("a key", 1 << 16)?;
        source.path.clone_from(&key);
        let value_type = source.u32("a value type")?;
        if !key.starts_with("tokenizer.ggml.") {
            source.skip(value_type, 0)?;
            continue;
        }
        if metadata.get(&key).is_some() {
            return Err(source.error(FormatErrorKind::DuplicateKey { key: key.into() }));
        }
        let value = source.value(value_type)?;
        metadata.pairs.push((key.into(), value));
    }
    Ok(metadata)
}

const FLAG: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// The bytes of one element of a scalar type.
fn width(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | FLAG => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

struct Source<R> {
    reader: R,
    byte_offset: u64,
    path: String,
}

impl<R: Read> Source<R> {
    fn error(&self, kind: FormatErrorKind) -> FormatError {
        error(self.path.as_str(), kind).at(self.byte_offset)
    }

    /// Appends exactly `n_bytes` to `buffer`, which grows only as they arrive.
    fn append(&mut self, n_bytes: u64, what: &'static str, buffer: &mut Vec<u8>) -> Result<(), FormatError> {
        let end = self.byte_offset.saturating_add(n_bytes);
        if end > limits::GGUF_METADATA_BYTES {
            let limit = limits::GGUF_METADATA_BYTES;
            return Err(self.error(FormatErrorKind::TooLarge {
                what: "bytes of metadata",
                found: end,
                limit,
            }));
        }
        let n_read = match (&mut self.reader).take(n_bytes).read_to_end(buffer) {
            Ok(n_read) => n_read as u64,
            Err(bad) if bad.kind() == ErrorKind::Interrupted => 0,
            Err(bad) => return Err(self.error(FormatErrorKind::Read { message: bad.to_string().into() })),
        };
        if n_read < n_bytes {
            return Err(self.error(FormatErrorKind::Truncated { what, n_missing: n_bytes - n_read }));
        }
        self.byte_offset = end;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {
                self.byte_offset += N as u64;
                Ok(bytes)
            }
            Err(bad) if bad.kind() == ErrorKind::UnexpectedEof => {
                Err(self.error(FormatErrorKind::Truncated { what, n_missing: 1 }))
            }
            Err(bad) => Err(self.error(FormatErrorKind::Read { message: bad.to_string().into() })),
        }
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn text(&mut self, what: &'static str, limit: u64) -> Result<String, FormatError> {
        let n_bytes = self.u64(what)?;
        if n_bytes > limit {
            return Err(self.error(FormatErrorKind::TooLarge {
                what: "bytes in a string",
                found: n_bytes,
                limit,
            }));
        }
        let mut bytes = Vec::new();
        self.append(n_bytes, what, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.error(FormatErrorKind::NotUtf8))
    }

    /// Reads over a value.
    fn skip(&mut self, value_type: u32, depth: usize) -> Result<(), FormatError> {
        if let Some(n_bytes) = width(value_type) {
            return self.skip_bytes(n_bytes);
        }
        match value_type {
            TEXT => {
                let n_bytes = self.u64("a string")?;
                self.skip_bytes(n_bytes)
            }
            ARRAY if depth == limits::GGUF_DEPTH => {
                Err(self.error(FormatErrorKind::TooDeep { limit: limits::GGUF_DEPTH }))
            }
            ARRAY => {
                let element = self.u32("an element type")?;
                let count = self.u64("an array length")?;
                if let Some(n_bytes) = width(element) {
                    return self.skip_bytes(count.saturating_mul(n_bytes));
                }
                // Each element has at least 8 bytes, so the metadata limit ends this loop.
                for _ in 0..count {
                    self.skip(element, depth + 1)?;
                }
                Ok(())
            }
            other => Err(self.unknown_type(other)),
        }
    }

    fn unknown_type(&self, value_type: u32) -> FormatError {
        let found = format!("type {value_type}").into();
        self.error(FormatErrorKind::WrongType { expected: "a value type from 0 to 12", found })
    }

    fn skip_bytes(&mut self, n_bytes: u64) -> Result<(), FormatError> {
        let mut buffer = Vec::new();
        let mut n_left = n_bytes;
        if self.byte_offset.saturating_add(n_bytes) > limits::GGUF_METADATA_BYTES {
            let (found, limit) = (self.byte_offset.saturating_add(n_bytes), limits::GGUF_METADATA_BYTES);
            return Err(self.error(FormatErrorKind::TooLarge { what: "bytes of metadata", found, limit }));
        }
        while n_left > 0 {
            let step = n_left.min(1 << 16);
            buffer.clear();
            self.append(step, "a value", &mut buffer)?;
            n_left -= step;
        }
        Ok(())
    }

    fn value(&mut self, value_type: u32) -> Result<GgufValue, FormatError> {
        match value_type {
            FLAG => Ok(GgufValue::Flag(self.array::<1>("a flag")?[0] != 0)),
            TEXT => Ok(GgufValue::Text(self.text("a string", limits::GGUF_METADATA_BYTES)?.into())),
            ARRAY => self.list(),
            6 | 12 => self.skip(value_type, 0).map(|()| GgufValue::Other),
            0..=5 | 10 | 11 => Ok(GgufValue::Integer(self.integer(value_type)?)),
            other => Err(self.unknown_type(other)),
        }
    }

    fn integer(&mut self, value_type: u32) -> Result<i64, FormatError> {
        let what = "an integer";
        Ok(match value_type {
            0 => i64::from(self.array::<1>(what)?[0]),
            1 => i64::from(i8::from_le_bytes(self.array(what)?)),
            2 => i64::from(u16::from_le_bytes(self.array(what)?)),
            3 => i64::from(i16::from_le_bytes(self.array(what)?)),
            4 => i64::from(self.u32(what)?),
            5 => i64::from(i32::from_le_bytes(self.array(what)?)),
            // Ids beyond 2^63 fail as ids, not here.
            10 => self.u64(what)? as i64,
            _ => i64::from_le_bytes(self.array(what)?),
        })
    }

    fn list(&mut self) -> Result<GgufValue, FormatError> {
        let element = self.u32("an element type")?;
        let count = self.u64("an array length")?;
        if count > limits::MERGES {
            let kind =
                FormatErrorKind::TooLarge { what: "array elements", found: count, limit: limits::MERGES };
            return Err(self.error(kind));
        }
        match element {
            TEXT => {
                let (mut arena, mut ends) = (Vec::new(), Vec::new());
                for _ in 0..count {
                    let n_bytes = self.u64("a string")?;
                    let start = arena.len();
                    self.append(n_bytes, "a string", &mut arena)?;
                    // Each string by itself, so that no character is glued together from two.
                    if std::str::from_utf8(&arena[start..]).is_err() {
                        return Err(self.error(FormatErrorKind::NotUtf8));
                    }
                    ends.push(arena.len() as u32);
                }
                let arena = String::from_utf8(arena).map_err(|_| self.error(FormatErrorKind::NotUtf8))?;
                Ok(GgufValue::Texts(arena, ends))
            }
            0..=5 | 10 | 11 => {
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.integer(element)?);
                }
                Ok(GgufValue::Integers(values))
            }
            6 => {
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(f32::from_le_bytes(self.array("a float")?));
                }
                Ok(GgufValue::Floats(values))
            }
            FLAG | 12 => {
                self.skip_bytes(count.saturating_mul(width(element).unwrap_or(8)))?;
                Ok(GgufValue::Other)
            }
            ARRAY => {
                for _ in 0..count {
                    self.skip(ARRAY, 1)?;
                }
                Ok(GgufValue::Other)
            }
            other => Err(self.unknown_type(other)),
        }
    }
}

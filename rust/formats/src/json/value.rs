//! What does a small JSON value say, and is any key in it given twice?
//!
//! The components of a `tokenizer.json` are a few dozen values each. They are read into [`Value`], which keeps the order
//! and refuses repeated keys; the two long lists (vocabulary, merges) never pass through here. [`Slot`] carries the
//! reason out of the JSON reader, whose own errors are text only.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, limits};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Box<str>),
    Array(Vec<Value>),
    Object(Vec<(Box<str>, Value)>),
}

/// Where a visitor leaves the reason and the path of a failure, and what it may know of the file.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) reason: Option<(FormatErrorKind, String)>,
    /// How long the file is.
    pub(crate) n_bytes: usize,
}

impl Slot {
    /// Keeps the reason and returns the error that stops the JSON reader.
    pub(crate) fn fail<E: Error>(&mut self, kind: FormatErrorKind, path: impl Into<String>) -> E {
        self.reason = Some((kind, path.into()));
        E::custom("")
    }
}

/// Reads one value of at most `n_left` parts.
pub(crate) struct ValueSeed<'a> {
    pub(crate) slot: &'a mut Slot,
    pub(crate) path: &'a str,
    pub(crate) n_left: &'a mut u64,
}

impl ValueSeed<'_> {
    fn spend<E: Error>(&mut self) -> Result<(), E> {
        if *self.n_left == 0 {
            let limit = limits::COMPONENT_VALUES;
            let kind = FormatErrorKind::TooLarge { what: "values in one component", found: limit + 1, limit };
            return Err(self.slot.fail(kind, self.path));
        }
        *self.n_left -= 1;
        Ok(())
    }

    fn child(&mut self) -> ValueSeed<'_> {
        ValueSeed { slot: self.slot, path: self.path, n_left: self.n_left }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.child())? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(Box<str>, Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            // A component has few keys, but a hostile one may have all the values it is allowed: stop at 1,000.
            if fields.len() >= MAX_KEYS {
                let kind = FormatErrorKind::TooLarge {
                    what: "keys in one object",
                    found: MAX_KEYS as u64 + 1,
                    limit: MAX_KEYS as u64,
                };
                return Err(self.slot.fail(kind, self.path));
            }
            if fields.iter().any(|(other, _)| **other == *key) {
                let kind = FormatErrorKind::DuplicateKey { key: key.into() };
                return Err(self.slot.fail(kind, self.path));
            }
            let value = map.next_value_seed(self.child())?;
            fields.push((key.into(), value));
        }
        Ok(Value::Object(fields))
    }
}

/// Keys of one object of a component; they are compared pairwise. Llama 3's template names one special token.
const MAX_KEYS: usize = 1000;

/// A value and where it was found, for reading components with exact complaints.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

impl<'a> At<'a> {
    pub(crate) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    pub(crate) fn error(&self, kind: FormatErrorKind) -> FormatError {
        FormatError::new(Kind::TokenizerJson, self.path.as_str(), kind)
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> FormatError {
        let found: Box<str> = match self.value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string().into(),
            Value::Integer(value) => value.to_string().into(),
            Value::Float(value) => value.to_string().into(),
            Value::Text(text) => format!("the text {text:?}").into(),
            Value::Array(_) => "an array".into(),
            Value::Object(_) => "an object".into(),
        };
        self.error(FormatErrorKind::WrongType { expected, found })
    }

    /// The named component is valid but not supported.
    pub(crate) fn unsupported(&self, what: impl AsRef<str>) -> FormatError {
        let component = format!("{} {}", self.path, what.as_ref());
        FormatError::new(
            Kind::TokenizerJson,
            self.path.as_str(),
            FormatErrorKind::Unsupported { component: component.trim_end().into() },
        )
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The field `key`, if there is one that is not null.
    pub(crate) fn get(&self, key: &str) -> Result<Option<At<'a>>, FormatError> {
        let Value::Object(fields) = self.value else { return Err(self.wrong_type("an object")) };
        Ok(fields
            .iter()
            .find(|(name, value)| **name == *key && !matches!(value, Value::Null))
            .map(|(_, value)| At::new(value, format!("{}.{key}", self.path))))
    }

    pub(crate) fn field(&self, key: &'static str) -> Result<At<'a>, FormatError> {
        self.get(key)?.ok_or_else(|| self.error(FormatErrorKind::MissingField { field: key }))
    }

    pub(crate) fn items(&self) -> Result<Vec<At<'a>>, FormatError> {
        let Value::Array(items) = self.value else { return Err(self.wrong_type("an array")) };
        let at = |(index, value)| At::new(value, format!("{}[{index}]", self.path));
        Ok(items.iter().enumerate().map(at).collect())
    }

    pub(crate) fn text(&self) -> Result<&'a str, FormatError> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, FormatError> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    pub(crate) fn id(&self) -> Result<u32, FormatError> {
        match self.value {
            Value::Integer(value) => u32::try_from(*value)
                .ok()
                .filter(|&id| u64::from(id) < limits::TOKEN_IDS)
                .ok_or_else(|| self.wrong_type("a token id from 0 to 2^24 - 1")),
            _ => Err(self.wrong_type("a token id from 0 to 2^24 - 1")),
        }
    }

    /// A whole number from 0 on.
    pub(crate) fn count(&self) -> Result<usize, FormatError> {
        match self.value {
            Value::Integer(value) => usize::try_from(*value).map_err(|_| self.wrong_type("a count")),
            _ => Err(self.wrong_type("a count")),
        }
    }

    /// A whole number from 0 to 2^32 - 1.
    pub(crate) fn number(&self) -> Result<u32, FormatError> {
        match self.value {
            Value::Integer(value) => {
                u32::try_from(*value).map_err(|_| self.wrong_type("a number below 2^32"))
            }
            _ => Err(self.wrong_type("a number below 2^32")),
        }
    }

    /// The keys of an object and what lies behind them.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, At<'a>)>, FormatError> {
        let Value::Object(fields) = self.value else { return Err(self.wrong_type("an object")) };
        let at =
            |(key, value): &'a (Box<str>, Value)| (&**key, At::new(value, format!("{}.{key}", self.path)));
        Ok(fields.iter().map(at).collect())
    }

    /// The field `key` as a flag, `default` if it is missing or null.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, FormatError> {
        self.get(key)?.map_or(Ok(default), |flag| flag.flag())
    }
}

//! Which tokens, merges and scores does the model of a `tokenizer.json` hold?
//!
//! The vocabulary (up to millions of keys) and the merges go straight from the JSON reader into flat buffers, see [`vocab`](super::vocab)
//! and [`merges`](super::merges). A Unigram vocabulary is a list of strings with scores. Time is linear in the file; memory is about
//! twice its size.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::FormatErrorKind;
use crate::json::merges::MergeTexts;
use crate::json::value::{Slot, Value, ValueSeed};
use crate::json::vocab::Vocab;
use crate::limits::{self, check_length};

/// The `model` object: its lists, and every other field as a small value.
#[derive(Debug, Default)]
pub(crate) struct ModelParts {
    pub(crate) fields: Vec<(Box<str>, Value)>,
    pub(crate) vocab: Option<AnyVocab>,
    pub(crate) merges: Option<MergeTexts>,
}

/// What stands under `vocab`.
#[derive(Debug)]
pub(crate) enum AnyVocab {
    /// Strings with ids.
    Ids(Vocab),
    /// Strings with scores; the id is the place.
    Scores(Vec<(String, f64)>),
}

pub(crate) struct ModelSeed<'a> {
    pub(crate) slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for ModelSeed<'_> {
    type Value = ModelParts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ModelParts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ModelSeed<'_> {
    type Value = ModelParts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object at model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelParts, A::Error> {
        let mut parts = ModelParts::default();
        let mut n_left = limits::COMPONENT_VALUES;
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(self.slot.fail(FormatErrorKind::DuplicateKey { key: key.into() }, "model"));
            }
            if n_left == 0 {
                let limit = limits::COMPONENT_VALUES;
                let kind = FormatErrorKind::TooLarge { what: "fields of the model", found: limit + 1, limit };
                return Err(self.slot.fail(kind, "model"));
            }
            match key.as_str() {
                "vocab" => parts.vocab = Some(map.next_value_seed(VocabSeed { slot: self.slot })?),
                "merges" => parts.merges = Some(map.next_value_seed(MergesSeed { slot: self.slot })?),
                "type"
                | "dropout"
                | "unk_token"
                | "unk_id"
                | "max_input_chars_per_word"
                | "continuing_subword_prefix"
                | "end_of_word_suffix"
                | "fuse_unk"
                | "byte_fallback"
                | "ignore_merges" => {
                    let path = format!("model.{key}");
                    let seed = ValueSeed { slot: self.slot, path: &path, n_left: &mut n_left };
                    parts.fields.push((key.as_str().into(), map.next_value_seed(seed)?));
                }
                // The format's own reader ignores other keys too.
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            }
            seen.push(key);
        }
        Ok(parts)
    }
}

struct VocabSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for VocabSeed<'_> {
    type Value = AnyVocab;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AnyVocab, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for VocabSeed<'_> {
    type Value = AnyVocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and ids, or a list of tokens with scores, at model.vocab")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AnyVocab, A::Error> {
        let mut scores: Vec<(String, f64)> = Vec::new();
        while let Some((text, score)) = seq.next_element::<(String, f64)>()? {
            check_length("bytes in one token", text.len() as u64, limits::TOKEN_BYTES * 2)
                .and_then(|()| check_length("tokens", scores.len() as u64 + 1, limits::TOKENS))
                .map_err(|kind| self.slot.fail(kind, format!("model.vocab[{}]", scores.len())))?;
            scores.push((text, score));
        }
        Ok(AnyVocab::Scores(scores))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyVocab, A::Error> {
        let mut vocab = Vocab::with_room(self.slot.n_bytes);
        while let Some((text, id)) = map.next_entry::<TextCow<'de>, u64>()? {
            vocab.insert(text.as_str(), id).map_err(|kind| self.slot.fail(kind, "model.vocab"))?;
        }
        Ok(AnyVocab::Ids(vocab))
    }
}

struct MergesSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for MergesSeed<'_> {
    type Value = MergeTexts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<MergeTexts, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for MergesSeed<'_> {
    type Value = MergeTexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of merges at model.merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MergeTexts, A::Error> {
        let mut merges = MergeTexts::with_room(self.slot.n_bytes);
        while seq.next_element_seed(OneMerge { slot: self.slot, merges: &mut merges })?.is_some() {}
        Ok(merges)
    }
}

/// `"left right"` or `["left", "right"]`.
struct OneMerge<'a> {
    slot: &'a mut Slot,
    merges: &'a mut MergeTexts,
}

impl OneMerge<'_> {
    fn fail<E: Error>(self, kind: FormatErrorKind) -> E {
        let path = format!("model.merges[{}]", self.merges.len());
        self.slot.fail(kind, path)
    }
}

impl<'de> DeserializeSeed<'de> for OneMerge<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneMerge<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: a string or two strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        // Files made from a merges.txt may carry its header line.
        if text.starts_with("#version") {
            return Ok(());
        }
        match text.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => match self.merges.push(left, right) {
                Ok(()) => Ok(()),
                Err(kind) => Err(self.fail(kind)),
            },
            _ => Err(self.fail(FormatErrorKind::MalformedMerge { merge: text.into() })),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let malformed = || FormatErrorKind::MalformedMerge { merge: "an array of another length".into() };
        let Some(left) = seq.next_element::<TextCow<'de>>()? else { return Err(self.fail(malformed())) };
        let Some(right) = seq.next_element::<TextCow<'de>>()? else { return Err(self.fail(malformed())) };
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.fail(malformed()));
        }
        match self.merges.push(left.as_str(), right.as_str()) {
            Ok(()) => Ok(()),
            Err(kind) => Err(self.fail(kind)),
        }
    }
}

/// A string that borrows from the input unless it holds escapes.
enum TextCow<'de> {
    Borrowed(&'de str),
    Owned(String),
}

impl TextCow<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl<'de> serde::Deserialize<'de> for TextCow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = TextCow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<TextCow<'de>, E> {
                Ok(TextCow::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextCow<'de>, E> {
                Ok(TextCow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

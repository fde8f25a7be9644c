//! What does Mistral's `tekken.json` say?
//!
//! Ranks as in a tiktoken file (base64 bytes under `vocab`), a split pattern and sizes under `config`. The first
//! `default_num_special_tokens` ids are special tokens: those listed under `special_tokens`, or, in files that list
//! none, a fixed set, and placeholders up to that number. The id of a rank is the rank behind them; of the ranks only so
//! many are used that `default_vocab_size` is filled.
//!
//! Linear in the file, as is the tiktoken reader that finishes the work.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use tokenloom_tokenize::spec::TokenizerSpec;
use tokenloom_vocab::TokenList;

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, base64, limits, tiktoken};

/// The special tokens of files that list none, from id 0 on.
const UNLISTED: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Tekken, path, kind)
}

/// Reads the bytes of a `tekken.json`.
///
/// # Errors
/// [`FormatError`] of [`Kind::Tekken`] or, about the ranks, of [`Kind::Tiktoken`].
pub fn parse(data: &[u8]) -> Result<TokenizerSpec, FormatError> {
    let found = data.len() as u64;
    if found > limits::JSON_FILE_BYTES {
        let limit = limits::JSON_FILE_BYTES;
        return Err(error("", FormatErrorKind::TooLarge { what: "bytes", found, limit }));
    }
    let file: File<'_> = serde_json::from_slice(data).map_err(|bad| {
        let kind = if bad.is_eof() {
            FormatErrorKind::Truncated { what: "JSON", n_missing: 1 }
        } else {
            FormatErrorKind::Json { message: bad.to_string().into() }
        };
        error("", kind)
    })?;
    let missing = |field| error("config", FormatErrorKind::MissingField { field });
    let pattern = file.config.pattern.ok_or_else(|| missing("pattern"))?;
    let n_special = file.config.n_special.ok_or_else(|| missing("default_num_special_tokens"))?;
    let n_ids = file.config.n_ids.ok_or_else(|| missing("default_vocab_size"))?;
    for (path, found, limit) in [
        ("config.default_num_special_tokens", n_special, limits::ADDED_TOKENS),
        ("config.default_vocab_size", n_ids, limits::TOKENS),
    ] {
        if found > limit {
            return Err(error(path, FormatErrorKind::TooLarge { what: "tokens", found, limit }));
        }
    }
    let n_ranks =
        n_ids.checked_sub(n_special).filter(|&n| n <= file.vocab.len() as u64).ok_or_else(|| {
            let (expected, found) = (n_ids.saturating_sub(n_special), file.vocab.len() as u64);
            error("vocab", FormatErrorKind::LengthMismatch { expected, found })
        })?;
    let mut ranks = TokenList::new();
    for (index, entry) in file.vocab.iter().enumerate() {
        if entry.rank >= n_ranks {
            continue;
        }
        let id = (entry.rank + n_special) as u32;
        let is_base64 = ranks.push_with(id, |bytes| base64::decode_onto(entry.bytes.as_bytes(), bytes));
        is_base64.ok_or_else(|| {
            let found = "text that is not".into();
            error(
                format!("vocab[{index}].token_bytes"),
                FormatErrorKind::WrongType { expected: "base64", found },
            )
        })?;
    }
    if ranks.len() as u64 != n_ranks {
        let (expected, found) = (n_ranks, ranks.len() as u64);
        return Err(error("vocab", FormatErrorKind::LengthMismatch { expected, found }));
    }
    tiktoken::spec(ranks, &pattern, special_tokens(file.special, n_special)?)
}

fn special_tokens(listed: Option<Vec<Special>>, n_special: u64) -> Result<Vec<(String, u32)>, FormatError> {
    let listed = listed.unwrap_or_else(|| {
        let name = |(name, rank): (&&str, u64)| Special { rank, text: (*name).to_owned() };
        UNLISTED.iter().zip(0..).map(name).collect()
    });
    if listed.len() as u64 > n_special {
        let (expected, found) = (n_special, listed.len() as u64);
        return Err(error("special_tokens", FormatErrorKind::LengthMismatch { expected, found }));
    }
    let n_listed = listed.len() as u64;
    let mut tokens = Vec::with_capacity(n_special as usize);
    for Special { rank, text } in listed {
        if rank >= n_special {
            let kind = FormatErrorKind::TooLarge {
                what: "as rank of a special token",
                found: rank,
                limit: n_special,
            };
            return Err(error("special_tokens", kind));
        }
        tokens.push((text, rank as u32));
    }
    tokens.extend((n_listed..n_special).map(|id| (format!("<SPECIAL_{id}>"), id as u32)));
    Ok(tokens)
}

/// What is read of the file; everything else is skipped.
#[derive(Default)]
struct File<'de> {
    config: Config,
    vocab: Vec<Entry<'de>>,
    special: Option<Vec<Special>>,
}

#[derive(Default)]
struct Config {
    pattern: Option<String>,
    n_ids: Option<u64>,
    n_special: Option<u64>,
}

#[derive(Default)]
struct Entry<'de> {
    rank: u64,
    bytes: std::borrow::Cow<'de, str>,
}

#[derive(Default)]
struct Special {
    rank: u64,
    text: String,
}

/// Implements `Deserialize` for an object with these keys; other keys are skipped.
macro_rules! object {
    ($type:ty, $($key:literal => $field:ident $(. $inner:ident)?),*) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut value = <$type>::default();
                        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            match &*key {
                                $($key => value.$field $(.$inner)? = map.next_value()?,)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}

object!(File<'de>, "config" => config, "vocab" => vocab, "special_tokens" => special);
object!(Config, "pattern" => pattern, "default_vocab_size" => n_ids, "default_num_special_tokens" => n_special);
object!(Entry<'de>, "rank" => rank, "token_bytes" => bytes);
object!(Special, "rank" => rank, "token_str" => text);

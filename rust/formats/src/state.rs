//! How does a tokenizer travel between processes of one installation?
//!
//! As a `tokenizer.json` behind one line of what that format cannot say: that merges share ranks, which added tokens are
//! no tokens of the model, and the split patterns in our own dialect. Unlike [`crate::write`], reading it back gives
//! the same specification. It is for pickle and `fork`, between equal versions, and is parsed with the same care.

use serde_json::{Value, json};
use tokenloom_tokenize::spec::{Pretokenizer, SplitPattern, TokenizerSpec};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, tokenizer_json, write};

/// The bytes that [`parse`] reads.
///
/// # Errors
/// [`FormatError`] as [`write::tokenizer_json`], except that any split pattern can be said.
pub fn bytes(spec: &TokenizerSpec) -> Result<Vec<u8>, FormatError> {
    let mut plain = spec.clone();
    let mut patterns = Vec::new();
    for step in &mut plain.pretokenizers {
        if let Pretokenizer::Split { pattern: SplitPattern::Regex(pattern), .. } = step {
            patterns.push(std::mem::take(pattern));
        }
    }
    let mut model_ids: Vec<u32> = spec.tokens.iter().map(|(id, _)| *id).collect();
    model_ids.sort_unstable();
    let outside: Vec<u32> = spec
        .added_tokens
        .iter()
        .map(|token| token.id)
        .filter(|id| model_ids.binary_search(id).is_err())
        .collect();
    let head = json!({ "rank_by_result": spec.rank_by_result, "patterns": patterns, "outside": outside });
    let mut bytes = head.to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend(write::tokenizer_json(&plain)?);
    Ok(bytes)
}

/// Reads what [`bytes`] wrote.
///
/// # Errors
/// [`FormatError`] of [`Kind::TokenizerJson`].
pub fn parse(data: &[u8]) -> Result<TokenizerSpec, FormatError> {
    let malformed = || {
        let found = "something else".into();
        FormatError::new(
            Kind::TokenizerJson,
            "state",
            FormatErrorKind::WrongType { expected: "a pickled tokenizer of this version", found },
        )
    };
    let end = data.iter().position(|&byte| byte == b'\n').ok_or_else(malformed)?;
    let head: Value = serde_json::from_slice(&data[..end]).map_err(|_| malformed())?;
    let mut spec = tokenizer_json::parse(&data[end + 1..], tokenizer_json::Options::default())?;
    spec.rank_by_result = head["rank_by_result"].as_bool().ok_or_else(malformed)?;
    let mut patterns = head["patterns"].as_array().ok_or_else(malformed)?.iter();
    for step in &mut spec.pretokenizers {
        if let Pretokenizer::Split { pattern: SplitPattern::Regex(pattern), .. } = step {
            let kept = patterns.next().and_then(Value::as_str).ok_or_else(malformed)?;
            kept.clone_into(pattern);
        }
    }
    let outside = head["outside"].as_array().ok_or_else(malformed)?;
    let mut outside: Vec<u64> = outside.iter().filter_map(Value::as_u64).collect();
    outside.sort_unstable();
    spec.tokens.retain(|(id, _)| outside.binary_search(&u64::from(*id)).is_err());
    Ok(spec)
}

//! How is a tokenizer written so that Hugging Face `tokenizers` gives the same ids?
//!
//! The result is a stock `tokenizer.json`. The format's reader derives ids of added tokens (see
//! [`crate::tokenizer_json`]), so an added token that would be given another id is also written into the vocabulary:
//! there are as few of those as possible, because a vocabulary string may match a whole pretoken.
//!
//! One thing cannot be said in the format: merges that share a rank (tiktoken's) get ranks of their own, in order of
//! the ranks of their parts, as published conversions do. The two readings differ only where two merges to the same
//! token compete for overlapping parts.

use std::fmt::Write;

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::spec::{
    Normalizer, Pretokenizer, SplitBehavior, SplitPattern, Template, TokenizerSpec,
};
use tokenloom_vocab::TokenId;

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, byte_chars, dialect};

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::TokenizerJson, path, kind)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The bytes of a `tokenizer.json` that says what `spec` says.
///
/// # Errors
/// [`FormatError`]: something in `spec` that the format cannot say.
pub fn tokenizer_json(spec: &TokenizerSpec) -> Result<Vec<u8>, FormatError> {
    let texts = Texts::new(spec)?;
    let mut out = String::with_capacity(spec.tokens.len() * 24 + spec.merges.len() * 24 + 4096);
    out.push_str("{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n\"added_tokens\": [");
    let mut added: Vec<_> = spec.added_tokens.iter().collect();
    added.sort_by_key(|token| token.id);
    for (index, token) in added.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let content = quoted(&token.content);
        let flags = [
            ("single_word", token.single_word),
            ("lstrip", token.lstrip),
            ("rstrip", token.rstrip),
            ("normalized", token.normalized),
            ("special", token.special),
        ];
        push(&mut out, format_args!("{comma}\n{{\"id\": {}, \"content\": {content}", token.id));
        for (name, value) in flags {
            push(&mut out, format_args!(", \"{name}\": {value}"));
        }
        out.push('}');
    }
    out.push_str("\n],\n\"normalizer\": ");
    normalizer(&mut out, &spec.normalizers)?;
    out.push_str(",\n\"pre_tokenizer\": ");
    pretokenizer(&mut out, &spec.pretokenizers)?;
    out.push_str(",\n\"post_processor\": ");
    post_processor(&mut out, spec, &texts)?;
    out.push_str(",\n\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, ");
    out.push_str(
        "\"trim_offsets\": true, \"use_regex\": true},\n\"model\": {\n\"type\": \"BPE\", \"dropout\": null, ",
    );
    out.push_str("\"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, ");
    push(
        &mut out,
        format_args!(
            "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": {},",
            spec.ignore_merges
        ),
    );
    out.push_str("\n\"vocab\": {");
    for (index, (id, text)) in texts.vocabulary.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        push(&mut out, format_args!("{comma}\n{}: {id}", quoted(text)));
    }
    out.push_str("\n},\n\"merges\": [");
    for (index, merge) in spec.merges.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let path = || format!("merges[{index}]");
        let (left, right) = (texts.model(merge.left, path)?, texts.model(merge.right, path)?);
        push(&mut out, format_args!("{comma}\n[{}, {}]", quoted(left), quoted(right)));
    }
    out.push_str("\n]\n}\n}\n");
    Ok(out.into_bytes())
}

/// Writing to a `String` cannot fail.
fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a string takes any text");
}

/// The strings that stand for ids.
struct Texts {
    /// What is written under `vocab`, by id.
    vocabulary: Vec<(TokenId, String)>,
    added: HashMap<TokenId, String, FxBuildHasher>,
}

impl Texts {
    fn new(spec: &TokenizerSpec) -> Result<Self, FormatError> {
        let added: HashMap<TokenId, String, FxBuildHasher> =
            spec.added_tokens.iter().map(|token| (token.id, token.content.clone())).collect();
        let mut vocabulary: Vec<(TokenId, String)> = Vec::with_capacity(spec.tokens.len() + added.len());
        // Where an id is both, the content of the added token is written.
        let mut shared: HashMap<TokenId, bool, FxBuildHasher> = HashMap::default();
        for (id, bytes) in &spec.tokens {
            let text = byte_chars::text_of_bytes(bytes);
            match added.get(id) {
                Some(content) => {
                    shared.insert(*id, *content == text);
                    vocabulary.push((*id, content.clone()));
                }
                None => vocabulary.push((*id, text)),
            }
        }
        for (id, bytes) in &spec.decode_only {
            let text = String::from_utf8_lossy(bytes).into_owned();
            shared.insert(*id, false);
            vocabulary.push((*id, text));
        }
        for (index, merge) in spec.merges.iter().enumerate() {
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

fn normalizer(out: &mut String, steps: &[Normalizer]) -> Result<(), FormatError> {
    let name = |step: &Normalizer| match step {
        Normalizer::Nfc => Ok("{\"type\": \"NFC\"}"),
        other => {
            let component = format!("normalizer {other:?}").into();
            Err(error("normalizer", FormatErrorKind::Unsupported { component }))
        }
    };
    match steps {
        [] => out.push_str("null"),
        [only] => out.push_str(name(only)?),
        _ => {
            let names = steps.iter().map(name).collect::<Result<Vec<_>, _>>()?;
            push(out, format_args!("{{\"type\": \"Sequence\", \"normalizers\": [{}]}}", names.join(", ")));
        }
    }
    Ok(())
}

fn pretokenizer(out: &mut String, steps: &[Pretokenizer]) -> Result<(), FormatError> {
    let mut written = Vec::with_capacity(steps.len() + 1);
    for (index, step) in steps.iter().enumerate() {
        let unsupported = |component: String| {
            let path = format!("pre_tokenizer[{index}]");
            error(path, FormatErrorKind::Unsupported { component: component.into() })
        };
        written.push(match step {
            Pretokenizer::Split { pattern, behavior, invert } => {
                let pattern = match pattern {
                    SplitPattern::Literal(text) => format!("{{\"String\": {}}}", quoted(text)),
                    SplitPattern::Regex(regex) => {
                        let regex = dialect::to_oniguruma(regex)
                            .map_err(|what| unsupported(format!("{} in a split pattern", what.0)))?;
                        format!("{{\"Regex\": {}}}", quoted(&regex))
                    }
                };
                let behavior = match behavior {
                    SplitBehavior::Isolated => "Isolated",
                    SplitBehavior::Removed => "Removed",
                    SplitBehavior::MergedWithPrevious => "MergedWithPrevious",
                    SplitBehavior::MergedWithNext => "MergedWithNext",
                    SplitBehavior::Contiguous => "Contiguous",
                };
                format!("{{\"type\": \"Split\", \"pattern\": {pattern}, \"behavior\": \"{behavior}\", \"invert\": {invert}}}")
            }
            Pretokenizer::Digits { individual } => {
                format!("{{\"type\": \"Digits\", \"individual_digits\": {individual}}}")
            }
            Pretokenizer::ByteLevel { add_prefix_space, use_regex } => byte_level(*add_prefix_space, true, *use_regex),
            other => return Err(unsupported(format!("pretokenizer {other:?}"))),
        });
    }
    if !matches!(steps.last(), Some(Pretokenizer::ByteLevel { .. })) {
        written.push(byte_level(false, true, false));
    }
    match written.as_slice() {
        [only] => out.push_str(only),
        all => push(out, format_args!("{{\"type\": \"Sequence\", \"pretokenizers\": [{}]}}", all.join(", "))),
    }
    Ok(())
}

fn byte_level(add_prefix_space: bool, trim_offsets: bool, use_regex: bool) -> String {
    format!(
        "{{\"type\": \"ByteLevel\", \"add_prefix_space\": {add_prefix_space}, \"trim_offsets\": {trim_offsets}, \"use_regex\": {use_regex}}}"
    )
}

fn post_processor(out: &mut String, spec: &TokenizerSpec, texts: &Texts) -> Result<(), FormatError> {
    let trimming = byte_level(spec.trim_keeps_first_space, spec.trim_offsets, true);
    let Template { prefix, suffix } = &spec.template;
    if prefix.is_empty() && suffix.is_empty() {
        out.push_str(&trimming);
        return Ok(());
    }
    let around = |ids: &[TokenId], type_id: u8| -> Result<Vec<String>, FormatError> {
        let piece = |&id: &TokenId| {
            let name = quoted(texts.any(id)?);
            Ok(format!("{{\"SpecialToken\": {{\"id\": {name}, \"type_id\": {type_id}}}}}"))
        };
        ids.iter().map(piece).collect()
    };
    let one = |name: &str, type_id: u8| -> Result<String, FormatError> {
        let mut pieces = around(prefix, type_id)?;
        pieces.push(format!("{{\"Sequence\": {{\"id\": \"{name}\", \"type_id\": {type_id}}}}}"));
        pieces.extend(around(suffix, type_id)?);
        Ok(pieces.join(", "))
    };
    let mut ids: Vec<TokenId> = prefix.iter().chain(suffix).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut definitions = Vec::with_capacity(ids.len());
    for id in ids {
        let name = quoted(texts.any(id)?);
        definitions.push(format!("{name}: {{\"id\": {name}, \"ids\": [{id}], \"tokens\": [{name}]}}"));
    }
    push(
        out,
        format_args!(
            "{{\"type\": \"Sequence\", \"processors\": [{trimming}, {{\"type\": \"TemplateProcessing\", \"single\": [{}], \"pair\": [{}, {}], \"special_tokens\": {{{}}}}}]}}",
            one("A", 0)?,
            one("A", 0)?,
            one("B", 1)?,
            definitions.join(", "),
        ),
    );
    Ok(())
}

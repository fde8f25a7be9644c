//! Which component does a JSON object of a `tokenizer.json` mean?
//!
//! One reader for each kind of component, from a small [`Value`] to its [`definition`](tokenloom_tokenize::pipeline::definition)
//! type. A component is told by its `type` and, where that is missing or not one of the format's names, by its fields,
//! in the order in which the format's own reader tries them. Keys that mean nothing to a component are skipped.

use tokenloom_tokenize::pipeline::definition::{
    Decoder, Normalizer, Padding, Pattern, PostProcessor, PreTokenizer, PrependScheme, Side, TemplatePiece,
    TemplateToken, Truncation, TruncationStrategy,
};
use tokenloom_tokenize::spec::SplitBehavior;

use crate::base64;
use crate::error::{FormatError, FormatErrorKind};
use crate::json::value::{At, Value};

/// The `type`, if there is one and it is text.
fn type_of<'a>(at: &At<'a>) -> Result<Option<&'a str>, FormatError> {
    at.get("type")?.map(|tag| tag.text()).transpose()
}

fn has(at: &At<'_>, keys: &[&str]) -> Result<bool, FormatError> {
    for key in keys {
        if at.get(key)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unknown(at: &At<'_>) -> Result<FormatError, FormatError> {
    Ok(match type_of(at)? {
        Some(name) => at.unsupported(name),
        None => at.error(FormatErrorKind::MissingField { field: "type" }),
    })
}

fn flag(at: &At<'_>, key: &'static str) -> Result<bool, FormatError> {
    at.field(key)?.flag()
}

fn text(at: &At<'_>, key: &'static str) -> Result<String, FormatError> {
    at.field(key)?.text().map(str::to_owned)
}

fn list<T>(
    at: &At<'_>,
    key: &'static str,
    read: impl Fn(&At<'_>) -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    at.field(key)?.items()?.iter().map(read).collect()
}

fn character(at: &At<'_>, key: &'static str) -> Result<char, FormatError> {
    let value = at.field(key)?;
    let mut chars = value.text()?.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(value.wrong_type("one character")),
    }
}

/// Reads a component that may be absent.
pub(crate) fn optional<T>(
    at: &At<'_>,
    read: impl Fn(&At<'_>) -> Result<T, FormatError>,
) -> Result<Option<T>, FormatError> {
    if at.is_null() { Ok(None) } else { read(at).map(Some) }
}

pub(crate) fn normalizer(at: &At<'_>) -> Result<Normalizer, FormatError> {
    Ok(match type_of(at)?.unwrap_or_default() {
        "StripAccents" => Normalizer::StripAccents,
        "NFC" => Normalizer::Nfc,
        "NFD" => Normalizer::Nfd,
        "NFKC" => Normalizer::Nfkc,
        "NFKD" => Normalizer::Nfkd,
        "Lowercase" => Normalizer::Lowercase,
        "Nmt" => Normalizer::Nmt,
        "ByteLevel" => Normalizer::ByteLevel,
        "Bert" => bert_normalizer(at)?,
        "Strip" => strip_normalizer(at)?,
        "Sequence" => Normalizer::Sequence(list(at, "normalizers", normalizer)?),
        "Precompiled" => precompiled(at)?,
        "Replace" => replace(at).map(|(pattern, content)| Normalizer::Replace { pattern, content })?,
        "Prepend" => Normalizer::Prepend { prepend: text(at, "prepend")? },
        _ if has(at, &["clean_text", "handle_chinese_chars", "lowercase"])? => bert_normalizer(at)?,
        _ if has(at, &["strip_left", "strip_right"])? => strip_normalizer(at)?,
        _ if has(at, &["normalizers"])? => Normalizer::Sequence(list(at, "normalizers", normalizer)?),
        _ if has(at, &["precompiled_charsmap"])? => precompiled(at)?,
        _ if has(at, &["pattern", "content"])? => {
            replace(at).map(|(pattern, content)| Normalizer::Replace { pattern, content })?
        }
        _ if has(at, &["prepend"])? => Normalizer::Prepend { prepend: text(at, "prepend")? },
        _ => return Err(unknown(at)?),
    })
}

fn bert_normalizer(at: &At<'_>) -> Result<Normalizer, FormatError> {
    Ok(Normalizer::Bert {
        clean_text: flag(at, "clean_text")?,
        handle_chinese_chars: flag(at, "handle_chinese_chars")?,
        strip_accents: at.get("strip_accents")?.map(|value| value.flag()).transpose()?,
        lowercase: flag(at, "lowercase")?,
    })
}

fn strip_normalizer(at: &At<'_>) -> Result<Normalizer, FormatError> {
    Ok(Normalizer::Strip { left: flag(at, "strip_left")?, right: flag(at, "strip_right")? })
}

fn precompiled(at: &At<'_>) -> Result<Normalizer, FormatError> {
    let map = at.field("precompiled_charsmap")?;
    let mut charsmap = Vec::new();
    match base64::decode_onto(map.text()?.as_bytes(), &mut charsmap) {
        Some(()) => Ok(Normalizer::Precompiled { charsmap }),
        None => {
            Err(map
                .error(FormatErrorKind::WrongType { expected: "base64", found: "text that is not".into() }))
        }
    }
}

fn pattern(at: &At<'_>) -> Result<Pattern, FormatError> {
    let at = at.field("pattern")?;
    match at.value {
        Value::Object(fields) if fields.len() == 1 => {}
        _ => return Err(at.wrong_type("a Regex or a String")),
    }
    if let Some(regex) = at.get("Regex")? {
        Ok(Pattern::Regex(regex.text()?.to_owned()))
    } else if let Some(literal) = at.get("String")? {
        Ok(Pattern::Literal(literal.text()?.to_owned()))
    } else {
        Err(at.wrong_type("a Regex or a String"))
    }
}

fn replace(at: &At<'_>) -> Result<(Pattern, String), FormatError> {
    Ok((pattern(at)?, text(at, "content")?))
}

fn behavior(at: &At<'_>) -> Result<SplitBehavior, FormatError> {
    Ok(match at.text()? {
        "Removed" => SplitBehavior::Removed,
        "Isolated" => SplitBehavior::Isolated,
        "MergedWithPrevious" => SplitBehavior::MergedWithPrevious,
        "MergedWithNext" => SplitBehavior::MergedWithNext,
        "Contiguous" => SplitBehavior::Contiguous,
        _ => return Err(at.wrong_type("a split behavior")),
    })
}

pub(crate) fn pre_tokenizer(at: &At<'_>) -> Result<PreTokenizer, FormatError> {
    Ok(match type_of(at)?.unwrap_or_default() {
        "BertPreTokenizer" => PreTokenizer::Bert,
        "ByteLevel" => {
            let (add_prefix_space, trim_offsets, use_regex) = byte_level(at)?;
            PreTokenizer::ByteLevel { add_prefix_space, trim_offsets, use_regex }
        }
        "CharDelimiterSplit" => PreTokenizer::CharDelimiterSplit { delimiter: character(at, "delimiter")? },
        "Metaspace" => {
            let (replacement, prepend_scheme, split) = metaspace(at)?;
            PreTokenizer::Metaspace { replacement, prepend_scheme, split }
        }
        "Whitespace" => PreTokenizer::Whitespace,
        "Sequence" => PreTokenizer::Sequence(list(at, "pretokenizers", pre_tokenizer)?),
        "Split" => PreTokenizer::Split {
            pattern: pattern(at)?,
            behavior: behavior(&at.field("behavior")?)?,
            invert: flag(at, "invert")?,
        },
        "Punctuation" => PreTokenizer::Punctuation {
            behavior: at.get("behavior")?.map_or(Ok(SplitBehavior::Isolated), |value| behavior(&value))?,
        },
        "WhitespaceSplit" => PreTokenizer::WhitespaceSplit,
        "Digits" => PreTokenizer::Digits { individual_digits: flag(at, "individual_digits")? },
        "UnicodeScripts" => PreTokenizer::UnicodeScripts,
        "FixedLength" => {
            let length = at.get("length")?.map_or(Ok(5), |value| value.count())?;
            PreTokenizer::FixedLength { length }
        }
        _ => return Err(unknown(at)?),
    })
}

fn byte_level(at: &At<'_>) -> Result<(bool, bool, bool), FormatError> {
    Ok((flag(at, "add_prefix_space")?, flag(at, "trim_offsets")?, at.flag_or("use_regex", true)?))
}

/// Files before `prepend_scheme` say `add_prefix_space`; `str_rep` repeats the replacement.
fn metaspace(at: &At<'_>) -> Result<(char, PrependScheme, bool), FormatError> {
    let scheme_at = at.get("prepend_scheme")?;
    let scheme = match scheme_at.as_ref().map(|value| value.text()).transpose()? {
        None | Some("always") => PrependScheme::Always,
        Some("first") => PrependScheme::First,
        Some("never") => PrependScheme::Never,
        Some(_) => return Err(at.field("prepend_scheme")?.wrong_type("first, never or always")),
    };
    let scheme = match at.get("add_prefix_space")?.map(|value| value.flag()).transpose()? {
        // Without a scheme beside it, the flag is the scheme.
        Some(false) if scheme_at.is_none() || scheme == PrependScheme::Never => PrependScheme::Never,
        Some(false) => {
            return Err(at.field("add_prefix_space")?.wrong_type("what prepend_scheme says"));
        }
        _ => scheme,
    };
    Ok((character(at, "replacement")?, scheme, at.flag_or("split", true)?))
}

pub(crate) fn decoder(at: &At<'_>) -> Result<Decoder, FormatError> {
    Ok(match type_of(at)?.unwrap_or_default() {
        "BPEDecoder" => Decoder::Bpe { suffix: text(at, "suffix")? },
        "ByteLevel" => {
            let (add_prefix_space, trim_offsets, use_regex) = byte_level(at)?;
            Decoder::ByteLevel { add_prefix_space, trim_offsets, use_regex }
        }
        "WordPiece" => word_piece_decoder(at)?,
        "Metaspace" => {
            let (replacement, prepend_scheme, split) = metaspace(at)?;
            Decoder::Metaspace { replacement, prepend_scheme, split }
        }
        "CTC" => ctc(at)?,
        "Sequence" => Decoder::Sequence(list(at, "decoders", decoder)?),
        "Replace" => replace(at).map(|(pattern, content)| Decoder::Replace { pattern, content })?,
        "Fuse" => Decoder::Fuse,
        "Strip" => strip_decoder(at)?,
        "ByteFallback" => Decoder::ByteFallback,
        _ if has(at, &["suffix"])? => Decoder::Bpe { suffix: text(at, "suffix")? },
        _ if has(at, &["prefix", "cleanup"])? => word_piece_decoder(at)?,
        _ if has(at, &["pad_token", "word_delimiter_token", "cleanup"])? => ctc(at)?,
        _ if has(at, &["pattern", "content"])? => {
            replace(at).map(|(pattern, content)| Decoder::Replace { pattern, content })?
        }
        _ if has(at, &["content", "start", "stop"])? => strip_decoder(at)?,
        _ => return Err(unknown(at)?),
    })
}

fn word_piece_decoder(at: &At<'_>) -> Result<Decoder, FormatError> {
    Ok(Decoder::WordPiece { prefix: text(at, "prefix")?, cleanup: flag(at, "cleanup")? })
}

fn ctc(at: &At<'_>) -> Result<Decoder, FormatError> {
    Ok(Decoder::Ctc {
        pad_token: text(at, "pad_token")?,
        word_delimiter_token: text(at, "word_delimiter_token")?,
        cleanup: flag(at, "cleanup")?,
    })
}

fn strip_decoder(at: &At<'_>) -> Result<Decoder, FormatError> {
    Ok(Decoder::Strip {
        content: character(at, "content")?,
        start: at.field("start")?.count()?,
        stop: at.field("stop")?.count()?,
    })
}

/// The format's reader tells post-processors by their fields alone, so a BERT template with the two flags is RoBERTa's.
pub(crate) fn post_processor(at: &At<'_>) -> Result<PostProcessor, FormatError> {
    let name = type_of(at)?.unwrap_or_default();
    if has(at, &["sep", "cls"])? {
        let (sep, cls) = (named_token(&at.field("sep")?)?, named_token(&at.field("cls")?)?);
        return Ok(if has(at, &["trim_offsets", "add_prefix_space"])? {
            let (trim_offsets, add_prefix_space) = (flag(at, "trim_offsets")?, flag(at, "add_prefix_space")?);
            PostProcessor::Roberta { sep, cls, trim_offsets, add_prefix_space }
        } else {
            PostProcessor::Bert { sep, cls }
        });
    }
    Ok(match name {
        "ByteLevel" => {
            let (add_prefix_space, trim_offsets, use_regex) = byte_level(at)?;
            PostProcessor::ByteLevel { add_prefix_space, trim_offsets, use_regex }
        }
        "Sequence" => PostProcessor::Sequence(list(at, "processors", post_processor)?),
        "RobertaProcessing" | "BertProcessing" => {
            return Err(at.error(FormatErrorKind::MissingField { field: "sep" }));
        }
        "TemplateProcessing" => template(at)?,
        _ if has(at, &["single", "pair", "special_tokens"])? => template(at)?,
        _ => return Err(unknown(at)?),
    })
}

/// `["<s>", 0]`
fn named_token(at: &At<'_>) -> Result<(String, u32), FormatError> {
    match at.items()?.as_slice() {
        [name, id] => Ok((name.text()?.to_owned(), id.id()?)),
        _ => Err(at.wrong_type("a name and an id")),
    }
}

fn template(at: &At<'_>) -> Result<PostProcessor, FormatError> {
    let tokens_at = at.field("special_tokens")?;
    let mut special_tokens = Vec::new();
    for (name, value) in tokens_at.entries()? {
        let ids = list(&value, "ids", |id| id.id())?;
        let tokens = list(&value, "tokens", |token| token.text().map(str::to_owned))?;
        if ids.len() != tokens.len() {
            let (expected, found) = (ids.len() as u64, tokens.len() as u64);
            return Err(value.field("tokens")?.error(FormatErrorKind::LengthMismatch { expected, found }));
        }
        // The template names a token by its key; the `id` inside repeats it.
        text(&value, "id")?;
        special_tokens.push(TemplateToken { id: name.to_owned(), ids, tokens });
    }
    special_tokens.sort_by(|left, right| left.id.cmp(&right.id));
    let piece = |piece: &At<'_>| template_piece(piece, &special_tokens);
    let (single, pair) = (list(at, "single", piece)?, list(at, "pair", piece)?);
    Ok(PostProcessor::Template { single, pair, special_tokens })
}

fn template_piece(at: &At<'_>, special_tokens: &[TemplateToken]) -> Result<TemplatePiece, FormatError> {
    if let Some(sequence) = at.get("Sequence")? {
        let name = sequence.field("id")?;
        let is_second = match name.text()? {
            "A" => false,
            "B" => true,
            _ => return Err(name.wrong_type("A or B")),
        };
        return Ok(TemplatePiece::Sequence { is_second, type_id: sequence.field("type_id")?.number()? });
    }
    let Some(special) = at.get("SpecialToken")? else {
        return Err(at.wrong_type("a Sequence or a SpecialToken"));
    };
    let name_at = special.field("id")?;
    let id = name_at.text()?.to_owned();
    if special_tokens.binary_search_by(|token| token.id.as_str().cmp(&id)).is_err() {
        return Err(name_at.error(FormatErrorKind::UndefinedToken { token: id.into() }));
    }
    Ok(TemplatePiece::SpecialToken { id, type_id: special.field("type_id")?.number()? })
}

fn side(at: &At<'_>) -> Result<Side, FormatError> {
    match at.text()? {
        "Left" => Ok(Side::Left),
        "Right" => Ok(Side::Right),
        _ => Err(at.wrong_type("Left or Right")),
    }
}

pub(crate) fn truncation(at: &At<'_>) -> Result<Truncation, FormatError> {
    let strategy_at = at.field("strategy")?;
    Ok(Truncation {
        direction: at.get("direction")?.map_or(Ok(Side::Right), |value| side(&value))?,
        max_length: at.field("max_length")?.count()?,
        strategy: match strategy_at.text()? {
            "LongestFirst" => TruncationStrategy::LongestFirst,
            "OnlyFirst" => TruncationStrategy::OnlyFirst,
            "OnlySecond" => TruncationStrategy::OnlySecond,
            _ => return Err(strategy_at.wrong_type("LongestFirst, OnlyFirst or OnlySecond")),
        },
        stride: at.field("stride")?.count()?,
    })
}

pub(crate) fn padding(at: &At<'_>) -> Result<Padding, FormatError> {
    let strategy = at.field("strategy")?;
    let length = match strategy.value {
        Value::Text(name) if &**name == "BatchLongest" => None,
        Value::Object(_) => Some(strategy.field("Fixed")?.count()?),
        _ => return Err(strategy.wrong_type("BatchLongest or Fixed")),
    };
    Ok(Padding {
        length,
        direction: side(&at.field("direction")?)?,
        pad_to_multiple_of: at.get("pad_to_multiple_of")?.map(|value| value.count()).transpose()?,
        pad_id: at.field("pad_id")?.id()?,
        pad_type_id: at.field("pad_type_id")?.number()?,
        pad_token: text(at, "pad_token")?,
    })
}

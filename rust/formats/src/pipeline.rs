//! Which steps stand around the model of a `tokenizer.json`?
//!
//! Each reader takes one component and returns its meaning, or names the part that is not supported: nothing is left
//! out silently. A component whose effect on a byte-level model is provably none is accepted (decoder flags, the
//! pretokenizer's own `trim_offsets`).

use tokenloom_tokenize::spec::{Normalizer, Pretokenizer, SplitBehavior, SplitPattern, Template};

use crate::dialect;
use crate::error::{FormatError, FormatErrorKind};
use crate::json_value::{At, Value};

/// The name of a component's type.
fn type_of<'a>(at: &At<'a>) -> Result<&'a str, FormatError> {
    at.field("type")?.text()
}

pub(crate) fn normalizers(at: &At<'_>) -> Result<Vec<Normalizer>, FormatError> {
    if at.is_null() {
        return Ok(Vec::new());
    }
    match type_of(at)? {
        "NFC" => Ok(vec![Normalizer::Nfc]),
        "Sequence" => {
            let mut steps = Vec::new();
            for item in at.field("normalizers")?.items()? {
                steps.extend(normalizers(&item)?);
            }
            Ok(steps)
        }
        name => Err(at.unsupported(name)),
    }
}

pub(crate) fn pretokenizers(at: &At<'_>) -> Result<Vec<Pretokenizer>, FormatError> {
    let mut steps = Vec::new();
    if !at.is_null() {
        collect_pretokenizers(at, &mut steps)?;
    }
    // The characters that stand for bytes exist behind the ByteLevel step only; a model over plain characters, or a
    // step that would see those characters instead of text, is another machine.
    let n_byte_level = steps.iter().filter(|step| matches!(step, Pretokenizer::ByteLevel { .. })).count();
    let is_last = matches!(steps.last(), Some(Pretokenizer::ByteLevel { .. }));
    match (n_byte_level, is_last) {
        (1, true) => Ok(steps),
        (0, _) => Err(at.unsupported("without a ByteLevel step")),
        (1, false) => Err(at.unsupported("with a step behind ByteLevel")),
        _ => Err(at.unsupported("with two ByteLevel steps")),
    }
}

fn collect_pretokenizers(at: &At<'_>, steps: &mut Vec<Pretokenizer>) -> Result<(), FormatError> {
    match type_of(at)? {
        "Sequence" => {
            for item in at.field("pretokenizers")?.items()? {
                collect_pretokenizers(&item, steps)?;
            }
        }
        "ByteLevel" => {
            let add_prefix_space = at.field("add_prefix_space")?.flag()?;
            let use_regex = at.flag_or("use_regex", true)?;
            steps.push(Pretokenizer::ByteLevel { add_prefix_space, use_regex });
        }
        "Digits" => {
            let individual = at.field("individual_digits")?.flag()?;
            steps.push(Pretokenizer::Digits { individual });
        }
        "Split" => steps.push(split(at)?),
        name => return Err(at.unsupported(name)),
    }
    Ok(())
}

fn split(at: &At<'_>) -> Result<Pretokenizer, FormatError> {
    let pattern_at = at.field("pattern")?;
    let pattern = if let Some(regex) = pattern_at.get("Regex")? {
        let translated = dialect::from_oniguruma(regex.text()?)
            .map_err(|what| regex.unsupported(format!("with {}", what.0)))?;
        SplitPattern::Regex(translated.into_owned())
    } else if let Some(literal) = pattern_at.get("String")? {
        SplitPattern::Literal(literal.text()?.to_owned())
    } else {
        return Err(pattern_at.wrong_type("a Regex or a String"));
    };
    let behavior_at = at.field("behavior")?;
    let behavior = match behavior_at.text()? {
        "Removed" => SplitBehavior::Removed,
        "Isolated" => SplitBehavior::Isolated,
        "MergedWithPrevious" => SplitBehavior::MergedWithPrevious,
        "MergedWithNext" => SplitBehavior::MergedWithNext,
        "Contiguous" => SplitBehavior::Contiguous,
        _ => return Err(behavior_at.wrong_type("a split behavior")),
    };
    Ok(Pretokenizer::Split { pattern, behavior, invert: at.field("invert")?.flag()? })
}

/// What the post-processor says: ids around the text and the trimming of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PostProcessor {
    pub(crate) template: Template,
    pub(crate) trim_offsets: bool,
    pub(crate) trim_keeps_first_space: bool,
}

pub(crate) fn post_processor(at: &At<'_>) -> Result<PostProcessor, FormatError> {
    let mut result = PostProcessor::default();
    if !at.is_null() {
        collect_post_processors(at, &mut result)?;
    }
    Ok(result)
}

fn collect_post_processors(at: &At<'_>, result: &mut PostProcessor) -> Result<(), FormatError> {
    match type_of(at)? {
        "Sequence" => {
            for item in at.field("processors")?.items()? {
                collect_post_processors(&item, result)?;
            }
        }
        "ByteLevel" => set_trimming(at, result)?,
        "RobertaProcessing" => {
            set_trimming(at, result)?;
            set_template(at, result, vec![named_id(&at.field("cls")?)?], vec![named_id(&at.field("sep")?)?])?;
        }
        "BertProcessing" => {
            set_template(at, result, vec![named_id(&at.field("cls")?)?], vec![named_id(&at.field("sep")?)?])?;
        }
        "TemplateProcessing" => {
            let (prefix, suffix) = template(at)?;
            set_template(at, result, prefix, suffix)?;
        }
        name => return Err(at.unsupported(name)),
    }
    Ok(())
}

fn set_trimming(at: &At<'_>, result: &mut PostProcessor) -> Result<(), FormatError> {
    let trims = at.field("trim_offsets")?.flag()?;
    let keeps_first_space = at.field("add_prefix_space")?.flag()?;
    if trims && result.trim_offsets {
        return Err(at.unsupported("that trims offsets a second time"));
    }
    if trims {
        result.trim_offsets = true;
        result.trim_keeps_first_space = keeps_first_space;
    }
    Ok(())
}

fn set_template(
    at: &At<'_>,
    result: &mut PostProcessor,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
) -> Result<(), FormatError> {
    if result.template != Template::default() {
        return Err(at.unsupported("that adds ids a second time"));
    }
    result.template = Template { prefix, suffix };
    Ok(())
}

/// `["<s>", 0]`
fn named_id(at: &At<'_>) -> Result<u32, FormatError> {
    match at.items()?.as_slice() {
        [name, id] => {
            name.text()?;
            id.id()
        }
        _ => Err(at.wrong_type("a name and an id")),
    }
}

fn template(at: &At<'_>) -> Result<(Vec<u32>, Vec<u32>), FormatError> {
    let special_tokens = at.field("special_tokens")?;
    let (mut prefix, mut suffix, mut n_sequences) = (Vec::new(), Vec::new(), 0);
    for piece in at.field("single")?.items()? {
        if let Some(sequence) = piece.get("Sequence")? {
            if sequence.field("id")?.text()? != "A" {
                return Err(sequence.unsupported("other than A in the template of one text"));
            }
            n_sequences += 1;
        } else if let Some(special) = piece.get("SpecialToken")? {
            let name_at = special.field("id")?;
            let name = name_at.text()?;
            let definition = special_tokens
                .get(name)?
                .ok_or_else(|| name_at.error(FormatErrorKind::UndefinedToken { token: name.into() }))?;
            let around = if n_sequences == 0 { &mut prefix } else { &mut suffix };
            for id in definition.field("ids")?.items()? {
                around.push(id.id()?);
            }
        } else {
            return Err(piece.wrong_type("a Sequence or a SpecialToken"));
        }
    }
    if n_sequences != 1 {
        return Err(at.unsupported("whose template does not hold the text once"));
    }
    Ok((prefix, suffix))
}

/// Only the byte-level decoder undoes the byte mapping, and only it is a concatenation of bytes.
pub(crate) fn check_decoder(at: &At<'_>) -> Result<(), FormatError> {
    if at.is_null() {
        return Err(at.unsupported("null"));
    }
    match type_of(at)? {
        "ByteLevel" => Ok(()),
        "Sequence" => match at.field("decoders")?.items()?.as_slice() {
            [only] => check_decoder(only),
            _ => Err(at.unsupported("Sequence of several steps")),
        },
        name => Err(at.unsupported(name)),
    }
}

/// `truncation` and `padding` would cut and fill what `encode` returns.
pub(crate) fn check_absent(at: &At<'_>) -> Result<(), FormatError> {
    match at.value {
        Value::Null => Ok(()),
        _ => Err(at.unsupported("")),
    }
}

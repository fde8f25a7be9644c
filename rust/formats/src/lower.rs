//! Which definitions does the compiled machine reproduce exactly, and as what?
//!
//! Each component is turned into the machine's terms, or named as the reason why the file stays with the machine that
//! interprets definitions: nothing is left out silently. A component whose effect on a byte-level model is provably none
//! is accepted (decoder flags, the pretokenizer's own `trim_offsets`, an unknown token that no text can reach).

use tokenloom_tokenize::pipeline::definition::{
    BpeModel, Decoder, Normalizer as DefinedNormalizer, Pattern, PostProcessor, PreTokenizer, TemplatePiece,
};
use tokenloom_tokenize::spec::{Normalizer, Pretokenizer, SplitPattern, Template, TokenizerSpec};
use tokenloom_vocab::{AddedToken, TokenList};

use crate::error::{FormatError, FormatErrorKind};
use crate::json::document::{Document, FlatBpe, FlatModel};
use crate::json::vocab::Vocab;
use crate::tokenizer_json::Options;
use crate::{Kind, byte_chars, dialect, lower_characters};

pub(crate) fn unsupported(path: &str, what: impl AsRef<str>) -> FormatError {
    let component = format!("{path} {}", what.as_ref()).trim_end().into();
    FormatError::new(Kind::TokenizerJson, path, FormatErrorKind::Unsupported { component })
}

/// The specification of a document, which then has no merges, or the component that has none.
pub(crate) fn lower(document: &mut Document, options: Options) -> Result<TokenizerSpec, FormatError> {
    check_stored(document, options)?;
    let mut spec = lower_all_but_merges(document)?;
    if let FlatModel::Bpe(model) = &mut document.model {
        spec.merges = std::mem::take(&mut model.merges);
    }
    drop_unreachable(&mut spec);
    Ok(spec)
}

fn lower_all_but_merges(document: &Document) -> Result<TokenizerSpec, FormatError> {
    let model = match &document.model {
        FlatModel::Bpe(model) => model,
        FlatModel::Other(_) => return Err(unsupported("model", "other than BPE")),
    };
    check_options(&model.options)?;
    check_added_ids(model, &document.added_tokens)?;
    check_added_spaces(&document.added_tokens)?;
    if model.options.byte_fallback && !is_byte_level(document.pre_tokenizer.as_ref()) {
        return lower_characters::lower(document, model);
    }
    let mut spec = TokenizerSpec {
        ignore_merges: model.options.ignore_merges,
        added_tokens: document.added_tokens.clone(),
        ..TokenizerSpec::default()
    };
    if let Some(step) = &document.normalizer {
        normalizers(step, "normalizer", &mut spec.normalizers)?;
    }
    spec.pretokenizers = pretokenizers(document.pre_tokenizer.as_ref())?;
    if let Some(step) = &document.post_processor {
        post_processor(step, "post_processor", &mut spec)?;
    }
    check_decoder(document.decoder.as_ref(), "decoder")?;
    sort_tokens(&model.vocab, &mut spec);
    check_unknown(&model.options, &spec)?;
    check_template(model, &spec)?;
    Ok(spec)
}

/// The format's reader puts ids of templates around a text whether or not they are tokens.
pub(crate) fn check_template(model: &FlatBpe, spec: &TokenizerSpec) -> Result<(), FormatError> {
    let Template { prefix, suffix } = &spec.template;
    let is_token = |id: u32| model.vocab.is_taken(id) || spec.added_tokens.iter().any(|token| token.id == id);
    match prefix.iter().chain(suffix).find(|&&id| !is_token(id)) {
        None => Ok(()),
        Some(id) => Err(unsupported("post_processor", format!("with the id {id}, which is no token"))),
    }
}

/// A match that takes the white space behind it does not keep the format from matching a token in that space; here it
/// does.
fn check_added_spaces(tokens: &[AddedToken]) -> Result<(), FormatError> {
    let Some(index) = tokens.iter().position(|token| token.rstrip) else { return Ok(()) };
    if tokens.iter().any(|token| token.content.starts_with(char::is_whitespace)) {
        return Err(unsupported(
            &format!("added_tokens[{index}]"),
            "with rstrip beside a token of white space",
        ));
    }
    Ok(())
}

/// The format's reader would cut and fill every result.
pub(crate) fn check_stored(document: &Document, options: Options) -> Result<(), FormatError> {
    match (&document.truncation, &document.padding) {
        _ if options.ignore_truncation_and_padding => Ok(()),
        (Some(_), _) => Err(unsupported("truncation", "")),
        (_, Some(_)) => Err(unsupported("padding", "")),
        _ => Ok(()),
    }
}

/// Whether text reaches the model as characters that stand for bytes.
fn is_byte_level(component: Option<&PreTokenizer>) -> bool {
    match component {
        Some(PreTokenizer::ByteLevel { .. }) => true,
        Some(PreTokenizer::Sequence(items)) => items.iter().any(|item| is_byte_level(Some(item))),
        _ => false,
    }
}

fn check_options(model: &BpeModel) -> Result<(), FormatError> {
    for (path, affix) in [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(affix) = affix
            && !affix.is_empty()
        {
            return Err(unsupported(path, format!("{affix:?}")));
        }
    }
    match model.dropout {
        Some(dropout) if dropout > 0.0 => Err(unsupported("model.dropout", "other than 0")),
        _ => Ok(()),
    }
}

/// What the model does with a character that is no token has no effect where every byte of UTF-8 is one.
fn check_unknown(model: &BpeModel, spec: &TokenizerSpec) -> Result<(), FormatError> {
    let path = match model {
        BpeModel { byte_fallback: true, .. } => "model.byte_fallback",
        BpeModel { unk_token: Some(_), .. } => "model.unk_token",
        _ => return Ok(()),
    };
    let mut present = [false; 256];
    for (_, bytes) in spec.tokens.iter() {
        if let [byte] = bytes {
            present[usize::from(*byte)] = true;
        }
    }
    match (0..=255u8).find(|&byte| is_in_utf8(byte) && !present[byte as usize]) {
        None => Ok(()),
        Some(byte) => Err(unsupported(path, format!("with byte {byte:#04x} missing from the vocabulary"))),
    }
}

/// Thirteen byte values occur in no UTF-8 text.
fn is_in_utf8(byte: u8) -> bool {
    !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF)
}

/// An added token that is not in the vocabulary may be numbered like a token of it, where the ids have gaps.
fn check_added_ids(model: &FlatBpe, added_tokens: &[AddedToken]) -> Result<(), FormatError> {
    for (index, token) in added_tokens.iter().enumerate() {
        if model.vocab.is_taken(token.id) && model.vocab.id(&token.content) != Some(token.id) {
            let path = format!("added_tokens[{index}]");
            return Err(unsupported(&path, format!("with the id {} of another token", token.id)));
        }
    }
    Ok(())
}

fn normalizers(step: &DefinedNormalizer, path: &str, steps: &mut Vec<Normalizer>) -> Result<(), FormatError> {
    match step {
        DefinedNormalizer::Nfc => steps.push(Normalizer::Nfc),
        DefinedNormalizer::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                normalizers(item, &format!("{path}.normalizers[{index}]"), steps)?;
            }
        }
        other => return Err(unsupported(path, kind_of(other))),
    }
    Ok(())
}

/// The name of a variant: what its debug form starts with.
pub(crate) fn kind_of(component: &impl std::fmt::Debug) -> String {
    let text = format!("{component:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn pretokenizers(component: Option<&PreTokenizer>) -> Result<Vec<Pretokenizer>, FormatError> {
    let path = "pre_tokenizer";
    let mut steps = Vec::new();
    if let Some(component) = component {
        collect_pretokenizers(component, path, &mut steps)?;
    }
    // The characters that stand for bytes exist behind the ByteLevel step only; a model over plain characters, or a
    // step that would see those characters instead of text, is another machine.
    let n_byte_level = steps.iter().filter(|step| matches!(step, Pretokenizer::ByteLevel { .. })).count();
    let is_last = matches!(steps.last(), Some(Pretokenizer::ByteLevel { .. }));
    match (n_byte_level, is_last) {
        (1, true) => Ok(steps),
        (0, _) => Err(unsupported(path, "without a ByteLevel step")),
        (1, false) => Err(unsupported(path, "with a step behind ByteLevel")),
        _ => Err(unsupported(path, "with two ByteLevel steps")),
    }
}

fn collect_pretokenizers(
    component: &PreTokenizer,
    path: &str,
    steps: &mut Vec<Pretokenizer>,
) -> Result<(), FormatError> {
    match component {
        PreTokenizer::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_pretokenizers(item, &format!("{path}.pretokenizers[{index}]"), steps)?;
            }
        }
        PreTokenizer::ByteLevel { add_prefix_space, use_regex, .. } => {
            let (add_prefix_space, use_regex) = (*add_prefix_space, *use_regex);
            steps.push(Pretokenizer::ByteLevel { add_prefix_space, use_regex });
        }
        PreTokenizer::Digits { individual_digits } => {
            steps.push(Pretokenizer::Digits { individual: *individual_digits });
        }
        PreTokenizer::Split { pattern, behavior, invert } => {
            let pattern = match pattern {
                Pattern::Literal(literal) if literal.is_empty() => {
                    return Err(unsupported(&format!("{path}.pattern.String"), "that is empty"));
                }
                Pattern::Literal(literal) => SplitPattern::Literal(literal.clone()),
                Pattern::Regex(regex) => {
                    let path = format!("{path}.pattern.Regex");
                    let translated = dialect::from_oniguruma(regex)
                        .map_err(|what| unsupported(&path, format!("with {}", what.0)))?;
                    SplitPattern::Regex(translated.into_owned())
                }
            };
            steps.push(Pretokenizer::Split { pattern, behavior: *behavior, invert: *invert });
        }
        other => return Err(unsupported(path, kind_of(other))),
    }
    Ok(())
}

pub(crate) fn post_processor(
    component: &PostProcessor,
    path: &str,
    spec: &mut TokenizerSpec,
) -> Result<(), FormatError> {
    match component {
        PostProcessor::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                post_processor(item, &format!("{path}.processors[{index}]"), spec)?;
            }
        }
        PostProcessor::ByteLevel { trim_offsets, add_prefix_space, .. } => {
            set_trimming(path, *trim_offsets, *add_prefix_space, spec)?;
        }
        PostProcessor::Roberta { sep, cls, trim_offsets, add_prefix_space } => {
            set_trimming(path, *trim_offsets, *add_prefix_space, spec)?;
            set_template(path, vec![cls.1], vec![sep.1], spec)?;
        }
        PostProcessor::Bert { sep, cls } => set_template(path, vec![cls.1], vec![sep.1], spec)?,
        PostProcessor::Template { single, special_tokens, .. } => {
            let (mut prefix, mut suffix, mut n_sequences) = (Vec::new(), Vec::new(), 0);
            for (index, piece) in single.iter().enumerate() {
                match piece {
                    TemplatePiece::Sequence { is_second: false, .. } => n_sequences += 1,
                    TemplatePiece::Sequence { .. } => {
                        let path = format!("{path}.single[{index}].Sequence");
                        return Err(unsupported(&path, "other than A in the template of one text"));
                    }
                    TemplatePiece::SpecialToken { id, .. } => {
                        let around = if n_sequences == 0 { &mut prefix } else { &mut suffix };
                        let defined = special_tokens.iter().find(|token| token.id == *id);
                        around.extend(defined.iter().flat_map(|token| &token.ids));
                    }
                }
            }
            if n_sequences != 1 {
                return Err(unsupported(path, "whose template does not hold the text once"));
            }
            set_template(path, prefix, suffix, spec)?;
        }
        other => return Err(unsupported(path, kind_of(other))),
    }
    Ok(())
}

fn set_trimming(
    path: &str,
    trims: bool,
    keeps_first_space: bool,
    spec: &mut TokenizerSpec,
) -> Result<(), FormatError> {
    if trims && spec.trim_offsets {
        return Err(unsupported(path, "that trims offsets a second time"));
    }
    if trims {
        spec.trim_offsets = true;
        spec.trim_keeps_first_space = keeps_first_space;
    }
    Ok(())
}

fn set_template(
    path: &str,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    spec: &mut TokenizerSpec,
) -> Result<(), FormatError> {
    if spec.template != Template::default() {
        return Err(unsupported(path, "that adds ids a second time"));
    }
    spec.template = Template { prefix, suffix };
    Ok(())
}

/// Only the byte-level decoder undoes the byte mapping, and only it is a concatenation of bytes.
fn check_decoder(component: Option<&Decoder>, path: &str) -> Result<(), FormatError> {
    match component {
        None => Err(unsupported(path, "null")),
        Some(Decoder::ByteLevel { .. }) => Ok(()),
        Some(Decoder::Sequence(items)) => match items.as_slice() {
            [only] => check_decoder(Some(only), &format!("{path}.decoders[0]")),
            _ => Err(unsupported(path, "Sequence of several steps")),
        },
        Some(other) => Err(unsupported(path, kind_of(other))),
    }
}

/// Sorts the vocabulary into the model's tokens and those that only decode.
///
/// A vocabulary string with a character that stands for no byte can never come out of the byte mapping, so text never
/// becomes it; its bytes are its own UTF-8. If it is an added token, that entry alone says everything about it.
fn sort_tokens(vocab: &Vocab, spec: &mut TokenizerSpec) {
    spec.tokens = TokenList::with_capacity(vocab.len(), vocab.n_bytes());
    let mut added_ids: Vec<u32> = spec.added_tokens.iter().map(|token| token.id).collect();
    added_ids.sort_unstable();
    for (text, id) in vocab.iter() {
        match spec.tokens.push_with(id, |bytes| byte_chars::append_bytes_of_text(text, bytes)) {
            Some(()) => {}
            None if added_ids.binary_search(&id).is_ok() => {}
            None => spec.decode_only.push((id, text.as_bytes().into())),
        }
    }
    spec.tokens.shrink_to_fit();
}

/// Leaves out the merges of strings that no text becomes: they apply to none.
fn drop_unreachable(spec: &mut TokenizerSpec) {
    let id_bound = spec.tokens.iter().map(|(id, _)| id as usize + 1).max().unwrap_or_default();
    let mut is_token = vec![false; id_bound];
    spec.tokens.iter().for_each(|(id, _)| is_token[id as usize] = true);
    let is_token = |id: u32| is_token.get(id as usize).copied().unwrap_or_default();
    spec.merges.retain(|merge| [merge.left, merge.right, merge.result].into_iter().all(is_token));
}

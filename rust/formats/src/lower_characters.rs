//! Which definitions are SentencePiece-style BPE over characters that the compiled machine reproduces?
//!
//! Spaces become U+2581 and perhaps one is put before the text (by `Prepend` and `Replace`, or by `Metaspace`), the model
//! falls back to a token for every byte, and the decoder undoes all of it. The machine keeps the mark as a plain space,
//! so the two writings of a space must be one to everything that looks at the text: see the checks.

use tokenloom_tokenize::pipeline::definition::{
    Decoder as DefinedDecoder, Normalizer as DefinedNormalizer, Pattern, PostProcessor, PreTokenizer,
    PrependScheme as DefinedScheme,
};
use tokenloom_tokenize::spec::{
    Decoder, InvalidRun, Normalizer, PrependScheme, Pretokenizer, SplitBehavior, Symbols, TokenizerSpec,
};
use tokenloom_vocab::{AddedToken, TokenList};

use crate::error::FormatError;
use crate::json::document::{Document, FlatBpe};
use crate::lower::{check_template, kind_of, post_processor, unsupported};

const SPACE_MARK: &str = "\u{2581}";

/// The specification, without merges, of a document whose model falls back to bytes.
pub(crate) fn lower(document: &Document, model: &FlatBpe) -> Result<TokenizerSpec, FormatError> {
    if model.options.ignore_merges {
        return Err(unsupported("model.ignore_merges", "with byte_fallback"));
    }
    // In normalized text a mark is no white space to the format; here it is stored as a space.
    let strips = |token: &AddedToken| token.normalized && (token.lstrip || token.rstrip);
    if let Some(index) = document.added_tokens.iter().position(strips) {
        return Err(unsupported(
            &format!("added_tokens[{index}]"),
            "that takes white space of normalized text",
        ));
    }
    let mut spec = TokenizerSpec {
        added_tokens: document.added_tokens.clone(),
        decoder: decoder(document.decoder.as_ref())?,
        ..TokenizerSpec::default()
    };
    if let Some(step) = &document.normalizer {
        normalizers(step, "normalizer", &mut spec.normalizers)?;
    }
    pretokenizers(document.pre_tokenizer.as_ref(), &mut spec)?;
    if let Some(step) = &document.post_processor {
        check_trimming(step)?;
        post_processor(step, "post_processor", &mut spec)?;
    }
    sort_tokens(model, &mut spec)?;
    check_template(model, &spec)?;
    Ok(spec)
}

fn normalizers(step: &DefinedNormalizer, path: &str, steps: &mut Vec<Normalizer>) -> Result<(), FormatError> {
    let reads_marks = steps.contains(&Normalizer::SpaceMark);
    match step {
        DefinedNormalizer::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                normalizers(item, &format!("{path}.normalizers[{index}]"), steps)?;
            }
        }
        DefinedNormalizer::Nfc if !reads_marks => steps.push(Normalizer::Nfc),
        // A space put before the text becomes a mark like the others, if it is put there first.
        DefinedNormalizer::Prepend { prepend }
            if prepend == SPACE_MARK || (prepend == " " && !reads_marks) =>
        {
            steps.push(Normalizer::PrependSpace);
        }
        DefinedNormalizer::Replace { pattern: Pattern::Literal(pattern), content }
            if pattern == " " && content == SPACE_MARK =>
        {
            steps.push(Normalizer::SpaceMark);
        }
        other => return Err(unsupported(path, kind_of(other))),
    }
    Ok(())
}

fn pretokenizers(component: Option<&PreTokenizer>, spec: &mut TokenizerSpec) -> Result<(), FormatError> {
    let path = "pre_tokenizer";
    let reads_marks = spec.normalizers.contains(&Normalizer::SpaceMark);
    match component {
        None if reads_marks => Ok(()),
        None => Err(unsupported(path, "null, with spaces that are no marks")),
        // There is no space left to split at.
        Some(PreTokenizer::Split {
            pattern: Pattern::Literal(pattern),
            behavior: SplitBehavior::MergedWithPrevious,
            invert: false,
        }) if pattern == " " && reads_marks => Ok(()),
        Some(PreTokenizer::Metaspace { replacement: '\u{2581}', prepend_scheme, split }) if !reads_marks => {
            // Marks are read before added tokens are matched in normalized text, not behind that.
            let is_spaced = |content: &str| content.contains(' ') || content.contains(SPACE_MARK);
            if let Some(index) =
                spec.added_tokens.iter().position(|token| token.normalized && is_spaced(&token.content))
            {
                return Err(unsupported(&format!("added_tokens[{index}]"), "with a space"));
            }
            spec.normalizers.push(Normalizer::SpaceMark);
            let prepend = match prepend_scheme {
                DefinedScheme::First => PrependScheme::First,
                DefinedScheme::Never => PrependScheme::Never,
                DefinedScheme::Always => PrependScheme::Always,
            };
            spec.pretokenizers.push(Pretokenizer::Metaspace { prepend, split: *split });
            Ok(())
        }
        Some(other) => Err(unsupported(path, kind_of(other))),
    }
}

/// Trimming looks for spaces in token strings, where this model has marks.
fn check_trimming(component: &PostProcessor) -> Result<(), FormatError> {
    match component {
        PostProcessor::ByteLevel { trim_offsets: true, .. }
        | PostProcessor::Roberta { trim_offsets: true, .. } => {
            Err(unsupported("post_processor", "that trims offsets, with byte_fallback"))
        }
        PostProcessor::Sequence(items) => items.iter().try_for_each(check_trimming),
        _ => Ok(()),
    }
}

fn decoder(component: Option<&DefinedDecoder>) -> Result<Decoder, FormatError> {
    let refused = || unsupported("decoder", component.map_or("null".to_owned(), kind_of));
    let Some(DefinedDecoder::Sequence(steps)) = component else { return Err(refused()) };
    let (marks, rest) = match steps.as_slice() {
        [
            DefinedDecoder::Replace { pattern: Pattern::Literal(pattern), content },
            DefinedDecoder::ByteFallback,
            DefinedDecoder::Fuse,
            rest @ ..,
        ] => (pattern == SPACE_MARK && content == " ", rest),
        _ => return Err(refused()),
    };
    match rest {
        [] if marks => Ok(Decoder::ByteFallback { strip_space: false, invalid: InvalidRun::Whole }),
        [DefinedDecoder::Strip { content: ' ', start: 1, stop: 0 }] if marks => {
            Ok(Decoder::ByteFallback { strip_space: true, invalid: InvalidRun::Whole })
        }
        _ => Err(refused()),
    }
}

fn sort_tokens(model: &FlatBpe, spec: &mut TokenizerSpec) -> Result<(), FormatError> {
    let vocab = &model.vocab;
    let mut byte_tokens = Vec::with_capacity(256);
    for byte in 0..=255u8 {
        let Some(id) = vocab.id(&format!("<0x{byte:02X}>")) else {
            let what = format!("with byte {byte:#04x} missing from the vocabulary");
            return Err(unsupported("model.byte_fallback", what));
        };
        byte_tokens.push(id);
    }
    let mut sorted = byte_tokens.clone();
    sorted.sort_unstable();
    let is_byte = |id: u32| sorted.binary_search(&id).is_ok();
    if let Some(index) = spec.added_tokens.iter().position(|token| is_byte(token.id)) {
        return Err(unsupported(&format!("added_tokens[{index}]"), "that is a byte token"));
    }
    // Stored as a space, it would fall back to one byte instead of three.
    if vocab.id(SPACE_MARK).is_none() {
        return Err(unsupported("model.vocab", "without U+2581"));
    }
    spec.tokens = TokenList::with_capacity(vocab.len(), vocab.n_bytes());
    for (text, id) in vocab.iter() {
        if is_byte(id) {
            continue;
        }
        // No text has spaces behind the normalizer.
        if text.is_empty() || text.contains(' ') {
            spec.decode_only.push((id, text.replace(SPACE_MARK, " ").into_bytes().into()));
            continue;
        }
        spec.tokens.push_with(id, |bytes| {
            // As `replace` does it, without a string of its own for each token.
            for (index, part) in text.split('\u{2581}').enumerate() {
                bytes.extend_from_slice(if index == 0 { b"" } else { b" " });
                bytes.extend_from_slice(part.as_bytes());
            }
            Some(())
        });
    }
    spec.tokens.shrink_to_fit();
    for (index, merge) in model.merges.iter().enumerate() {
        if [merge.left, merge.right, merge.result].into_iter().any(is_byte) {
            return Err(unsupported(&format!("model.merges[{index}]"), "of a byte token"));
        }
    }
    spec.symbols = Symbols::Characters { byte_tokens };
    Ok(())
}

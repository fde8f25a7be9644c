//! What does a `tokenizer.json` of Hugging Face `tokenizers` mean?
//!
//! The file is read once by a streaming JSON reader. What it says becomes a
//! [`Definition`], the faithful image of the file, or, where the compiled machine provably gives the same ids, offsets
//! and text, that machine's [`TokenizerSpec`]. The format's reader applies stored truncation and padding to every
//! result; a specification has neither, so they must be waived explicitly.
//!
//! Linear in the file. Nesting beyond [`limits::JSON_DEPTH`](crate::limits::JSON_DEPTH), repeated keys, ids, tokens or
//! merges, merges without their tokens and values of the wrong type are errors with their place.

use tokenloom_tokenize::pipeline::definition::{
    Decoder, Definition, Model, Normalizer, Padding, PostProcessor, PreTokenizer, Truncation,
};
use tokenloom_tokenize::spec::TokenizerSpec;

use crate::error::{FormatError, FormatErrorKind};
use crate::json::components;
use crate::json::document::{Document, FlatModel};
use crate::json::reader;
use crate::json::value::At;
use crate::{Kind, Parsed, lower};

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Reads on although the file stores truncation or padding; neither is applied then.
    pub ignore_truncation_and_padding: bool,
}

/// Reads the bytes of a `tokenizer.json` for the machine that gives exactly what it says.
///
/// # Errors
/// [`FormatError`] of [`Kind::TokenizerJson`]: see the head of this module; stored truncation or padding that is not
/// waived.
pub fn parse_any(data: &[u8], options: Options) -> Result<Parsed, FormatError> {
    let mut document = Document::read(reader::read(data)?)?;
    lower::check_stored(&document, options)?;
    Ok(match lower::lower(&mut document, options) {
        Ok(spec) => Parsed::Spec(spec),
        Err(reason) => Parsed::Definition(Box::new(document.into_definition()), Box::new(reason)),
    })
}

/// Reads the bytes of a `tokenizer.json` for the compiled machine.
///
/// # Errors
/// [`FormatError`] of [`TokenizerJson`](crate::Kind::TokenizerJson): see the head of this module; unsupported is
/// what the compiled machine cannot do exactly.
pub fn parse(data: &[u8], options: Options) -> Result<TokenizerSpec, FormatError> {
    lower::lower(&mut Document::read(reader::read(data)?)?, options)
}

/// Reads the bytes of a `tokenizer.json` as they are.
///
/// # Errors
/// [`FormatError`] of [`TokenizerJson`](crate::Kind::TokenizerJson): see the head of this module.
pub fn parse_definition(data: &[u8]) -> Result<Definition, FormatError> {
    Ok(Document::read(reader::read(data)?)?.into_definition())
}

/// What a definition is for the compiled machine.
///
/// # Errors
/// [`FormatError`] of [`TokenizerJson`](crate::Kind::TokenizerJson): see [`parse`].
pub fn lower_definition(definition: &Definition, options: Options) -> Result<TokenizerSpec, FormatError> {
    lower::lower(&mut Document::of(definition)?, options)
}

/// Reads the JSON of one `model`.
///
/// # Errors
/// [`FormatError`]: see [`parse_definition`].
pub fn parse_model(data: &[u8]) -> Result<Model, FormatError> {
    Ok(FlatModel::read(reader::read_model(data)?)?.into_model())
}

macro_rules! component_parsers {
    ($($name:ident, $key:literal, $read:path, $type:ty;)*) => {$(
        #[doc = concat!("Reads the JSON of one `", $key, "`, or of `null`.")]
        ///
        /// # Errors
        /// [`FormatError`]: see [`parse_definition`].
        pub fn $name(data: &[u8]) -> Result<Option<$type>, FormatError> {
            let value = reader::read_value(data, $key)?;
            components::optional(&At::new(&value, $key), $read)
        }
    )*};
}

component_parsers! {
    parse_truncation, "truncation", components::truncation, Truncation;
    parse_padding, "padding", components::padding, Padding;
    parse_normalizer, "normalizer", components::normalizer, Normalizer;
    parse_pre_tokenizer, "pre_tokenizer", components::pre_tokenizer, PreTokenizer;
    parse_post_processor, "post_processor", components::post_processor, PostProcessor;
    parse_decoder, "decoder", components::decoder, Decoder;
}

/// A copy of `definition` with one component read from JSON, under its name in the file.
///
/// # Errors
/// [`FormatError`]: see [`parse_definition`]; or a name that is none.
pub fn replace_component(
    definition: &Definition,
    component: &str,
    json: &[u8],
) -> Result<Definition, FormatError> {
    let mut changed = definition.clone();
    match component {
        "truncation" => changed.truncation = parse_truncation(json)?,
        "padding" => changed.padding = parse_padding(json)?,
        "normalizer" => changed.normalizer = parse_normalizer(json)?,
        "pre_tokenizer" => changed.pre_tokenizer = parse_pre_tokenizer(json)?,
        "post_processor" => changed.post_processor = parse_post_processor(json)?,
        "decoder" => changed.decoder = parse_decoder(json)?,
        "model" => changed.model = parse_model(json)?,
        other => {
            let expected = "the name of a component";
            let kind = FormatErrorKind::WrongType { expected, found: format!("{other:?}").into() };
            return Err(FormatError::new(Kind::TokenizerJson, "", kind));
        }
    }
    Ok(changed)
}

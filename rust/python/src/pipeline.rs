//! The Python face of the `pipeline` domain: tokenizers whose parts can be exchanged. Parts come and go as the JSON of
//! `tokenizer.json`. Extract, detach, one core call, wrap.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use tokenloom_formats::tokenizer_json::{self, Options};
use tokenloom_formats::{FormatError, write};
use tokenloom_tokenize::BuildError;
use tokenloom_tokenize::pipeline::assembly::{Assembly, Input, Settings};
use tokenloom_tokenize::pipeline::batch::{Batch, Columns};
use tokenloom_tokenize::pipeline::definition::{self, Decoder, Definition};
use tokenloom_tokenize::pipeline::models::{Draws, Model, ModelToken};
use tokenloom_tokenize::pipeline::normalizers::Normalizer;
use tokenloom_tokenize::pipeline::pattern::{Matcher, PartInChars};
use tokenloom_tokenize::pipeline::pretokenizers::{AlignedWord, PreTokenizer, Word};
use tokenloom_tokenize::pipeline::vocabulary::ModelVocabulary;
use tokenloom_tokenize::pipeline::{decoders, padding, post_processors};
use tokenloom_tokenize::spec::TokenizerSpec;
use tokenloom_vocab::AddedToken;

use crate::encoding::{Held, PyEncoding, Source, Words};
use crate::error::raise;

/// See `tokenloom.compat.tokenizers`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod pipeline {
    #[pymodule_export]
    use super::{
        PyAssembly, PyModel, PySettings, check_part, decode_tokens, n_added_tokens, normalize,
        normalize_aligned, parts_by_pattern, pre_tokenize, pre_tokenize_aligned, process,
    };
    #[pymodule_export]
    use crate::encoding::PyEncoding;
}

/// `(content, single_word, lstrip, rstrip, normalized, special)`.
type AddedFields = (String, bool, bool, bool, bool, bool);

fn added_token((content, single_word, lstrip, rstrip, normalized, special): AddedFields) -> AddedToken {
    AddedToken { id: 0, content, special, normalized, lstrip, rstrip, single_word }
}

/// `(id, string, (start, end))`.
type FoundToken = (u32, String, (usize, usize));

/// A model and its tokens.
#[pyclass(frozen, name = "Model", module = "tokenloom._core.pipeline")]
pub(crate) struct PyModel {
    inner: Arc<ModelVocabulary>,
}

#[pymethods]
impl PyModel {
    #[staticmethod]
    fn from_json(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let model = py.detach(|| tokenizer_json::parse_model(data)).map_err(raise)?;
        Ok(Self { inner: Arc::new(ModelVocabulary::new(model)) })
    }

    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| write::write_model(self.inner.model()))
    }

    /// The model's fields without its lists.
    fn options_json(&self) -> String {
        write::write_model(&self.inner.model().without_lists())
    }

    /// The same lists under other fields.
    fn with_options(&self, py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let options = tokenizer_json::parse_model(data).map_err(raise)?;
        let model = py.detach(|| self.inner.model().with_fields_of(&options));
        let other_kind = || PyValueError::new_err("expected the fields of a model of the same kind");
        Ok(Self { inner: Arc::new(ModelVocabulary::new(model.ok_or_else(other_kind)?)) })
    }

    /// The same tokens with these scores, bit for bit: reading JSON may round them.
    fn with_scores(&self, scores: Vec<f64>) -> PyResult<Self> {
        let model = self.inner.model().with_scores(&scores);
        let no_match =
            || PyValueError::new_err("expected a Unigram model and a score for each of its tokens");
        Ok(Self { inner: Arc::new(ModelVocabulary::new(model.ok_or_else(no_match)?)) })
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<&str> {
        self.inner.token(id)
    }

    /// The tokens of a word as `(id, string, (start, end))`, offsets in bytes.
    fn tokenize(&self, py: Python<'_>, word: &str) -> PyResult<Vec<FoundToken>> {
        let model = py.detach(|| Model::new(self.inner.model())).map_err(raise)?;
        let tokens = model.tokenize(word, &mut Draws::new(0)).map_err(raise)?;
        let token = |token: ModelToken| (token.id, model.token_text(&token, word).to_owned(), token.span);
        Ok(tokens.into_iter().map(token).collect())
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }
}

/// What is done to every text beside encoding it.
#[pyclass(frozen, name = "Settings", module = "tokenloom._core.pipeline")]
pub(crate) struct PySettings {
    inner: Arc<Settings>,
}

#[pymethods]
impl PySettings {
    /// Truncation and padding are JSON, `null` for none.
    #[new]
    fn new(truncation: &[u8], padding: &[u8], encode_special_tokens: bool) -> PyResult<Self> {
        let truncation = tokenizer_json::parse_truncation(truncation).map_err(raise)?;
        let padding = tokenizer_json::parse_padding(padding).map_err(raise)?;
        Ok(Self { inner: Arc::new(Settings { truncation, padding, encode_special_tokens }) })
    }

    #[getter]
    fn truncation(&self) -> String {
        write::write_truncation(self.inner.truncation.as_ref())
    }

    #[getter]
    fn padding(&self) -> String {
        write::write_padding(self.inner.padding.as_ref())
    }

    #[getter]
    fn encode_special_tokens(&self) -> bool {
        self.inner.encode_special_tokens
    }
}

/// Ids do not depend on the decoder, but the compiled machine decodes too.
fn lower(definition: &Definition) -> Option<TokenizerSpec> {
    let spec =
        |definition: &Definition| tokenizer_json::lower_definition(definition, Options::default()).ok();
    let decoder = Decoder::ByteLevel { add_prefix_space: true, trim_offsets: true, use_regex: true };
    spec(definition).or_else(|| spec(&Definition { decoder: Some(decoder), ..definition.clone() }))
}

/// A tokenizer in its parts.
#[pyclass(frozen, name = "Assembly", module = "tokenloom._core.pipeline")]
pub(crate) struct PyAssembly {
    inner: Arc<Assembly>,
}

impl From<Assembly> for PyAssembly {
    fn from(assembly: Assembly) -> Self {
        Self { inner: Arc::new(assembly) }
    }
}

#[pymethods]
impl PyAssembly {
    #[staticmethod]
    fn from_json(py: Python<'_>, data: &[u8]) -> PyResult<(Self, PySettings)> {
        let definition = py.detach(|| tokenizer_json::parse_definition(data)).map_err(raise)?;
        let (assembly, settings) = py
            .detach(|| {
                let (assembly, settings) = Assembly::new(definition, lower);
                assembly.check_added().map(|()| (assembly, settings))
            })
            .map_err(raise)?;
        Ok((assembly.into(), PySettings { inner: Arc::new(settings) }))
    }

    #[staticmethod]
    fn of_model(model: &PyModel) -> Self {
        Assembly::of_model(Arc::clone(&model.inner), lower).into()
    }

    fn to_json(&self, py: Python<'_>, settings: &PySettings, pretty: bool) -> PyResult<String> {
        py.detach(|| write::write_definition(&self.inner.definition(&settings.inner), pretty)).map_err(raise)
    }

    /// Builds the machine that encodes.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| match self.inner.compiled() {
            Some(_) => Ok(()),
            None => self.inner.pipeline().map(|_| ()),
        })
        .map_err(raise)
    }

    #[getter]
    fn model(&self) -> PyModel {
        PyModel { inner: Arc::clone(self.inner.model()) }
    }

    #[getter]
    fn is_compiled(&self, py: Python<'_>) -> bool {
        py.detach(|| self.inner.compiled().is_some())
    }

    /// The JSON of a part, `null` for none.
    fn part(&self, name: &str) -> PyResult<String> {
        match name {
            "normalizer" => Ok(write::write_normalizer(self.inner.normalizer())),
            "pre_tokenizer" => Ok(write::write_pre_tokenizer(self.inner.pre_tokenizer())),
            "post_processor" => Ok(write::write_post_processor(self.inner.post_processor())),
            "decoder" => Ok(write::write_decoder(self.inner.decoder())),
            other => Err(no_part(other)),
        }
    }

    fn with_part(&self, name: &str, json: &[u8]) -> PyResult<Self> {
        let all = &self.inner;
        Ok(match name {
            "normalizer" => all.with_normalizer(tokenizer_json::parse_normalizer(json).map_err(raise)?),
            "pre_tokenizer" => {
                all.with_pre_tokenizer(tokenizer_json::parse_pre_tokenizer(json).map_err(raise)?)
            }
            "post_processor" => {
                all.with_post_processor(tokenizer_json::parse_post_processor(json).map_err(raise)?)
            }
            "decoder" => all.with_decoder(tokenizer_json::parse_decoder(json).map_err(raise)?),
            other => return Err(no_part(other)),
        }
        .into())
    }

    fn with_model(&self, model: &PyModel) -> Self {
        self.inner.with_model(Arc::clone(&model.inner)).into()
    }

    fn with_added_tokens(&self, tokens: Vec<AddedFields>) -> (Self, usize) {
        let tokens = tokens.into_iter().map(added_token);
        let (added, n_added) = self.inner.added().with(tokens, self.inner.model());
        (self.inner.with_added(added).into(), n_added)
    }

    fn added_tokens(&self) -> Vec<(u32, AddedFields)> {
        let mut tokens: Vec<_> = self
            .inner
            .added()
            .iter()
            .map(|token| {
                let token = token.clone();
                let AddedToken { content, single_word, lstrip, rstrip, normalized, special, .. } = token;
                (token.id, (content, single_word, lstrip, rstrip, normalized, special))
            })
            .collect();
        tokens.sort_unstable_by_key(|token| token.0);
        tokens
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> PyResult<Option<&str>> {
        self.inner.id_to_token(id).map_err(raise)
    }

    fn vocab<'py>(&self, py: Python<'py>, with_added_tokens: bool) -> PyResult<Bound<'py, PyDict>> {
        let vocab = PyDict::new(py);
        self.inner.model().iter().try_for_each(|(token, id)| vocab.set_item(token, id))?;
        if with_added_tokens {
            self.inner.added().iter().try_for_each(|token| vocab.set_item(&token.content, token.id))?;
        }
        Ok(vocab)
    }

    fn vocab_size(&self, with_added_tokens: bool) -> usize {
        if with_added_tokens { self.inner.n_tokens() } else { self.inner.model().len() }
    }

    fn n_added_tokens(&self, is_pair: bool) -> usize {
        self.inner.n_added_tokens(is_pair)
    }

    /// Whether texts can be cut to this length beside the special tokens.
    fn check_truncation(&self, settings: &PySettings) -> PyResult<()> {
        let n_added = self.inner.n_added_tokens(false);
        settings
            .inner
            .truncation
            .as_ref()
            .map_or(Ok(()), |truncation| truncation.check(n_added))
            .map_err(raise)
    }

    #[pyo3(signature = (items, settings, *, is_pretokenized, add_special_tokens, columns, seed, threads))]
    #[allow(clippy::too_many_arguments)]
    fn encode_batch(
        &self,
        py: Python<'_>,
        items: Vec<Bound<'_, PyAny>>,
        settings: &PySettings,
        is_pretokenized: bool,
        add_special_tokens: bool,
        columns: &str,
        seed: u64,
        threads: usize,
    ) -> PyResult<Vec<PyEncoding>> {
        let held = items.iter().map(|item| hold(item, is_pretokenized).map(Arc::new));
        let held = held.collect::<PyResult<Vec<_>>>()?;
        let inputs = held.iter().map(|held| held.input(py)).collect::<PyResult<Vec<Input<'_>>>>()?;
        let columns = match columns {
            "ids" => Columns::Ids,
            "blank" => Columns::Blank,
            _ => Columns::All,
        };
        let Batch { encodings, is_plain, padded_to } = py
            .detach(|| {
                self.inner.encode_batch(&inputs, &settings.inner, add_special_tokens, columns, seed, threads)
            })
            .map_err(raise)?;
        let source = |place, input| Source {
            assembly: Arc::clone(&self.inner),
            settings: Arc::clone(&settings.inner),
            input,
            add_special_tokens,
            draw: (seed, place),
            padded_to,
            whole: OnceLock::new(),
        };
        let wrap = |(place, (encoding, input)): (_, (_, &Arc<Held>))| match is_plain {
            true => PyEncoding::plain(encoding, Arc::new(source(place, Arc::clone(input)))),
            false => PyEncoding::whole(encoding),
        };
        Ok(encodings.into_iter().zip(&held).enumerate().map(wrap).collect())
    }

    fn decode_batch(
        &self,
        py: Python<'_>,
        sequences: Vec<Vec<u32>>,
        skip_special_tokens: bool,
    ) -> PyResult<Vec<String>> {
        let decode = |ids: &Vec<u32>| self.inner.decode(ids, skip_special_tokens);
        py.detach(|| sequences.iter().map(decode).collect::<Result<_, _>>()).map_err(raise)
    }

    /// What each text is cut into: its added tokens, and the words that the model is given.
    fn words(
        &self,
        py: Python<'_>,
        texts: Vec<String>,
        encode_special_tokens: bool,
    ) -> PyResult<Vec<Vec<String>>> {
        py.detach(|| self.inner.words(&texts, encode_special_tokens)).map_err(raise)
    }

    fn post_process(
        &self,
        py: Python<'_>,
        settings: &PySettings,
        encoding: &PyEncoding,
        pair: Option<&Bound<'_, PyEncoding>>,
        add_special_tokens: bool,
    ) -> PyResult<PyEncoding> {
        let second = pair.map(|pair| pair.get().detailed(py)).transpose()?;
        let sequences =
            (encoding.detailed(py)?.as_ref().clone(), second.map(|second| second.as_ref().clone()));
        let mut finished =
            self.inner.finish(sequences, &settings.inner, add_special_tokens, false).map_err(raise)?;
        if let Some(padding) = &settings.inner.padding {
            padding::pad(std::slice::from_mut(&mut finished), padding, false);
        }
        Ok(PyEncoding::whole(finished))
    }
}

fn no_part(name: &str) -> PyErr {
    PyValueError::new_err(format!("expected the name of a part, found {name:?}"))
}

/// The strings of an input: a text, its words, or a pair of either.
fn hold(item: &Bound<'_, PyAny>, is_split: bool) -> PyResult<Held> {
    let sequence = |item: &Bound<'_, PyAny>| if is_split { words_of(item) } else { text_of(item) };
    if let Some(first) = sequence(item) {
        return Ok(Held { first, second: None, is_split });
    }
    let is_pair = !is_split || item.is_instance_of::<PyTuple>() || item.is_instance_of::<PyList>();
    let parts = if is_pair { item.extract::<Vec<Bound<'_, PyAny>>>().ok() } else { None };
    if let Some([first, second]) = parts.as_deref()
        && let (Some(first), Some(second)) = (sequence(first), sequence(second))
    {
        return Ok(Held { first, second: Some(second), is_split });
    }
    let expected = if is_split { "a list or tuple of str" } else { "str" };
    Err(PyTypeError::new_err(format!("expected {expected}, or a pair of them, found {}", item.get_type())))
}

/// A text that is UTF-8, as one word.
fn text_of(item: &Bound<'_, PyAny>) -> Option<Words> {
    let text = item.cast::<PyString>().ok()?;
    text.to_str().ok()?;
    Some(vec![text.clone().unbind()])
}

fn words_of(item: &Bound<'_, PyAny>) -> Option<Words> {
    let list = item.cast::<PyList>().ok().map(|list| list.iter().collect::<Vec<_>>());
    let items = list.or_else(|| item.cast::<PyTuple>().ok().map(|tuple| tuple.iter().collect()))?;
    items.iter().map(|item| text_of(item)?.pop()).collect()
}

/// Whether a part, given as JSON, can be used.
#[pyfunction]
fn check_part(name: &str, json: &[u8]) -> PyResult<()> {
    match name {
        "normalizer" => part(tokenizer_json::parse_normalizer(json))
            .and_then(|part| Normalizer::new(&part).map(|_| ()).map_err(raise)),
        "pre_tokenizer" => part(tokenizer_json::parse_pre_tokenizer(json))
            .and_then(|part| PreTokenizer::new(&part).map(|_| ()).map_err(raise)),
        "decoder" => part(tokenizer_json::parse_decoder(json))
            .and_then(|part| decoders::Decoder::new(Some(&part)).map(|_| ()).map_err(raise)),
        "post_processor" => part(tokenizer_json::parse_post_processor(json)).map(|_| ()),
        other => Err(no_part(other)),
    }
}

fn part<T>(parsed: Result<Option<T>, FormatError>) -> PyResult<T> {
    parsed.map_err(raise)?.ok_or_else(|| PyValueError::new_err("expected a part, found null"))
}

#[pyfunction]
fn normalize(py: Python<'_>, json: &[u8], text: &str) -> PyResult<String> {
    let normalizer = Normalizer::new(&part(tokenizer_json::parse_normalizer(json))?).map_err(raise)?;
    py.detach(|| normalizer.normalize_str(text)).map_err(raise)
}

#[pyfunction]
fn pre_tokenize(py: Python<'_>, json: &[u8], text: &str) -> PyResult<Vec<Word>> {
    let part = part(tokenizer_json::parse_pre_tokenizer(json))?;
    let pre_tokenizer = PreTokenizer::new(&part).map_err(raise)?;
    py.detach(|| pre_tokenizer.pre_tokenize_str(text)).map_err(raise)
}

/// The normalized text, and what each of its characters stands for.
#[pyfunction]
fn normalize_aligned(py: Python<'_>, json: &[u8], text: &str) -> PyResult<(String, Vec<(usize, usize)>)> {
    let normalizer = Normalizer::new(&part(tokenizer_json::parse_normalizer(json))?).map_err(raise)?;
    py.detach(|| normalizer.normalize_aligned(text)).map_err(raise)
}

/// The words with what each of their characters stands for, and what the whole word does.
#[pyfunction]
fn pre_tokenize_aligned(
    py: Python<'_>,
    json: &[u8],
    text: &str,
    is_first: bool,
) -> PyResult<Vec<AlignedWord>> {
    let part = part(tokenizer_json::parse_pre_tokenizer(json))?;
    let pre_tokenizer = PreTokenizer::new(&part).map_err(raise)?;
    py.detach(|| pre_tokenizer.pre_tokenize_aligned(text, is_first)).map_err(raise)
}

/// The parts of a text that are matches of the pattern of a `Replace`, and those that are none, in characters.
#[pyfunction]
fn parts_by_pattern(py: Python<'_>, json: &[u8], text: &str) -> PyResult<Vec<PartInChars>> {
    let definition::Normalizer::Replace { pattern, .. } = part(tokenizer_json::parse_normalizer(json))?
    else {
        return Err(PyValueError::new_err("expected a Replace"));
    };
    let matcher = Matcher::new(&pattern).map_err(|kind| raise(BuildError::from(kind)))?;
    py.detach(|| matcher.parts(text)).map_err(raise)
}

#[pyfunction]
fn decode_tokens(py: Python<'_>, json: &[u8], tokens: Vec<String>) -> PyResult<String> {
    let decoder = decoders::Decoder::new(Some(&part(tokenizer_json::parse_decoder(json))?)).map_err(raise)?;
    py.detach(|| decoder.decode(&tokens)).map_err(raise)
}

#[pyfunction]
fn n_added_tokens(json: &[u8], is_pair: bool) -> PyResult<usize> {
    Ok(part(tokenizer_json::parse_post_processor(json))?.n_added_tokens(is_pair))
}

#[pyfunction]
fn process(
    py: Python<'_>,
    json: &[u8],
    encoding: &PyEncoding,
    pair: Option<&Bound<'_, PyEncoding>>,
    add_special_tokens: bool,
) -> PyResult<PyEncoding> {
    let processor = part(tokenizer_json::parse_post_processor(json))?;
    let first = encoding.detailed(py)?.as_ref().clone();
    let second =
        pair.map(|pair| pair.get().detailed(py).map(|second| second.as_ref().clone())).transpose()?;
    let finished = post_processors::process(Some(&processor), first, second, add_special_tokens, false);
    finished.map(PyEncoding::whole).map_err(raise)
}

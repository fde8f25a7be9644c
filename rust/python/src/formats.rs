//! The Python face of the `formats` domain: extract, detach, one core call, wrap.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tokenloom_formats::tokenizer_json::Options;
use tokenloom_formats::{Kind, Parsed, gguf, sentencepiece, tekken, tiktoken, tokenizer_json, write};
use tokenloom_tokenize::pipeline::definition::{Definition, Model, PieceType};
use tokenloom_tokenize::spec::TokenizerSpec;
use tokenloom_vocab::TokenList;

use crate::error::raise;

/// See `tokenloom.formats`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod formats {
    #[pymodule_export]
    use super::{
        PyDefinition, PySpec, detect, parse_gguf, parse_gguf_file, parse_ranks, parse_sentencepiece,
        parse_tekken, parse_tokenizer_json, parse_unigram_pieces, rank_file_spec, tiktoken_spec, write_ranks,
        write_tokenizer_json,
    };
}

/// What a tokenizer file says, checked and independent of the file's format; `tokenloom.Tokenizer` is built from it.
#[pyclass(frozen, name = "Spec", module = "tokenloom.formats")]
pub(crate) struct PySpec {
    pub(crate) spec: Arc<TokenizerSpec>,
}

impl From<TokenizerSpec> for PySpec {
    fn from(spec: TokenizerSpec) -> Self {
        Self { spec: Arc::new(spec) }
    }
}

/// Every component of a `tokenizer.json`, as it is; components in and out are JSON text, `"null"` for none.
#[pyclass(frozen, name = "Definition", module = "tokenloom._core.formats")]
pub(crate) struct PyDefinition {
    pub(crate) definition: Arc<Definition>,
    /// Why it is no specification, where that was tried.
    pub(crate) reason: Option<String>,
}

impl From<Definition> for PyDefinition {
    fn from(definition: Definition) -> Self {
        Self { definition: Arc::new(definition), reason: None }
    }
}

#[pymethods]
impl PyDefinition {
    #[staticmethod]
    fn from_json(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        py.detach(|| tokenizer_json::parse_definition(data)).map(Self::from).map_err(raise)
    }

    fn to_json(&self, py: Python<'_>, pretty: bool) -> PyResult<String> {
        py.detach(|| write::write_definition(&self.definition, pretty)).map_err(raise)
    }

    /// The bytes that `from_state` reads: a `.model` for a SentencePiece model, JSON for any other.
    fn to_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let state = py.detach(|| write::state(&self.definition)).map_err(raise)?;
        Ok(PyBytes::new(py, &state))
    }

    #[staticmethod]
    fn from_state(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        py.detach(|| write::definition_of_state(state)).map(Self::from).map_err(raise)
    }

    /// Whether this is a SentencePiece model.
    #[getter]
    fn is_sentencepiece(&self) -> bool {
        matches!(self.definition.model, Model::Pieces(_))
    }

    /// Why the compiled machine does not do this; none where that was not asked.
    #[getter]
    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    #[getter]
    fn truncation(&self) -> String {
        write::write_truncation(self.definition.truncation.as_ref())
    }

    #[getter]
    fn padding(&self) -> String {
        write::write_padding(self.definition.padding.as_ref())
    }

    #[getter]
    fn normalizer(&self) -> String {
        write::write_normalizer(self.definition.normalizer.as_ref())
    }

    #[getter]
    fn pre_tokenizer(&self) -> String {
        write::write_pre_tokenizer(self.definition.pre_tokenizer.as_ref())
    }

    #[getter]
    fn post_processor(&self) -> String {
        write::write_post_processor(self.definition.post_processor.as_ref())
    }

    #[getter]
    fn decoder(&self) -> String {
        write::write_decoder(self.definition.decoder.as_ref())
    }

    #[getter]
    fn model(&self, py: Python<'_>) -> String {
        py.detach(|| write::write_model(&self.definition.model))
    }

    /// A copy with another component, named as in the file.
    fn replace(&self, py: Python<'_>, component: &str, json: &str) -> PyResult<Self> {
        py.detach(|| tokenizer_json::replace_component(&self.definition, component, json.as_bytes()))
            .map(Self::from)
            .map_err(raise)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((slf.get_type().getattr("from_state")?, (slf.get().to_state(slf.py())?,)))
    }
}

#[pyfunction]
fn detect(data: &[u8]) -> PyResult<&'static str> {
    Kind::detect(data).map(Kind::name).map_err(raise)
}

/// What a file became, for the machine that can do it.
#[derive(IntoPyObject)]
enum Read {
    Spec(PySpec),
    Definition(PyDefinition),
}

impl From<Parsed> for Read {
    fn from(parsed: Parsed) -> Self {
        match parsed {
            Parsed::Spec(spec) => Self::Spec(spec.into()),
            Parsed::Definition(definition, reason) => {
                let (definition, reason) = (Arc::new(*definition), Some(reason.to_string()));
                Self::Definition(PyDefinition { definition, reason })
            }
        }
    }
}

#[pyfunction]
fn parse_tokenizer_json(py: Python<'_>, data: &[u8], ignore_truncation_and_padding: bool) -> PyResult<Read> {
    let options = Options { ignore_truncation_and_padding };
    py.detach(|| tokenizer_json::parse_any(data, options)).map(Read::from).map_err(raise)
}

#[pyfunction]
fn parse_gguf(py: Python<'_>, data: &[u8]) -> PyResult<Read> {
    py.detach(|| gguf::parse(data)).map(Read::from).map_err(raise)
}

#[pyfunction]
fn parse_sentencepiece(py: Python<'_>, data: &[u8]) -> PyResult<Read> {
    py.detach(|| sentencepiece::parse(data)).map(Read::from).map_err(raise)
}

type UnigramParts<'py> = (Vec<(String, f32)>, usize, bool, Bound<'py, PyBytes>);

/// Pieces and scores of a Unigram `.model`, the place of the unknown piece, byte fallback, and the character map.
#[pyfunction]
fn parse_unigram_pieces<'py>(py: Python<'py>, data: &[u8]) -> PyResult<UnigramParts<'py>> {
    let model = py.detach(|| sentencepiece::parse_unigram(data)).map_err(raise)?;
    let unknown = model.pieces.iter().position(|piece| piece.piece_type == PieceType::Unknown);
    let pieces = model.pieces.into_iter().map(|piece| (piece.text, piece.score)).collect();
    Ok((pieces, unknown.unwrap_or_default(), model.byte_fallback, PyBytes::new(py, &model.charsmap)))
}

#[pyfunction]
fn parse_tekken(py: Python<'_>, data: &[u8]) -> PyResult<PySpec> {
    py.detach(|| tekken::parse(data)).map(PySpec::from).map_err(raise)
}

/// Reads no further than the metadata, so the tensors are never loaded.
#[pyfunction]
fn parse_gguf_file(py: Python<'_>, path: PathBuf) -> PyResult<Read> {
    let spec =
        py.detach(|| Ok::<_, PyErr>(gguf::parse(BufReader::with_capacity(1 << 20, File::open(path)?))))?;
    spec.map(Read::from).map_err(raise)
}

#[pyfunction]
fn parse_ranks<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let ranks = py.detach(|| tiktoken::parse_ranks(data)).map_err(raise)?;
    let dict = PyDict::new(py);
    for (rank, token) in ranks.iter() {
        dict.set_item(PyBytes::new(py, token), rank)?;
    }
    Ok(dict)
}

/// The same as [`parse_ranks`] and [`tiktoken_spec`], without the dictionary between them.
#[pyfunction]
fn rank_file_spec(
    py: Python<'_>,
    data: &[u8],
    pattern: &str,
    special_tokens: &Bound<'_, PyDict>,
) -> PyResult<PySpec> {
    let special = special_ids(special_tokens)?;
    let spec = || tiktoken::spec(tiktoken::parse_ranks(data)?, pattern, special);
    py.detach(spec).map(PySpec::from).map_err(raise)
}

fn special_ids(special_tokens: &Bound<'_, PyDict>) -> PyResult<Vec<(String, u32)>> {
    let mut special = Vec::with_capacity(special_tokens.len());
    for (content, id) in special_tokens {
        special.push((content.extract()?, id.extract().map_err(|_| bad_id(&id))?));
    }
    Ok(special)
}

#[pyfunction]
fn tiktoken_spec(
    py: Python<'_>,
    ranks: &Bound<'_, PyDict>,
    pattern: &str,
    special_tokens: &Bound<'_, PyDict>,
) -> PyResult<PySpec> {
    let mut owned = TokenList::new();
    for (token, rank) in ranks {
        owned.push(rank.extract().map_err(|_| bad_id(&rank))?, token.extract::<&[u8]>()?);
    }
    let special = special_ids(special_tokens)?;
    py.detach(|| tiktoken::spec(owned, pattern, special)).map(PySpec::from).map_err(raise)
}

fn bad_id(found: &Bound<'_, PyAny>) -> PyErr {
    PyValueError::new_err(format!("expected a token id from 0 to 2**32 - 1, found {found}"))
}

/// The stock `tokenizer.json` of a specification, as bytes.
///
/// Raises:
///     FormatError: The specification holds something that the format cannot say.
#[pyfunction]
fn write_tokenizer_json<'py>(py: Python<'py>, spec: &PySpec) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = py.detach(|| write::tokenizer_json(&spec.spec)).map_err(raise)?;
    Ok(PyBytes::new(py, &bytes))
}

/// The lines of a rank file, without pattern and special tokens.
#[pyfunction]
fn write_ranks<'py>(py: Python<'py>, spec: &PySpec) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = py.detach(|| tiktoken::write_ranks(&spec.spec)).map_err(raise)?;
    Ok(PyBytes::new(py, &bytes))
}

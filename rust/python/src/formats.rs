//! The Python face of the `formats` domain: extract, detach, one core call, wrap.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tokenloom_formats::tokenizer_json::Options;
use tokenloom_formats::{Kind, gguf, tiktoken, tokenizer_json, write};
use tokenloom_tokenize::spec::TokenizerSpec;

use crate::error::raise;

/// See `tokenloom.formats`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod formats {
    #[pymodule_export]
    use super::{
        PySpec, detect, parse_gguf, parse_gguf_file, parse_ranks, parse_tokenizer_json, tiktoken_spec,
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

#[pyfunction]
fn detect(data: &[u8]) -> PyResult<&'static str> {
    Kind::detect(data).map(Kind::name).map_err(raise)
}

#[pyfunction]
fn parse_tokenizer_json(
    py: Python<'_>,
    data: &[u8],
    ignore_truncation_and_padding: bool,
) -> PyResult<PySpec> {
    let options = Options { ignore_truncation_and_padding };
    py.detach(|| tokenizer_json::parse(data, options)).map(PySpec::from).map_err(raise)
}

#[pyfunction]
fn parse_gguf(py: Python<'_>, data: &[u8]) -> PyResult<PySpec> {
    py.detach(|| gguf::parse(data)).map(PySpec::from).map_err(raise)
}

/// Reads no further than the metadata, so the tensors are never loaded.
#[pyfunction]
fn parse_gguf_file(py: Python<'_>, path: PathBuf) -> PyResult<PySpec> {
    let spec =
        py.detach(|| Ok::<_, PyErr>(gguf::parse(BufReader::with_capacity(1 << 20, File::open(path)?))))?;
    spec.map(PySpec::from).map_err(raise)
}

#[pyfunction]
fn parse_ranks<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let ranks = py.detach(|| tiktoken::parse_ranks(data)).map_err(raise)?;
    let dict = PyDict::new(py);
    for (token, rank) in &ranks {
        dict.set_item(PyBytes::new(py, token), rank)?;
    }
    Ok(dict)
}

#[pyfunction]
fn tiktoken_spec(
    py: Python<'_>,
    ranks: &Bound<'_, PyDict>,
    pattern: &str,
    special_tokens: &Bound<'_, PyDict>,
) -> PyResult<PySpec> {
    let mut owned = Vec::with_capacity(ranks.len());
    for (token, rank) in ranks {
        owned.push((token.extract::<&[u8]>()?.into(), rank.extract().map_err(|_| bad_id(&rank))?));
    }
    let mut special = Vec::with_capacity(special_tokens.len());
    for (content, id) in special_tokens {
        special.push((content.extract()?, id.extract().map_err(|_| bad_id(&id))?));
    }
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

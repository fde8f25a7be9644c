//! The Python face of the exactness tools: extract, detach, one core call, wrap.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use tokenloom_tokenize::bpe::BpeScratch;

use crate::error::raise;
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.tokenizer` and `tokenloom.compat.tiktoken`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod exactness {
    #[pymodule_export]
    use super::{encode_broken_utf8, encode_piece, encode_with_unstable, model_token_id, model_tokens};
}

#[pyfunction]
fn encode_with_unstable(
    py: Python<'_>,
    tokenizer: &PyTokenizer,
    text: &Bound<'_, PyString>,
    allowed_special: &Bound<'_, PyAny>,
) -> PyResult<(Vec<u32>, Vec<Vec<u32>>)> {
    let (options, text) = (tokenizer.options(false, allowed_special)?, text.to_str()?);
    let found = py.detach(|| tokenizer.inner.encode_with_unstable(text, &options.allowed_special));
    let found = found.map_err(raise)?;
    Ok((found.stable, found.completions.into_iter().collect()))
}

#[pyfunction]
fn encode_broken_utf8(py: Python<'_>, tokenizer: &PyTokenizer, bytes: &[u8]) -> PyResult<Vec<u32>> {
    py.detach(|| tokenizer.inner.encode_broken_utf8(bytes)).map_err(raise)
}

#[pyfunction]
fn encode_piece(py: Python<'_>, tokenizer: &PyTokenizer, piece: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    py.detach(|| tokenizer.inner.bpe().encode_piece(piece, &mut ids, &mut BpeScratch::default()));
    ids
}

#[pyfunction]
fn model_token_id(tokenizer: &PyTokenizer, token: &[u8]) -> Option<u32> {
    tokenizer.inner.table().id(token)
}

#[pyfunction]
fn model_tokens<'py>(py: Python<'py>, tokenizer: &PyTokenizer) -> PyResult<Bound<'py, PyDict>> {
    let tokens = PyDict::new(py);
    for (id, bytes) in tokenizer.inner.table().iter() {
        tokens.set_item(PyBytes::new(py, bytes), id)?;
    }
    Ok(tokens)
}

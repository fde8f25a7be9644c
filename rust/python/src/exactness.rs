//! The Python face of the exactness tools: extract, detach, one core call, wrap.

use std::sync::{Mutex, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_tokenize as core;
use tokenloom_tokenize::bpe::BpeScratch;

use crate::array::elements;
use crate::error::raise;
use crate::text::Text;
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.exactness` and `tokenloom.compat.tiktoken`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod exactness {
    #[pymodule_export]
    use super::{
        PyCanonicalStream, PySegmentations, align, encode_broken_utf8, encode_piece, encode_with_unstable,
        model_token_id, model_tokens, settled, vocabulary,
    };
}

/// All segmentations of some bytes.
#[pyclass(frozen, name = "Segmentations", module = "tokenloom._core.exactness")]
pub(crate) struct PySegmentations {
    inner: core::Segmentations,
}

#[pymethods]
impl PySegmentations {
    #[new]
    fn new(py: Python<'_>, tokenizer: &PyTokenizer, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = Text::from_any(text)?;
        let bytes = text.as_bytes()?;
        let inner = py.detach(|| core::Segmentations::new(&tokenizer.inner, bytes)).map_err(raise)?;
        Ok(Self { inner })
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.inner.n_bytes()
    }

    fn count<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let words = py.detach(|| self.inner.count()).map_err(raise)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, &bytes), "little"))
    }

    fn log_count(&self, py: Python<'_>) -> f64 {
        py.detach(|| self.inner.log_count())
    }

    fn fewest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(py.detach(|| self.inner.fewest()).map_err(raise)?.into_pyarray(py))
    }

    fn sample<'py>(
        &self,
        py: Python<'py>,
        n_samples: usize,
        seed: u64,
    ) -> PyResult<Vec<Bound<'py, PyArray1<u32>>>> {
        let uniform = |n| Rng::new(seed, n).uniform(0, Purpose::SAMPLE);
        let samples = py.detach(|| self.inner.sample(n_samples, uniform)).map_err(raise)?;
        Ok(samples.into_iter().map(|ids| ids.into_pyarray(py)).collect())
    }

    #[allow(clippy::type_complexity)]
    fn best<'py>(
        &self,
        py: Python<'py>,
        k: usize,
        scores: Option<PyReadonlyArray1<'py, f64>>,
    ) -> PyResult<Vec<(Bound<'py, PyArray1<u32>>, f64)>> {
        let scores = scores.as_ref().map(|scores| elements(scores, "scores")).transpose()?;
        let best = py.detach(|| self.inner.best(k, scores)).map_err(raise)?;
        Ok(best.into_iter().map(|found| (found.ids.into_pyarray(py), found.score)).collect())
    }
}

/// Ids that arrive one at a time. Calls from several threads take turns.
#[pyclass(frozen, name = "CanonicalStream", module = "tokenloom._core.exactness")]
pub(crate) struct PyCanonicalStream {
    tokenizer: Py<PyTokenizer>,
    state: Mutex<core::CanonicalStream>,
}

#[pymethods]
impl PyCanonicalStream {
    #[new]
    fn new(tokenizer: Bound<'_, PyTokenizer>) -> PyResult<Self> {
        let state = core::CanonicalStream::new(&tokenizer.get().inner).map_err(raise)?;
        Ok(Self { tokenizer: tokenizer.unbind(), state: Mutex::new(state) })
    }

    fn push(&self, id: u32) -> PyResult<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.push(&self.tokenizer.get().inner, id).map_err(raise)
    }

    #[getter]
    fn is_broken(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_broken()
    }
}

#[pyfunction]
fn settled(
    py: Python<'_>,
    tokenizer: &PyTokenizer,
    text: &Bound<'_, PyString>,
    allowed_special: &Bound<'_, PyAny>,
) -> PyResult<(usize, usize, bool)> {
    let (options, text) = (tokenizer.options(false, allowed_special)?, text.to_str()?);
    let found = py.detach(|| tokenizer.inner.settled(text, &options.allowed_special)).map_err(raise)?;
    Ok((found.n_tokens, found.n_bytes, found.exact))
}

#[pyfunction]
fn align<'py>(
    py: Python<'py>,
    a_ends: PyReadonlyArray1<'py, i64>,
    b_ends: PyReadonlyArray1<'py, i64>,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let (a, b) = (elements(&a_ends, "a_ends")?, elements(&b_ends, "b_ends")?);
    let spans = py.detach(|| core::align(a, b));
    let rows: Vec<i64> =
        spans.iter().flat_map(|span| [span.a.0, span.a.1, span.b.0, span.b.1].map(|at| at as i64)).collect();
    rows.into_pyarray(py).reshape([spans.len(), 4])
}

#[pyfunction]
#[allow(clippy::type_complexity)]
fn vocabulary<'py>(
    py: Python<'py>,
    tokenizer: &PyTokenizer,
) -> (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u8>>) {
    let view = py.detach(|| tokenizer.inner.vocabulary());
    (view.bytes.into_pyarray(py), view.offsets.into_pyarray(py), view.kinds.into_pyarray(py))
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

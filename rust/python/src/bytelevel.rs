//! The Python face of the `bytelevel` domain: extract, detach, one core call, wrap.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_decode::bytelevel::{ByteState, CanonicalLaw, Purpose};

use crate::array::{TokenIds, elements};
use crate::error::{missing_rows, raise};
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.bytelevel`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod bytelevel {
    #[pymodule_export]
    use super::{PyByteState, PyCanonicalLaw};
}

#[pyclass(frozen, name = "CanonicalLaw", module = "tokenloom._core.bytelevel")]
pub(crate) struct PyCanonicalLaw {
    inner: Arc<CanonicalLaw>,
}

#[pymethods]
impl PyCanonicalLaw {
    #[new]
    fn new(py: Python<'_>, tokenizer: &Bound<'_, PyTokenizer>) -> PyResult<Self> {
        let tokenizer = Arc::clone(&tokenizer.get().inner);
        Ok(Self { inner: Arc::new(py.detach(|| CanonicalLaw::new(tokenizer)).map_err(raise)?) })
    }

    fn start(&self, py: Python<'_>, context: TokenIds, text: &Bound<'_, PyBytes>) -> PyResult<PyByteState> {
        let context: Vec<u32> =
            context.0.into_iter().map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
        let text = text.as_bytes();
        py.detach(|| ByteState::new(&self.inner, &context, text)).map(PyByteState::wrap).map_err(raise)
    }

    #[getter]
    fn symbols<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, self.inner.symbols())
    }
}

#[pyclass(frozen, name = "ByteState", module = "tokenloom._core.bytelevel")]
pub(crate) struct PyByteState {
    inner: ByteState,
}

impl PyByteState {
    fn wrap(inner: ByteState) -> Self {
        Self { inner }
    }
}

fn purpose(name: &str) -> Purpose {
    match name {
        "next_byte" => Purpose::NextByte,
        "covers" => Purpose::Covers,
        _ => Purpose::Mass,
    }
}

#[pymethods]
impl PyByteState {
    fn pushed(&self, py: Python<'_>, byte: u8) -> PyResult<Self> {
        py.detach(|| self.inner.pushed(byte)).map(Self::wrap).map_err(raise)
    }

    fn contexts(&self, py: Python<'_>, needed_for: &str, limit: usize) -> Vec<Vec<u32>> {
        py.detach(|| self.inner.contexts(purpose(needed_for), limit))
    }

    fn filled(
        &self,
        py: Python<'_>,
        needed_for: &str,
        limit: usize,
        rows: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Self> {
        let n_columns = rows.shape()[1].max(1);
        let values = elements(&rows, "rows")?;
        let fill = || {
            let rows: Vec<&[f64]> = values.chunks(n_columns).collect();
            self.inner.filled(purpose(needed_for), limit, &rows)
        };
        py.detach(fill).map(Self::wrap).map_err(raise)
    }

    fn next_byte<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyArray1<f64>>, f64)> {
        let next = py.detach(|| self.inner.next_byte()).ok_or_else(missing_rows)?.map_err(raise)?;
        Ok((next.log_probs.into_pyarray(py), next.leaked))
    }

    fn log_mass(&self, py: Python<'_>) -> PyResult<f64> {
        py.detach(|| self.inner.log_mass()).ok_or_else(missing_rows)
    }

    #[allow(clippy::type_complexity)]
    fn covers<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(
        Bound<'py, PyArray1<u32>>,
        Bound<'py, PyArray1<u32>>,
        Bound<'py, PyArray1<i64>>,
        Bound<'py, PyArray1<f64>>,
    )> {
        let covers = py.detach(|| self.inner.covers()).ok_or_else(missing_rows)?.map_err(raise)?;
        Ok((
            covers.ids.into_pyarray(py),
            covers.values.into_pyarray(py),
            covers.offsets.into_pyarray(py),
            covers.log_probs.into_pyarray(py),
        ))
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.inner.n_bytes()
    }
}

//! The Python face of the `bytelevel` domain: extract, detach, one core call, wrap.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_decode::bytelevel::{
    ByteState, CanonicalLaw, Limits, MarginalLaw, MarginalState, Purpose, Sequence,
};
use tokenloom_tokenize::Tokenizer;
use tokenloom_vocab::TrieNode;

use crate::array::{TokenIds, elements};
use crate::error::{missing_rows, raise};
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.bytelevel`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod bytelevel {
    #[pymodule_export]
    use super::{PyByteState, PyCanonicalLaw, PyMarginalLaw, PyMarginalState, PySequence, PyTokenTrie};
}

/// Ids that are no ids become one that no tokenizer has.
fn unsigned(ids: TokenIds) -> Vec<u32> {
    ids.0.into_iter().map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect()
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
        let context = unsigned(context);
        let text = text.as_bytes();
        py.detach(|| ByteState::new(&self.inner, &context, text)).map(PyByteState::wrap).map_err(raise)
    }

    /// No token behind `context`.
    fn sequence(&self, context: TokenIds) -> PySequence {
        let inner = Sequence::new(&self.inner, &unsigned(context));
        PySequence { law: Arc::clone(&self.inner), inner }
    }

    fn is_encoding(&self, ids: TokenIds) -> PyResult<bool> {
        self.inner.is_encoding(&unsigned(ids)).map_err(raise)
    }

    #[getter]
    fn caveats(&self) -> Vec<&'static str> {
        self.inner.caveats().to_vec()
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

    fn contexts(&self, needed_for: &str, limit: usize) -> Vec<(usize, Vec<u32>)> {
        let contexts = self.inner.contexts(purpose(needed_for), limit);
        contexts.into_iter().map(|context| (context.n_trunk, context.ids)).collect()
    }

    fn trunk(&self, first: usize) -> Vec<u32> {
        self.inner.trunk(first)
    }

    fn slimmed(&self) -> Self {
        Self::wrap(self.inner.slimmed())
    }

    #[getter]
    fn n_trunk(&self) -> usize {
        self.inner.n_trunk()
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

    /// Log-probabilities, the leaked share, and the share that may be missing.
    fn next_byte<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyArray1<f64>>, f64, f64)> {
        let next = py.detach(|| self.inner.next_byte()).ok_or_else(missing_rows)?.map_err(raise)?;
        Ok((next.log_probs.into_pyarray(py), next.leaked, 0.0))
    }

    /// The log mass, and the share that may be missing.
    fn log_mass(&self, py: Python<'_>) -> PyResult<(f64, f64)> {
        Ok((py.detach(|| self.inner.log_mass()).ok_or_else(missing_rows)?, 0.0))
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

#[pyclass(frozen, name = "Sequence", module = "tokenloom._core.bytelevel")]
pub(crate) struct PySequence {
    law: Arc<CanonicalLaw>,
    inner: Sequence,
}

#[pymethods]
impl PySequence {
    /// `None` if no encoding starts with the sequence and this id.
    fn pushed(&self, id: u32) -> PyResult<Option<Self>> {
        let mut inner = self.inner.clone();
        let is_viable = inner.push(&self.law, id).map_err(raise)?;
        Ok(is_viable.then(|| Self { law: Arc::clone(&self.law), inner }))
    }

    /// Packed words: which tokens may follow.
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let mask = py.detach(|| self.inner.mask(&self.law)).map_err(raise)?;
        Ok(mask.words().iter().map(|&word| word as i32).collect::<Vec<_>>().into_pyarray(py))
    }

    /// Whether the sequence is the encoding of its bytes.
    fn ends(&self) -> bool {
        self.inner.ends(&self.law)
    }
}

#[pyclass(frozen, name = "MarginalLaw", module = "tokenloom._core.bytelevel")]
pub(crate) struct PyMarginalLaw {
    inner: Arc<MarginalLaw>,
}

#[pymethods]
impl PyMarginalLaw {
    #[new]
    fn new(
        py: Python<'_>,
        tokenizer: &Bound<'_, PyTokenizer>,
        max_tv: f64,
        max_heads: usize,
        min_share: f64,
    ) -> PyResult<Self> {
        let tokenizer = Arc::clone(&tokenizer.get().inner);
        let limits = Limits { max_tv, max_heads, min_share };
        let law = py.detach(|| MarginalLaw::new(tokenizer, limits)).map_err(raise)?;
        Ok(Self { inner: Arc::new(law) })
    }

    fn inserted<'py>(&self, py: Python<'py>, context: TokenIds) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.inserted(&unsigned(context)))
    }

    #[getter]
    fn caveats(&self) -> Vec<&'static str> {
        self.inner.caveats().to_vec()
    }

    fn start(&self, context: TokenIds) -> PyMarginalState {
        PyMarginalState { inner: MarginalState::new(&self.inner, &unsigned(context)) }
    }

    #[getter]
    fn symbols<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, self.inner.symbols())
    }
}

#[pyclass(frozen, name = "MarginalState", module = "tokenloom._core.bytelevel")]
pub(crate) struct PyMarginalState {
    inner: MarginalState,
}

#[pymethods]
impl PyMarginalState {
    fn pushed(&self, py: Python<'_>, byte: u8) -> PyResult<Self> {
        py.detach(|| self.inner.pushed(byte)).map(|inner| Self { inner }).map_err(raise)
    }

    fn contexts(&self, needed_for: &str, limit: usize) -> Vec<(usize, Vec<u32>)> {
        let contexts = self.inner.contexts(needed_for != "next_byte", limit);
        contexts.into_iter().map(|context| (context.n_trunk, context.ids)).collect()
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
            self.inner.filled(needed_for != "next_byte", limit, &rows)
        };
        py.detach(fill).map(|inner| Self { inner }).map_err(raise)
    }

    fn next_byte<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyArray1<f64>>, f64, f64)> {
        let next = py.detach(|| self.inner.next_byte()).map_err(raise)?;
        Ok((next.log_probs.into_pyarray(py), next.leaked, self.inner.certificate(false)))
    }

    /// The log mass that was found, and the share that may be missing.
    fn log_mass(&self) -> (f64, f64) {
        (self.inner.log_mass(), self.inner.certificate(true))
    }

    fn trunk(&self, first: usize) -> Vec<u32> {
        self.inner.context(first)
    }

    fn slimmed(&self) -> Self {
        Self { inner: self.inner.slimmed() }
    }

    #[getter]
    fn n_trunk(&self) -> usize {
        self.inner.n_context()
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.inner.n_bytes()
    }
}

/// Nodes are `(lo, hi, depth)`.
#[pyclass(frozen, name = "TokenTrie", module = "tokenloom._core.bytelevel")]
pub(crate) struct PyTokenTrie {
    inner: Arc<Tokenizer>,
}

#[pymethods]
impl PyTokenTrie {
    #[new]
    fn new(py: Python<'_>, tokenizer: &Bound<'_, PyTokenizer>) -> Self {
        let inner = Arc::clone(&tokenizer.get().inner);
        py.detach(|| inner.byte_trie());
        Self { inner }
    }

    fn root(&self) -> (u32, u32, u32) {
        let TrieNode { lo, hi, depth } = self.inner.byte_trie().root();
        (lo, hi, depth)
    }

    /// The ids whose bytes end at the node.
    fn exact(&self, node: (u32, u32, u32)) -> Vec<u32> {
        let (lo, hi, depth) = node;
        let trie = self.inner.byte_trie();
        trie.ids()[trie.exact(TrieNode { lo, hi, depth })].to_vec()
    }

    /// The bytes that tokens go on with, and their nodes.
    fn children(&self, node: (u32, u32, u32)) -> Vec<(u8, (u32, u32, u32))> {
        let (lo, hi, depth) = node;
        let children = self.inner.byte_trie().children(TrieNode { lo, hi, depth });
        children.map(|(byte, node)| (byte, (node.lo, node.hi, node.depth))).collect()
    }
}

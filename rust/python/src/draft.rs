//! The Python face of the `draft` domain: extract, detach, one core call, wrap.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use tokenloom_decode::draft::{DraftTree, Stream, Suffix, token_ids};

use crate::array::{Floats, TokenIds};
use crate::error::raise;

/// See `tokenloom.draft`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod draft {
    #[pymodule_export]
    use super::{PyDraftTree, PyStream, PySuffix};
}

/// Appending more tokens than this takes longer than the interpreter lock should be held.
const LONG: usize = 64;

/// Drafted tokens as a tree in topological order: a parent comes before its children.
///
/// Args:
///     tokens: drafted ids, int[n].
///     parents: index of each node's parent, int[n]; -1 for a child of the root, the last committed token.
///     probs: how likely each node is given its parent, float[n] in [0, 1]; default 1.
///
/// Raises:
///     DraftError: A parent does not come before its node, or the lengths differ.
///
/// >>> import tokenloom as tl
/// >>> tree = tl.draft.DraftTree(tokens=[5, 6, 7], parents=[-1, 0, 0])
/// >>> tree.depths.tolist(), tree.position_ids(past=10).tolist()
/// ([1, 2, 2], [10, 11, 12, 12])
#[pyclass(frozen, eq, name = "DraftTree", module = "tokenloom.draft")]
#[derive(PartialEq)]
pub(crate) struct PyDraftTree {
    pub(crate) tree: DraftTree,
}

#[pymethods]
impl PyDraftTree {
    #[new]
    #[pyo3(signature = (tokens, parents, probs = None))]
    fn new(tokens: TokenIds, parents: TokenIds, probs: Option<Floats<'_>>) -> PyResult<Self> {
        let probs = match probs {
            None => vec![1.0; tokens.0.len()],
            Some(Floats::F32(array)) => array.as_array().iter().copied().collect(),
            Some(Floats::F64(array)) => array.as_array().iter().map(|&prob| prob as f32).collect(),
        };
        Ok(Self { tree: DraftTree::new(&tokens.0, &parents.0, probs).map_err(raise)? })
    }

    /// Drafted ids, int32[n].
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        PyArray1::from_slice(py, self.tree.tokens())
    }

    /// Index of each node's parent, int32[n]; -1 for a child of the root.
    #[getter]
    fn parents<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        PyArray1::from_slice(py, self.tree.parents())
    }

    /// Distance of each node from the root, int32[n]; a child of the root has depth 1.
    #[getter]
    fn depths<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        PyArray1::from_slice(py, self.tree.depths())
    }

    /// How likely each node is given its parent, float32[n].
    #[getter]
    fn probs<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_slice(py, self.tree.probs())
    }

    /// Which columns each row may see, bool[n + 1, past + n + 1]: row 0 is the last committed token, row j + 1 is node j;
    /// the first `past` columns are the tokens before.
    fn attention_mask<'py>(&self, py: Python<'py>, past: usize) -> PyResult<Bound<'py, PyArray2<bool>>> {
        let n_rows = self.tree.n_nodes() + 1;
        py.detach(|| self.tree.attention_mask(past)).into_pyarray(py).reshape([n_rows, past + n_rows])
    }

    /// Position of each row of `attention_mask`, int64[n + 1].
    fn position_ids<'py>(&self, py: Python<'py>, past: usize) -> Bound<'py, PyArray1<i64>> {
        self.tree.position_ids(past).into_pyarray(py)
    }

    fn __len__(&self) -> usize {
        self.tree.n_nodes()
    }

    fn __repr__(&self) -> String {
        format!("DraftTree(tokens={:?}, parents={:?})", self.tree.tokens(), self.tree.parents())
    }

    #[expect(clippy::type_complexity)]
    fn __getnewargs__<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f32>>) {
        (self.tokens(py), self.parents(py), self.probs(py))
    }
}

#[pyclass(frozen, name = "Suffix", module = "tokenloom._core.draft")]
pub(crate) struct PySuffix {
    suffix: Suffix,
}

#[pymethods]
impl PySuffix {
    #[new]
    fn new(max_depth: usize, max_bytes: usize, min_prob: f64) -> PyResult<Self> {
        Ok(Self { suffix: Suffix::new(max_depth, max_bytes, min_prob).map_err(raise)? })
    }

    #[getter]
    fn max_depth(&self) -> usize {
        self.suffix.max_depth()
    }

    #[getter]
    fn max_bytes(&self) -> usize {
        self.suffix.max_bytes()
    }

    #[getter]
    fn min_prob(&self) -> f64 {
        self.suffix.min_prob()
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.suffix.n_bytes()
    }

    #[getter]
    fn n_tokens(&self) -> usize {
        self.suffix.n_tokens()
    }

    fn documents<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyArray1<u32>>> {
        self.suffix.documents().into_iter().map(|document| document.into_pyarray(py)).collect()
    }

    fn begin(&self, py: Python<'_>, prompt_ids: TokenIds) -> PyResult<PyStream> {
        let stream = py.detach(|| self.suffix.begin(&token_ids(&prompt_ids.0)?)).map_err(raise)?;
        Ok(PyStream { stream: Mutex::new(stream) })
    }
}

#[pyclass(frozen, name = "Stream", module = "tokenloom._core.draft")]
pub(crate) struct PyStream {
    stream: Mutex<Stream>,
}

impl PyStream {
    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyStream {
    fn propose(&self, budget: i64) -> PyResult<PyDraftTree> {
        Ok(PyDraftTree { tree: self.lock().propose(budget).map_err(raise)? })
    }

    fn commit(&self, py: Python<'_>, ids: TokenIds) -> PyResult<()> {
        let commit = || self.lock().commit(&token_ids(&ids.0)?);
        if ids.0.len() > LONG { py.detach(commit) } else { commit() }.map_err(raise)
    }

    /// The history is written in short slices, each under the interpreter lock: a fork between them finds no lock held
    /// by a thread that the child does not have.
    fn end(&self, py: Python<'_>) {
        let Some(mut ended) = self.lock().end() else { return };
        while ended.write_slice() {
            py.detach(|| {});
        }
    }

    fn occurrence(&self) -> PyResult<Option<(usize, u32, usize)>> {
        let occurrence = self.lock().occurrence().map_err(raise)?;
        Ok(occurrence.map(|found| (found.n_tokens, found.n_continued, found.latest)))
    }

    #[getter]
    fn n_tokens(&self) -> usize {
        self.lock().n_tokens()
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.lock().n_bytes()
    }
}

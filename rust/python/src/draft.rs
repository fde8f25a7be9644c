//! The Python face of the `draft` domain: extract, detach, one core call, wrap.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1,
    PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_decode::draft::index::Archive;
use tokenloom_decode::draft::{
    self as core, CostCurve, DraftError as CoreDraftError, DraftTree, Drafter, Merged, Ngram, Recycling,
    Spine, Stream, Suffix, TopRows, TreeRows, Trie, token_ids,
};
use tokenloom_storage::{read_words, write_whole};

use crate::array::{Floats, TokenIds};
use crate::error::{DraftError, array_error, raise};

/// See `tokenloom.draft`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod draft {
    #[pymodule_export]
    use super::{
        PyDraftTree, PyDrafter, PyStream, checked_ids, commit_batch, next_branch, next_threshold, paying,
        propose_batch, propose_into, sparse_tree, with_slots, write_trees,
    };
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
    pub(crate) tree: Arc<DraftTree>,
}

impl From<DraftTree> for PyDraftTree {
    fn from(tree: DraftTree) -> Self {
        Self { tree: Arc::new(tree) }
    }
}

#[pymethods]
impl PyDraftTree {
    #[new]
    #[pyo3(signature = (tokens, parents, probs = None))]
    fn new(tokens: TokenIds, parents: TokenIds, probs: Option<Floats<'_>>) -> PyResult<Self> {
        let probs: Vec<f32> = match probs {
            None => vec![1.0; tokens.0.len()],
            Some(Floats::F32(array)) => array.as_array().iter().copied().collect(),
            Some(Floats::F64(array)) => array.as_array().iter().map(|&prob| prob as f32).collect(),
        };
        Ok(DraftTree::new(&tokens.0, &parents.0, probs).map_err(raise)?.into())
    }

    /// A chain: each node continues the one before.
    ///
    /// >>> import tokenloom as tl
    /// >>> tl.draft.DraftTree.chain([5, 6]).parents.tolist()
    /// [-1, 0]
    #[staticmethod]
    #[pyo3(signature = (tokens, probs = None))]
    fn chain(tokens: TokenIds, probs: Option<Floats<'_>>) -> PyResult<Self> {
        let parents = (-1..tokens.0.len() as i64 - 1).collect();
        Self::new(tokens, TokenIds(parents), probs)
    }

    /// How many nodes the chain has that the tree begins with: each is the child of the one before. A drafter lists its
    /// most probable chain first, so a cache holds the accepted rows in order when that chain is accepted.
    #[getter]
    fn chain_length(&self) -> usize {
        self.tree.chain_length()
    }

    /// The nodes that `keep`, bool[n], marks and whose ancestors it marks too, and the index each had before, int64[m].
    fn cut<'py>(
        &self,
        py: Python<'py>,
        keep: PyReadonlyArray1<'py, bool>,
    ) -> PyResult<(Self, Bound<'py, PyArray1<i64>>)> {
        let (tree, kept) = self.tree.cut(&keep.as_array().to_vec()).map_err(raise)?;
        let kept: Vec<i64> = kept.into_iter().map(|node| node as i64).collect();
        Ok((tree.into(), kept.into_pyarray(py)))
    }

    /// The last columns of `attention_mask`, without the past, as bits, int32[n + 1, ceil((n + 1) / 32)]: row r sees
    /// row c where bit c % 32 of word c // 32 is set.
    fn mask_words<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i32>>> {
        let n_rows = self.tree.n_nodes() + 1;
        self.tree.mask_words().map_err(raise)?.into_pyarray(py).reshape([n_rows, n_rows.div_ceil(32)])
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
    ///
    /// Raises:
    ///     DraftError: `past` is negative.
    ///     LimitError: the mask takes more than 2 GiB.
    fn attention_mask<'py>(&self, py: Python<'py>, past: Whole) -> PyResult<Bound<'py, PyArray2<bool>>> {
        let (n_rows, past) = (self.tree.n_nodes() + 1, past.count("past")?);
        let mask = py.detach(|| self.tree.attention_mask(past)).map_err(raise)?;
        mask.into_pyarray(py).reshape([n_rows, past + n_rows])
    }

    /// Position of each row of `attention_mask`, int64[n + 1].
    ///
    /// Raises:
    ///     DraftError: `past` is negative.
    ///     LimitError: `past` is above 2**31 - 1.
    fn position_ids<'py>(&self, py: Python<'py>, past: Whole) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(self.tree.position_ids(past.count("past")?).map_err(raise)?.into_pyarray(py))
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

/// Likely tokens and their log-probabilities as the caller gave them: int[rows, k] and float32[rows, k].
type Top<'py> = Option<(PyReadonlyArray2<'py, i64>, Option<PyReadonlyArray2<'py, f32>>)>;

fn top_rows(top: &Top<'_>) -> PyResult<Option<TopRows>> {
    let Some((ids, log_probs)) = top else { return Ok(None) };
    let n_top = ids.as_array().ncols();
    let log_probs = log_probs.as_ref().map(|rows| rows.as_array().iter().copied().collect());
    let ids: Vec<i64> = ids.as_array().iter().copied().collect();
    TopRows::new(&ids, n_top, log_probs).map(Some).map_err(raise)
}

/// A whole number; one beyond 64 bits counts as the nearest that is not.
struct Whole(i64);

impl<'a, 'py> FromPyObject<'a, 'py> for Whole {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(number) => Ok(Self(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Self(if object.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Whole {
    fn count(&self, name: &str) -> PyResult<usize> {
        let expected = |_| DraftError::new_err(format!("expected {name} of at least 0, found {}", self.0));
        usize::try_from(self.0).map_err(expected)
    }
}

/// A drafter of any kind.
#[pyclass(frozen, name = "Drafter", module = "tokenloom._core.draft")]
pub(crate) struct PyDrafter {
    drafter: Arc<dyn Drafter>,
}

/// Rows and seconds of a cost curve.
type Cost = Option<(Vec<u32>, Vec<f64>)>;

fn cost_curve(cost: Cost) -> PyResult<Option<CostCurve>> {
    cost.map(|(rows, seconds)| CostCurve::new(rows, seconds)).transpose().map_err(raise)
}

/// How many nodes pay, and the seconds of a pass over each number of rows.
#[pyfunction]
fn paying(cost: Cost, path_probs: Vec<f32>, rows: Vec<usize>) -> PyResult<(usize, Vec<f64>)> {
    let Some(curve) = cost_curve(cost)? else { return Ok((path_probs.len(), Vec::new())) };
    Ok((curve.n_paying(path_probs), rows.into_iter().map(|n_rows| curve.at(n_rows)).collect()))
}

impl PyDrafter {
    fn of(drafter: Result<impl Drafter + 'static, CoreDraftError>) -> PyResult<Self> {
        Ok(Self { drafter: Arc::new(drafter.map_err(raise)?) })
    }
}

#[pymethods]
impl PyDrafter {
    #[staticmethod]
    fn suffix(
        max_depth: Whole,
        max_bytes: Whole,
        min_prob: f64,
        shares_prompts: bool,
        cost: Cost,
    ) -> PyResult<Self> {
        let cost = cost_curve(cost)?;
        let (max_depth, max_bytes) = (max_depth.count("max_depth")?, max_bytes.count("max_bytes")?);
        Self::of(Suffix::new(max_depth, max_bytes, min_prob, shares_prompts, cost))
    }

    #[staticmethod]
    fn ngram(min_match: Whole, max_match: Whole, n_copied: Whole) -> PyResult<Self> {
        let (min_match, max_match) = (min_match.count("min_match")?, max_match.count("max_match")?);
        Self::of(Ngram::new(min_match, max_match, n_copied.count("length")?))
    }

    #[staticmethod]
    fn trie(key_length: Whole, branch_length: Whole, max_bytes: Whole) -> PyResult<Self> {
        let (key, branch) = (key_length.count("key_length")?, branch_length.count("branch_length")?);
        Self::of(Trie::new(key, branch, max_bytes.count("max_bytes")?))
    }

    #[staticmethod]
    fn recycling(n_rows: Whole, min_prob: f64) -> PyResult<Self> {
        Self::of(Recycling::new(n_rows.count("rows")?, min_prob))
    }

    #[staticmethod]
    fn spine(n_rows: Whole) -> PyResult<Self> {
        Self::of(Spine::new(n_rows.count("rows")?))
    }

    #[staticmethod]
    fn merged(drafters: Vec<Py<Self>>, n_told: usize, min_prob: f64, cost: Cost) -> PyResult<Self> {
        let drafters = drafters.iter().map(|drafter| Arc::clone(&drafter.get().drafter)).collect();
        Self::of(Merged::new(drafters, n_told, min_prob, cost_curve(cost)?))
    }

    #[getter]
    fn n_bytes(&self) -> usize {
        self.drafter.n_bytes()
    }

    #[getter]
    fn n_tokens(&self) -> usize {
        self.drafter.n_tokens()
    }

    /// The finished texts of each segment.
    fn segments<'py>(&self, py: Python<'py>) -> Vec<Vec<Bound<'py, PyArray1<u32>>>> {
        let array = |document| PyArray1::from_slice(py, document);
        let segments = self.drafter.history().map(|history| history.segments()).unwrap_or_default();
        segments.iter().map(|segment| segment.documents().map(array).collect()).collect()
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let Some(history) = self.drafter.history() else { return Ok(()) };
        py.detach(|| write_whole(&path, |out| Archive::write(history, out)))?;
        Ok(())
    }

    fn load(&self, py: Python<'_>, path: PathBuf, in_place: bool) -> PyResult<()> {
        let Some(history) = self.drafter.history() else { return Ok(()) };
        let (words, n_bytes) = py.detach(|| read_words(&path, in_place))?;
        py.detach(|| Archive::read(&words, n_bytes, in_place, history)).map_err(raise)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let Some(history) = self.drafter.history() else { return Ok(PyBytes::new(py, b"")) };
        let bytes = py.detach(|| Archive::write(history, Vec::new()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn add_bytes(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        let Some(history) = self.drafter.history() else { return Ok(()) };
        py.detach(|| Archive::read_bytes(bytes, history)).map_err(raise)
    }

    fn learned<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.drafter.learned().into_pyarray(py)
    }

    fn learn_from(&self, counters: PyReadonlyArray1<'_, f32>) -> PyResult<()> {
        self.drafter.learn_from(counters.as_slice()?).map_err(raise)
    }
}

#[pyclass(frozen, subclass, name = "Stream", module = "tokenloom._core.draft")]
pub(crate) struct PyStream {
    stream: Mutex<Stream>,
    /// Whose it is; an ended stream does not keep its drafter alive.
    drafter: Weak<dyn Drafter>,
}

impl PyStream {
    fn lock(&self) -> MutexGuard<'_, Stream> {
        core::lock(&self.stream)
    }
}

/// The public class adds what needs Python; a proposal comes straight here.
#[pymethods]
impl PyStream {
    #[new]
    fn new(py: Python<'_>, drafter: Py<PyDrafter>, prompt_ids: TokenIds, top: Top<'_>) -> PyResult<Self> {
        let (drafter, top) = (&drafter.get().drafter, top_rows(&top)?);
        let begin = || drafter.begin(&token_ids(&prompt_ids.0)?, top.as_ref());
        let stream = Mutex::new(py.detach(begin).map_err(raise)?);
        Ok(Self { stream, drafter: Arc::downgrade(drafter) })
    }

    /// Draft at most ``budget`` tokens behind the text, the most probable chain first.
    ///
    /// Args:
    ///     budget: most tokens drafted.
    ///     chain: draft a chain, for a loop that verifies nothing else: the whole budget goes into it.
    ///
    /// Returns:
    ///     A tree, empty where nothing is probable enough.
    ///
    /// Raises:
    ///     DraftError: the stream has ended, or the budget is negative.
    #[pyo3(signature = (budget = Whole(64), *, chain = false), text_signature = "($self, budget=64, *, chain=False)")]
    fn propose(&self, budget: Whole, chain: bool) -> PyResult<PyDraftTree> {
        Ok(PyDraftTree { tree: self.lock().propose(budget.0, chain).map_err(raise)? })
    }

    fn guide(&self, told: Vec<Py<PyDraftTree>>) -> PyResult<()> {
        let told: Vec<_> = told.iter().map(|tree| DraftTree::clone(&tree.get().tree)).collect();
        self.lock().guide(&told).map_err(raise)
    }

    fn append(
        &self,
        py: Python<'_>,
        ids: TokenIds,
        tree: Option<Py<PyDraftTree>>,
        top: Top<'_>,
    ) -> PyResult<()> {
        let top = top_rows(&top)?;
        let tree = tree.as_ref().map(|tree| &*tree.get().tree);
        let commit = || self.lock().commit(&token_ids(&ids.0)?, tree, top.as_ref());
        if ids.0.len() > LONG { py.detach(commit) } else { commit() }.map_err(raise)
    }

    /// End the stream: its index is freed and its text joins what the drafter shares. Ending twice is nothing.
    // A large merge goes to a thread of its own, which nobody waits for.
    fn end(&self, py: Python<'_>) {
        for ended in self.lock().end() {
            if let Some(job) = py.detach(|| ended.share(std::process::id())) {
                std::thread::spawn(|| job.run());
            }
        }
    }

    /// What the stream's own text says about its latest tokens.
    ///
    /// Returns:
    ///     None where they are new or the drafter has no index; otherwise ``(n_tokens, n_continued, latest)``: the length
    ///     of the longest suffix that occurred before (at most ``max_depth``), how often it was followed by a token, and
    ///     the index of the token that followed it last.
    ///
    /// Raises:
    ///     DraftError: the stream has ended.
    fn occurrence(&self) -> PyResult<Option<(usize, u32, usize)>> {
        let occurrence = self.lock().occurrence().map_err(raise)?;
        Ok(occurrence.map(|found| (found.n_tokens, found.n_continued, found.latest)))
    }

    /// How many of the latest tokens occurred before and were continued, in the stream's own text or in ended ones that
    /// the drafter shares; 0 where they are new or the drafter has no index.
    ///
    /// Raises:
    ///     DraftError: the stream has ended.
    fn n_matched(&self) -> PyResult<usize> {
        self.lock().n_matched().map_err(raise)
    }

    /// Tokens of the text, prompt included; 0 once the stream has ended.
    #[getter]
    fn n_tokens(&self) -> usize {
        self.lock().n_tokens()
    }

    /// Memory held by the index of the stream; 0 once it has ended.
    #[getter]
    fn n_bytes(&self) -> usize {
        self.lock().n_bytes()
    }
}

/// Token ids that are checked as those of a stream, int32[n].
#[pyfunction]
fn checked_ids(py: Python<'_>, ids: TokenIds) -> PyResult<Bound<'_, PyArray1<i32>>> {
    let ids = token_ids(&ids.0).map_err(raise)?;
    Ok(PyArray1::from_iter(py, ids.into_iter().map(|id| id as i32)))
}

#[pyfunction]
fn sparse_tree(accuracy: Vec<Vec<f32>>, n_nodes: usize) -> PyDraftTree {
    core::sparse_tree(&accuracy, n_nodes).into()
}

/// Owners, offsets and the mask.
type Slots<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<bool>>);

#[pyfunction]
fn with_slots<'py>(py: Python<'py>, tree: Py<PyDraftTree>, slots: Vec<usize>) -> PyResult<Slots<'py>> {
    let template = py.detach(|| core::with_slots(&tree.get().tree, &slots)).map_err(raise)?;
    let n_rows = template.offsets.len();
    let owners = PyArray1::from_iter(py, template.owners.iter().map(|&row| row as i64));
    Ok((owners, template.offsets.into_pyarray(py), template.mask.into_pyarray(py).reshape([n_rows, n_rows])?))
}

#[pyfunction]
fn next_threshold(threshold: f64, n_right: usize, n_drafted: usize, confidence: f64) -> f64 {
    core::pacing::next_threshold(threshold, n_right, n_drafted, confidence)
}

#[pyfunction]
fn next_branch(confidences: Vec<f64>, n_tokens: Vec<usize>) -> Option<usize> {
    core::pacing::next_branch(&confidences, &n_tokens)
}

/// The streams of a batch, which are to be the drafter's own.
fn own_streams<'a>(drafter: &PyDrafter, streams: &'a [Py<PyStream>]) -> PyResult<Vec<&'a Mutex<Stream>>> {
    let is_own =
        |stream: &PyStream| std::ptr::addr_eq(stream.drafter.as_ptr(), Arc::as_ptr(&drafter.drafter));
    match streams.iter().position(|stream| !is_own(stream.get())) {
        None => Ok(streams.iter().map(|stream| &stream.get().stream).collect()),
        Some(index) => {
            let message = format!("expected streams of this drafter, found another's at index {index}");
            Err(DraftError::new_err(message))
        }
    }
}

#[pyfunction]
fn propose_batch(
    py: Python<'_>,
    drafter: Py<PyDrafter>,
    streams: Vec<Py<PyStream>>,
    budget: Whole,
    chain: bool,
    n_threads: Whole,
) -> PyResult<Vec<PyDraftTree>> {
    let n_threads = n_threads.count("threads")?;
    let streams = own_streams(drafter.get(), &streams)?;
    let trees = py.detach(|| core::propose_batch(&streams, budget.0, chain, n_threads)).map_err(raise)?;
    Ok(trees.into_iter().map(|tree| PyDraftTree { tree }).collect())
}

/// Tokens, parents, depths, probabilities, lengths.
type Buffers<'py> = (
    PyReadwriteArray2<'py, i32>,
    PyReadwriteArray2<'py, i32>,
    PyReadwriteArray2<'py, i32>,
    PyReadwriteArray2<'py, f32>,
    PyReadwriteArray1<'py, i32>,
);

#[pyfunction]
fn propose_into(
    py: Python<'_>,
    drafter: Py<PyDrafter>,
    streams: Vec<Py<PyStream>>,
    budget: Whole,
    chain: bool,
    n_threads: Whole,
    mut buffers: Buffers<'_>,
) -> PyResult<()> {
    let (width, rows) = tree_rows(py, &mut buffers, streams.len())?;
    let n_threads = n_threads.count("threads")?;
    let streams = own_streams(drafter.get(), &streams)?;
    py.detach(|| core::propose_into(&streams, budget.0, chain, n_threads, width, rows)).map_err(raise)
}

/// Trees that are there, of at most as many nodes as the buffers are wide.
#[pyfunction]
fn write_trees(py: Python<'_>, trees: Vec<Py<PyDraftTree>>, mut buffers: Buffers<'_>) -> PyResult<()> {
    let (width, mut rows) = tree_rows(py, &mut buffers, trees.len())?;
    if let Some(longer) = trees.iter().map(|tree| tree.get().tree.n_nodes()).find(|&n| n > width) {
        return Err(array_error(
            py,
            "out",
            &format!("{longer} wide, as the largest tree"),
            &width.to_string(),
        ));
    }
    for (row, tree) in trees.iter().enumerate() {
        rows.write(row, width, &tree.get().tree);
    }
    Ok(())
}

/// The width of buffers for so many streams, and their memory.
fn tree_rows<'a>(
    py: Python<'_>,
    buffers: &'a mut Buffers<'_>,
    n_streams: usize,
) -> PyResult<(usize, TreeRows<'a>)> {
    let (width, n_rows) = (buffers.0.as_array().ncols(), buffers.4.len());
    let shapes = [buffers.0.as_array().dim(), buffers.1.as_array().dim(), buffers.2.as_array().dim()];
    let is_right = |shape: &(usize, usize)| *shape == (n_streams, width);
    if n_rows != n_streams || !shapes.iter().all(is_right) || !is_right(&buffers.3.as_array().dim()) {
        let expected = format!("{n_streams} rows, as many as streams, all of one width");
        let found = format!("{shapes:?}, {:?} and {n_rows}", buffers.3.as_array().dim());
        return Err(array_error(py, "out", &expected, &found));
    }
    let rows = TreeRows {
        tokens: buffers.0.as_slice_mut()?,
        parents: buffers.1.as_slice_mut()?,
        depths: buffers.2.as_slice_mut()?,
        probs: buffers.3.as_slice_mut()?,
        lengths: buffers.4.as_slice_mut()?,
    };
    Ok((width, rows))
}

#[pyfunction]
fn commit_batch(
    py: Python<'_>,
    drafter: Py<PyDrafter>,
    streams: Vec<Py<PyStream>>,
    ids: Vec<TokenIds>,
    tops: Vec<Top<'_>>,
    n_threads: Whole,
) -> PyResult<()> {
    if ids.len() != streams.len() || tops.len() != streams.len() {
        let expected = format!("one entry for each of the {} streams", streams.len());
        return Err(array_error(py, "ids", &expected, &ids.len().to_string()));
    }
    let n_threads = n_threads.count("threads")?;
    let streams = own_streams(drafter.get(), &streams)?;
    let tops: Vec<_> = tops.iter().map(top_rows).collect::<PyResult<_>>()?;
    let ids: Vec<_> = ids.iter().map(|ids| token_ids(&ids.0)).collect::<Result<_, _>>().map_err(raise)?;
    py.detach(|| core::commit_batch(&streams, &ids, &tops, n_threads)).map_err(raise)
}

//! The Python face of constraints in the `control` domain: extract, detach, one core call, wrap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray1, PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_decode::control::{
    self as core, Automaton, ByteAutomaton, ByteWalker, Choice, Conjunction, Constraint, ConstraintState,
    ControlError, Excerpt, Grammar, GrammarSource, GrammarVocabulary, Phrases, SharedState, Table,
};
use tokenloom_tokenize::{AllowedSpecial, EncodeOptions, Tokenizer};

use crate::array::{TokenIds, elements};
use crate::error::{ArrayError, constraint_error, raise};
use crate::tokenizer::PyTokenizer;

#[pyclass(frozen, name = "Constraint", module = "tokenloom._core.control")]
pub(crate) struct PyConstraint {
    inner: Arc<dyn Constraint>,
    vocabulary: Arc<GrammarVocabulary>,
}

impl PyConstraint {
    /// An automaton, built without the interpreter.
    fn automaton<A: ByteAutomaton>(
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: &[u32],
        build: impl FnOnce() -> Result<A, ControlError> + Send,
    ) -> PyResult<Self> {
        let (py, tokenizer) = (tokenizer.py(), tokenizer.get());
        let made = py.detach(|| {
            let (built, vocabulary) = (build()?, vocabulary(tokenizer)?);
            Ok((Automaton::new(built, Arc::clone(&vocabulary), eos)?, vocabulary))
        });
        let (made, vocabulary) = made.map_err(|error: ControlError| raise(error))?;
        Ok(Self { inner: Arc::new(made), vocabulary })
    }
}

#[pymethods]
impl PyConstraint {
    #[staticmethod]
    fn grammar(
        py: Python<'_>,
        kind: &str,
        source: &str,
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: Vec<u32>,
    ) -> PyResult<Self> {
        let source = match kind {
            "json_schema" => GrammarSource::JsonSchema(source),
            "regex" => GrammarSource::Regex(source),
            _ => GrammarSource::Lark(source),
        };
        let tokenizer = tokenizer.get();
        let made = py.detach(|| {
            let vocabulary = vocabulary(tokenizer)?;
            Ok((Grammar::new(&source, Arc::clone(&vocabulary), &eos)?, vocabulary))
        });
        let (made, vocabulary) = made.map_err(|error: ControlError| raise(error))?;
        Ok(Self { inner: Arc::new(Arc::new(made)), vocabulary })
    }

    #[staticmethod]
    fn table(
        next: PyReadonlyArray1<'_, u32>,
        complete: PyReadonlyArray1<'_, bool>,
        start: u32,
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: Vec<u32>,
    ) -> PyResult<Self> {
        let (next, complete) = (elements(&next, "transitions")?, elements(&complete, "complete")?);
        Self::automaton(tokenizer, &eos, || Table::new(next, complete, start))
    }

    #[staticmethod]
    fn phrases(
        required: Vec<Vec<u8>>,
        banned: Vec<Vec<u8>>,
        stops: Vec<Vec<u8>>,
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: Vec<u32>,
    ) -> PyResult<Self> {
        Self::automaton(tokenizer, &eos, || Phrases::new(&required, &banned, &stops))
    }

    #[staticmethod]
    fn choice(
        items: Vec<Vec<u8>>,
        separator: Vec<u8>,
        bounds: (usize, Option<usize>),
        repeats: bool,
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: Vec<u32>,
    ) -> PyResult<Self> {
        let build = || Choice::new(items, &separator, bounds.0, bounds.1, repeats);
        Self::automaton(tokenizer, &eos, build)
    }

    #[staticmethod]
    fn excerpt(
        source: &[u8],
        n_least: usize,
        tokenizer: &Bound<'_, PyTokenizer>,
        eos: Vec<u32>,
    ) -> PyResult<Self> {
        Self::automaton(tokenizer, &eos, || Excerpt::new(source, n_least))
    }

    #[staticmethod]
    fn conjunction(parts: Vec<Bound<'_, PyConstraint>>) -> Option<Self> {
        let vocabulary = Arc::clone(&parts.first()?.get().vocabulary);
        let parts = parts.iter().map(|part| Arc::clone(&part.get().inner)).collect();
        Conjunction::new(parts).map(|joined| Self { inner: Arc::new(joined), vocabulary })
    }

    fn start(&self, py: Python<'_>) -> PyState {
        py.detach(|| PyState::wrap(self.inner.start(), Arc::clone(&self.vocabulary)))
    }
}

/// The tokenizer as constraints see it, built at the first use and kept with the tokenizer.
fn vocabulary(tokenizer: &PyTokenizer) -> Result<Arc<GrammarVocabulary>, ControlError> {
    if let Some(known) = tokenizer.grammar_vocabulary.get() {
        return Ok(Arc::clone(known));
    }
    let inner = Arc::clone(&tokenizer.inner);
    let options = EncodeOptions {
        allowed_special: AllowedSpecial::Only(Default::default()),
        ..EncodeOptions::default()
    };
    let encode = move |bytes: &[u8]| inner.encode_bytes(bytes, &options).unwrap_or_default();
    let tokens = |special| {
        let inner: &Tokenizer = &tokenizer.inner;
        let ids = 0..inner.id_bound() as u32;
        let chosen = move |id: &u32| inner.is_special(*id) == special;
        ids.filter(chosen).filter_map(|id| inner.token_bytes(id).map(|bytes| (id, bytes)))
    };
    let built = Arc::new(GrammarVocabulary::new(tokens(false), tokens(true), Arc::new(encode))?);
    Ok(Arc::clone(tokenizer.grammar_vocabulary.get_or_init(|| built)))
}

/// Calls from several threads take turns.
#[pyclass(frozen, name = "State", module = "tokenloom._core.control")]
pub(crate) struct PyState {
    state: SharedState,
    vocabulary: Arc<GrammarVocabulary>,
}

impl PyState {
    fn wrap(state: Box<dyn ConstraintState>, vocabulary: Arc<GrammarVocabulary>) -> Self {
        Self { state: Arc::new(Mutex::new(state)), vocabulary }
    }

    /// Errors leave the state whole, and no panic gets past the core, so a poisoned lock is as good as another.
    pub(crate) fn state(&self) -> MutexGuard<'_, Box<dyn ConstraintState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` without the interpreter; its error tells how far the text had come.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut dyn ConstraintState) -> Result<T, ControlError> + Send,
    ) -> PyResult<T> {
        py.detach(|| work(&mut **self.state())).map_err(|error| self.place(py, &error))
    }

    /// The error with what was taken before it.
    pub(crate) fn place(&self, py: Python<'_>, error: &ControlError) -> PyErr {
        let state = self.state();
        constraint_error(py, error, state.prefix(), state.ids().len())
    }
}

/// Ids that no vocabulary has stand for those that are negative or too large.
fn as_id(id: i64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

#[pymethods]
impl PyState {
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let mask = self.with(py, |state| state.mask())?;
        Ok(mask.into_words().into_iter().map(u32::cast_signed).collect::<Vec<_>>().into_pyarray(py))
    }

    fn fill_mask(&self, py: Python<'_>, mut out: PyReadwriteArray1<'_, u32>) -> PyResult<()> {
        let out = out.as_slice_mut().map_err(|_| gaps())?;
        self.with(py, |state| state.fill_mask(out))
    }

    fn check(&self, py: Python<'_>, id: i64) -> PyResult<bool> {
        self.with(py, |state| state.check(as_id(id)))
    }

    fn check_many<'py>(&self, py: Python<'py>, ids: TokenIds) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let check =
            |state: &mut dyn ConstraintState| ids.0.iter().map(|&id| state.check(as_id(id))).collect();
        let allowed: Vec<bool> = self.with(py, check)?;
        Ok(allowed.into_pyarray(py))
    }

    fn fork(&self, py: Python<'_>) -> Self {
        py.detach(|| Self::wrap(self.state().fork(), Arc::clone(&self.vocabulary)))
    }

    fn advance(&self, py: Python<'_>, id: i64) -> PyResult<()> {
        self.with(py, |state| state.advance(as_id(id)))
    }

    fn rollback(&self, py: Python<'_>, n: usize) -> PyResult<()> {
        self.with(py, |state| state.rollback(n))
    }

    fn is_accepting(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |state| state.is_accepting())
    }

    fn forced<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(self.with(py, |state| state.forced())?.into_pyarray(py))
    }

    #[getter]
    fn prefix<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.state().prefix())
    }

    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, self.state().ids())
    }
}

fn gaps() -> PyErr {
    ArrayError::new_err("expected out in row-major order without gaps")
}

/// Rows of states that are None allow everything.
#[pyfunction]
pub(crate) fn fill_masks(
    py: Python<'_>,
    states: Vec<Option<Bound<'_, PyState>>>,
    mut out: PyReadwriteArray2<'_, u32>,
    threads: usize,
) -> PyResult<()> {
    let n_words = out.shape()[1];
    if out.shape()[0] != states.len() {
        let (rows, found) = (states.len(), out.shape()[0]);
        return Err(ArrayError::new_err(format!("expected out with a row a state ({rows}), found {found}")));
    }
    let out = out.as_slice_mut().map_err(|_| gaps())?;
    let states: Vec<Option<&PyState>> = states.iter().map(|state| state.as_ref().map(Bound::get)).collect();
    let shared = states.iter().map(|state| state.map(|state| Arc::clone(&state.state))).collect();
    let Some(crew) = states.iter().flatten().next().map(|state| state.vocabulary.crew()) else {
        out.fill(u32::MAX);
        return Ok(());
    };
    let filled = py.detach(|| core::fill_masks(shared, out, n_words, threads, crew));
    filled.map_err(|(row, error)| match states[row] {
        Some(state) => state.place(py, &error),
        None => raise(error),
    })
}

/// An automaton in Python: `feed(byte) -> bool` and `undo(n)`. After an exception it refuses everything.
struct PyWalker<'py> {
    feed: Bound<'py, PyAny>,
    undo: Bound<'py, PyAny>,
    error: Option<PyErr>,
}

impl ByteWalker for PyWalker<'_> {
    fn push(&mut self, byte: u8) -> bool {
        if self.error.is_some() {
            return false;
        }
        let answer = self.feed.call1((byte,)).and_then(|answer| answer.is_truthy());
        answer.unwrap_or_else(|error| {
            self.error = Some(error);
            false
        })
    }

    fn pop(&mut self, n: usize) {
        if n > 0
            && let Err(error) = self.undo.call1((n,))
        {
            self.error.get_or_insert(error);
        }
    }
}

#[pyfunction]
pub(crate) fn walk_mask<'py>(
    tokenizer: &Bound<'py, PyTokenizer>,
    feed: Bound<'py, PyAny>,
    undo: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<i32>>> {
    let (py, tokenizer) = (tokenizer.py(), tokenizer.get());
    let vocabulary = py.detach(|| vocabulary(tokenizer)).map_err(raise)?;
    let mut walker = PyWalker { feed, undo, error: None };
    let mask = core::walk_mask(&vocabulary, &mut walker);
    match walker.error {
        Some(error) => Err(error),
        None => Ok(mask.into_words().into_iter().map(u32::cast_signed).collect::<Vec<_>>().into_pyarray(py)),
    }
}

/// Probabilities below caps, and the scale of those that are not cut.
#[pyfunction]
pub(crate) fn cap_probs<'py>(
    py: Python<'py>,
    probs: PyReadonlyArray1<'py, f64>,
    caps: PyReadonlyArray1<'py, f64>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, f64)> {
    let (mut probs, caps) = (elements(&probs, "probs")?.to_vec(), elements(&caps, "caps")?);
    let scale = py.detach(|| core::cap_probs(&mut probs, caps)).map_err(raise)?;
    Ok((probs.into_pyarray(py), scale))
}

//! The Python face of grammars in the `control` domain: extract, detach, one core call, wrap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokenloom_decode::control::{ControlError, Grammar, GrammarSource, GrammarState, GrammarVocabulary};
use tokenloom_tokenize::{AllowedSpecial, EncodeOptions, Tokenizer};

use crate::array::TokenIds;
use crate::error::{constraint_error, raise};
use crate::tokenizer::PyTokenizer;

#[pyclass(frozen, name = "Grammar", module = "tokenloom._core.control")]
pub(crate) struct PyGrammar {
    inner: Arc<Grammar>,
}

#[pymethods]
impl PyGrammar {
    #[new]
    fn new(
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
        let compile = || Grammar::new(&source, vocabulary(tokenizer)?, &eos);
        Ok(Self { inner: Arc::new(py.detach(compile).map_err(raise)?) })
    }

    fn start(&self, py: Python<'_>) -> PyGrammarState {
        py.detach(|| PyGrammarState::wrap(self.inner.start()))
    }
}

/// The tokenizer as grammars see it, built at the first use and kept with the tokenizer.
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
#[pyclass(frozen, name = "GrammarState", module = "tokenloom._core.control")]
pub(crate) struct PyGrammarState {
    state: Mutex<GrammarState>,
}

impl PyGrammarState {
    fn wrap(state: GrammarState) -> Self {
        Self { state: Mutex::new(state) }
    }

    /// Errors leave the state whole, and no panic gets past the core, so a poisoned lock is as good as another.
    fn state(&self) -> MutexGuard<'_, GrammarState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` without the interpreter; its error tells how far the text had come.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut GrammarState) -> Result<T, ControlError> + Send,
    ) -> PyResult<T> {
        let outcome = py.detach(|| {
            let mut state = self.state();
            work(&mut state).map_err(|error| (error, state.prefix().to_vec(), state.ids().len()))
        });
        outcome.map_err(|(error, prefix, step)| constraint_error(py, &error, &prefix, step))
    }
}

/// Ids that no vocabulary has stand for those that are negative or too large.
fn as_id(id: i64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

#[pymethods]
impl PyGrammarState {
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let mask = self.with(py, GrammarState::mask)?;
        Ok(mask.into_words().into_iter().map(u32::cast_signed).collect::<Vec<_>>().into_pyarray(py))
    }

    fn check(&self, py: Python<'_>, id: i64) -> PyResult<bool> {
        self.with(py, |state| state.check(as_id(id)))
    }

    fn check_many<'py>(&self, py: Python<'py>, ids: TokenIds) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let check = |state: &mut GrammarState| ids.0.iter().map(|&id| state.check(as_id(id))).collect();
        let allowed: Vec<bool> = self.with(py, check)?;
        Ok(allowed.into_pyarray(py))
    }

    fn fork(&self, py: Python<'_>) -> Self {
        py.detach(|| Self::wrap(self.state().clone()))
    }

    fn advance(&self, py: Python<'_>, id: i64) -> PyResult<()> {
        self.with(py, |state| state.advance(as_id(id)))
    }

    fn rollback(&self, py: Python<'_>, n: usize) -> PyResult<()> {
        self.with(py, |state| state.rollback(n))
    }

    fn is_accepting(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, GrammarState::is_accepting)
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

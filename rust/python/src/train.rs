//! The Python face of the `train` domain: extract, detach, one core call, wrap.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tokenloom_tokenize::spec::Pretokenizer;
use tokenloom_tokenize::train::{self as core, BpeOptions, Progress, Stage, SuperOptions, WordCounts};

use crate::error::raise;
use crate::formats::PySpec;
use crate::tokenizer::Text;

/// See `tokenloom.train`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod train {
    #[pymodule_export]
    use super::{PyTrained, PyWordCounter};
    #[pymodule_export]
    use super::{bpe, superbpe};
}

#[pyclass(frozen, name = "WordCounter", module = "tokenloom.train")]
pub(crate) struct PyWordCounter {
    counter: Mutex<core::WordCounter>,
    cuts: Vec<Vec<String>>,
    n_threads: usize,
}

#[pymethods]
impl PyWordCounter {
    #[new]
    fn new(cuts: Vec<Vec<String>>, n_threads: usize) -> PyResult<Self> {
        let counter = Mutex::new(core::WordCounter::new(&cuts, n_threads).map_err(raise)?);
        Ok(Self { counter, cuts, n_threads })
    }

    fn add(&self, py: Python<'_>, units: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let texts: Vec<Text<'_>> = units.iter().map(Text::from_any).collect::<PyResult<_>>()?;
        let units: Vec<&[u8]> = texts.iter().map(Text::as_bytes).collect::<PyResult<_>>()?;
        py.detach(|| self.lock().add(&units)).map_err(raise)
    }

    fn add_lines(&self, py: Python<'_>, text: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.lock().add_lines(&text)).map_err(raise)
    }
}

impl PyWordCounter {
    fn lock(&self) -> MutexGuard<'_, core::WordCounter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pyclass(frozen, name = "Trained", module = "tokenloom.train")]
pub(crate) struct PyTrained {
    trained: core::Trained,
    pretokenizers: Vec<Pretokenizer>,
    #[pyo3(get)]
    n_words: usize,
}

#[pymethods]
impl PyTrained {
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> Vec<(u32, Bound<'py, PyBytes>)> {
        self.trained.tokens().iter().map(|(id, bytes)| (*id, PyBytes::new(py, bytes))).collect()
    }

    #[getter]
    fn merges(&self) -> Vec<(u32, u32, u32)> {
        self.trained.merges().iter().map(|merge| (merge.left, merge.right, merge.result)).collect()
    }

    /// The tokenizer: its text is cut as in the last stage.
    fn spec(&self) -> PySpec {
        self.trained.clone().into_spec(self.pretokenizers.clone()).into()
    }
}

#[pyfunction]
#[pyo3(signature = (counter, vocab_size, special_tokens, min_frequency, max_token_length, progress))]
fn bpe(
    py: Python<'_>,
    counter: &PyWordCounter,
    vocab_size: usize,
    special_tokens: Vec<String>,
    min_frequency: u64,
    max_token_length: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PyTrained> {
    let max_token_length = max_token_length.unwrap_or(usize::MAX);
    let options = BpeOptions { vocab_size, special_tokens, min_frequency, max_token_length };
    run(py, counter, progress, |counts, report| core::train_bpe(&counts[0], &options, report))
}

#[pyfunction]
#[pyo3(signature = (counter, vocab_size, special_tokens, min_frequency, max_token_length, progress,
                    transition, max_words, forbidden))]
#[expect(clippy::too_many_arguments, reason = "called by tokenloom.train alone, which has the keywords")]
fn superbpe(
    py: Python<'_>,
    counter: &PyWordCounter,
    vocab_size: usize,
    special_tokens: Vec<String>,
    min_frequency: u64,
    max_token_length: Option<usize>,
    progress: Option<Py<PyAny>>,
    transition: usize,
    max_words: usize,
    forbidden: Vec<Vec<u8>>,
) -> PyResult<PyTrained> {
    let max_token_length = max_token_length.unwrap_or(usize::MAX);
    let options = BpeOptions { vocab_size, special_tokens, min_frequency, max_token_length };
    let superwords = SuperOptions { transition, max_words, forbidden, n_threads: counter.n_threads };
    run(py, counter, progress, |counts, report| {
        core::train_superbpe(&counts[0], &counts[1], &options, &superwords, report)
    })
}

type Report<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Runs a training that is stopped by a signal or by an exception of `progress`, which is then raised.
fn run(
    py: Python<'_>,
    counter: &PyWordCounter,
    progress: Option<Py<PyAny>>,
    train: impl Fn(&[WordCounts], Report<'_>) -> Result<core::Trained, core::TrainError> + Send + Sync,
) -> PyResult<PyTrained> {
    let mut stopped_by = None;
    let (n_words, result) = py.detach(|| {
        let counts = counter.lock().finish();
        let mut report = |now: Progress| match tell(progress.as_ref(), now) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped_by = Some(error);
                ControlFlow::Break(())
            }
        };
        (counts.last().map_or(0, WordCounts::len), train(&counts, &mut report))
    });
    match (stopped_by, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(raise(error)),
        (None, Ok(trained)) => {
            let pretokenizers = core::pretokenizers_of(counter.cuts.last().map_or(&[], Vec::as_slice));
            Ok(PyTrained { trained, pretokenizers, n_words })
        }
    }
}

fn tell(progress: Option<&Py<PyAny>>, now: Progress) -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        let Some(progress) = progress else { return Ok(()) };
        let stage = match now.stage {
            Stage::Replay => "replay",
            _ => "merge",
        };
        progress.call1(py, (stage, now.n_done, now.n_total)).map(drop)
    })
}

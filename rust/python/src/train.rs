//! The Python face of the `train` domain: extract, detach, one core call, wrap.

use std::io::{BufReader, Cursor};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tokenloom_storage::{SpilledWords, write_whole};
use tokenloom_tokenize::Tokenizer;
use tokenloom_tokenize::train::{
    self as core, Alphabet, CharacterOptions, CharacterTokens, Done, ParityOptions, Progress, Resources,
    Stage, StageOptions, Start, TrainError, Transition, UnigramOptions, UnigramPieces, Veto, WordCounts,
    WordSource,
};

use crate::error::raise;
use crate::formats::PySpec;
use crate::text::Text;
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.train`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod train {
    #[pymodule_export]
    use super::{PyTrained, PyWordCounter, PyWordCounts};
    #[pymodule_export]
    use super::{refuses, run_boundless, run_stages, train_characters, train_parity, train_unigram};
}

type Patterns = Option<Vec<String>>;

#[pyclass(frozen, name = "WordCounter", module = "tokenloom._core.train")]
pub(crate) struct PyWordCounter {
    counter: Mutex<core::WordCounter>,
}

#[pymethods]
impl PyWordCounter {
    #[new]
    fn new(
        cuts: Vec<Patterns>,
        tokenizer: Option<&Bound<'_, PyTokenizer>>,
        counts_runs: bool,
        n_threads: usize,
    ) -> PyResult<Self> {
        let tokenizer = tokenizer.map(|tokenizer| tokenizer.get().inner.clone());
        let counter = core::WordCounter::new(&cuts, tokenizer, counts_runs, n_threads).map_err(raise)?;
        Ok(Self { counter: Mutex::new(counter) })
    }

    fn add(&self, py: Python<'_>, units: Vec<Bound<'_, PyAny>>, weight: u64) -> PyResult<()> {
        let texts: Vec<Text<'_>> = units.iter().map(Text::from_any).collect::<PyResult<_>>()?;
        let units: Vec<&[u8]> = texts.iter().map(Text::as_bytes).collect::<PyResult<_>>()?;
        py.detach(|| self.lock().add(&units, weight)).map_err(raise)
    }

    fn add_lines(&self, py: Python<'_>, text: PyBackedBytes, weight: u64) -> PyResult<()> {
        py.detach(|| self.lock().add_lines(&text, weight)).map_err(raise)
    }

    #[getter]
    fn n_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.lock().n_bytes())
    }

    fn finish(&self, py: Python<'_>) -> Vec<PyWordCounts> {
        let counts = py.detach(|| self.lock().finish());
        counts.into_iter().map(|words| PyWordCounts { words: Words::Memory(Arc::new(words)) }).collect()
    }
}

impl PyWordCounter {
    fn lock(&self) -> MutexGuard<'_, core::WordCounter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
pub(crate) enum Words {
    Memory(Arc<WordCounts>),
    Files(SpilledWords),
}

/// Distinct words with their counts, in memory or in files.
#[pyclass(frozen, name = "WordCounts", module = "tokenloom._core.train")]
pub(crate) struct PyWordCounts {
    pub(crate) words: Words,
}

#[pymethods]
impl PyWordCounts {
    /// The words of sorted files, which are read when they are needed.
    #[staticmethod]
    fn of_files(paths: Vec<PathBuf>) -> Self {
        Self { words: Words::Files(SpilledWords::new(paths)) }
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: PyBackedBytes) -> PyResult<Self> {
        let words = py.detach(|| WordCounts::read_sorted(BufReader::new(Cursor::new(&*data))))?;
        Ok(Self { words: Words::Memory(Arc::new(words)) })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let words = self.in_memory(py)?;
        let bytes = py.detach(|| words.write_sorted(Vec::new()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let saved = py.detach(|| match &self.words {
            Words::Memory(words) => write_whole(&path, |out| words.write_sorted(out)),
            Words::Files(files) => files.merge_into(&path),
        });
        Ok(saved?)
    }

    /// The sum of all, each with its weight, in memory.
    #[staticmethod]
    fn merged(py: Python<'_>, parts: Vec<(Bound<'_, Self>, u64)>) -> PyResult<Self> {
        let parts: Vec<(Words, u64)> =
            parts.iter().map(|(part, weight)| (part.get().words.clone(), *weight)).collect();
        let add = || {
            let mut sum = WordCounts::new();
            for (words, weight) in &parts {
                words.source().for_each(&mut |word, count| {
                    sum.add(word, count.saturating_mul(*weight));
                    Ok(())
                })?;
            }
            Ok::<_, TrainError>(sum)
        };
        Ok(Self { words: Words::Memory(Arc::new(py.detach(add).map_err(raise)?)) })
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyBytes>, u64)>> {
        let words = self.in_memory(py)?;
        Ok(words.iter().map(|(word, count)| (PyBytes::new(py, word), count)).collect())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.in_memory(py)?.len())
    }

    /// The memory that is held.
    #[getter]
    fn n_bytes_held(&self) -> usize {
        match &self.words {
            Words::Memory(words) => words.n_bytes_held(),
            Words::Files(_) => 0,
        }
    }

    /// The bytes of all distinct words.
    #[getter]
    fn n_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.in_memory(py)?.n_bytes())
    }
}

impl PyWordCounts {
    fn in_memory(&self, py: Python<'_>) -> PyResult<Arc<WordCounts>> {
        match &self.words {
            Words::Memory(words) => Ok(words.clone()),
            Words::Files(_) => {
                let mut words = WordCounts::new();
                let add = |word: &[u8], count| {
                    words.add(word, count);
                    Ok(())
                };
                py.detach(|| self.words.source().for_each(&mut { add })).map_err(raise)?;
                Ok(Arc::new(words))
            }
        }
    }
}

impl Words {
    pub(crate) fn source(&self) -> &dyn WordSource {
        match self {
            Self::Memory(words) => &**words,
            Self::Files(files) => files,
        }
    }
}

#[pyclass(frozen, name = "Trained", module = "tokenloom._core.train")]
pub(crate) struct PyTrained {
    trained: core::Trained,
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

    /// The tokenizer that cuts text by `patterns`, or as the one that was extended.
    fn spec(&self, patterns: Patterns) -> PySpec {
        let pretokenizers = patterns.map(|patterns| core::pretokenizers_of(&patterns));
        self.trained.clone().into_spec(pretokenizers).into()
    }
}

/// The fields of `tokenloom.train.Veto`.
#[derive(FromPyObject)]
pub(crate) struct VetoFields {
    max_words: Option<usize>,
    forbidden: Vec<Vec<u8>>,
    max_bytes: Option<usize>,
    max_chars: Option<usize>,
    whole_characters: bool,
    one_script: bool,
}

impl From<VetoFields> for Veto {
    fn from(fields: VetoFields) -> Self {
        let VetoFields { max_words, forbidden, max_bytes, max_chars, whole_characters, one_script } = fields;
        Self { max_words, forbidden, max_bytes, max_chars, whole_characters, one_script }
    }
}

/// The fields of a stage as `tokenloom._training` has them.
#[derive(FromPyObject)]
pub(crate) struct StageFields {
    vocab_size: usize,
    min_frequency: u64,
    max_token_length: Option<usize>,
    veto: VetoFields,
    max_inherited: Option<usize>,
    drops_unused: bool,
}

impl From<StageFields> for StageOptions {
    fn from(fields: StageFields) -> Self {
        let StageFields { vocab_size, min_frequency, max_inherited, drops_unused, .. } = fields;
        let max_token_length = fields.max_token_length.unwrap_or(usize::MAX);
        let veto = fields.veto.into();
        Self { vocab_size, min_frequency, max_token_length, veto, max_inherited, drops_unused }
    }
}

/// The fields of what a training starts from as `tokenloom._training` has them.
#[derive(FromPyObject)]
struct StartFields<'py> {
    special_tokens: Vec<String>,
    initial_alphabet: Vec<u8>,
    limit_alphabet: Option<usize>,
    seed_merges: Vec<(Vec<u8>, Vec<u8>)>,
    tokenizer: Option<Bound<'py, PyTokenizer>>,
}

impl StartFields<'_> {
    fn into_core(self, tokenizer: Option<&Tokenizer>) -> Start<'_> {
        Start {
            special_tokens: self.special_tokens,
            alphabet: Alphabet { initial: self.initial_alphabet, limit: self.limit_alphabet },
            seed_merges: self.seed_merges,
            tokenizer,
        }
    }
}

/// Threads and bytes.
type ResourceFields = (usize, Option<usize>);

fn resources_of((n_threads, n_bytes): ResourceFields) -> Resources {
    Resources { n_threads, n_bytes: n_bytes.unwrap_or(usize::MAX) }
}

/// A stage and what `save` was given of it.
type DoneFields = (usize, PyBackedBytes);

fn done_of((stage, bytes): DoneFields) -> Done {
    Done::from_bytes(stage, &bytes)
}

/// Whether a veto refuses a token.
#[pyfunction]
fn refuses(veto: VetoFields, token: &[u8]) -> bool {
    Veto::from(veto).refuses(token)
}

/// Runs the stages, each on its words. `progress` is told the kind of work, the stage, what is done, the whole and the
/// pairs; where it answers `True`, `save` is given the stage and bytes that may be given back as `done`.
#[pyfunction]
fn run_stages(
    py: Python<'_>,
    start: StartFields<'_>,
    stages: Vec<(Bound<'_, PyWordCounts>, StageFields)>,
    done: Vec<DoneFields>,
    resources: ResourceFields,
    progress: Option<Py<PyAny>>,
    save: Option<Py<PyAny>>,
) -> PyResult<PyTrained> {
    let tokenizer = start.tokenizer.as_ref().map(|tokenizer| tokenizer.get().inner.clone());
    let start = start.into_core(tokenizer.as_deref());
    let stages: Vec<(Words, StageOptions)> =
        stages.into_iter().map(|(words, fields)| (words.get().words.clone(), fields.into())).collect();
    let done = done.into_iter().max_by_key(|(stage, _)| *stage).map(done_of);
    let resources = resources_of(resources);
    with_progress(py, progress, save, |report| {
        let stages: Vec<_> = stages.iter().map(|(words, options)| (words.source(), options)).collect();
        core::train(&start, &stages, done, resources, report)
    })
    .map(|trained| PyTrained { trained })
}

/// Trains superwords of whole words on words and their runs; without a transition they are interleaved with the merges
/// within words, with -1 it is found.
#[pyfunction]
#[expect(clippy::too_many_arguments)]
fn run_boundless(
    py: Python<'_>,
    start: StartFields<'_>,
    words: (Bound<'_, PyWordCounts>, Bound<'_, PyWordCounts>),
    stage: StageFields,
    transition: Option<i64>,
    done: Vec<DoneFields>,
    resources: ResourceFields,
    progress: Option<Py<PyAny>>,
    save: Option<Py<PyAny>>,
) -> PyResult<PyTrained> {
    let tokenizer = start.tokenizer.as_ref().map(|tokenizer| tokenizer.get().inner.clone());
    let start = start.into_core(tokenizer.as_deref());
    let (words, runs) = (words.0.get().words.clone(), words.1.get().words.clone());
    let options = StageOptions::from(stage);
    let transition = match transition.map(usize::try_from) {
        None => Transition::Interleaved,
        Some(Err(_)) => Transition::Automatic,
        Some(Ok(size)) => Transition::At(size),
    };
    let (done, resources) = (done.into_iter().map(done_of).collect(), resources_of(resources));
    with_progress(py, progress, save, |report| {
        let both = (words.source(), runs.source());
        core::train_boundless(&start, both, &options, transition, done, resources, report)
    })
    .map(|trained| PyTrained { trained })
}

/// Token strings by id, and merges.
type Merged = (Vec<String>, Vec<(u32, u32)>);

/// Pieces with their scores by id, and the id of the unknown one.
type Scored = (Vec<(String, f64)>, Option<usize>);

/// What a `BpeTrainer` and a `ParityBpeTrainer` of `tokenloom.compat.tokenizers` both have as attributes.
#[derive(FromPyObject)]
struct CharacterFields {
    min_frequency: u64,
    max_token_length: Option<usize>,
    initial_alphabet: Vec<char>,
    limit_alphabet: Option<usize>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

impl CharacterFields {
    fn into_options(self, vocab_size: usize, special_tokens: Vec<String>) -> CharacterOptions {
        CharacterOptions {
            vocab_size,
            min_frequency: self.min_frequency,
            max_token_length: self.max_token_length,
            special_tokens,
            initial_alphabet: self.initial_alphabet,
            limit_alphabet: self.limit_alphabet,
            continuing_subword_prefix: self.continuing_subword_prefix,
            end_of_word_suffix: self.end_of_word_suffix,
        }
    }
}

/// Trains BPE over the characters of words with counts.
#[pyfunction]
fn train_characters(
    py: Python<'_>,
    words: Vec<(String, u64)>,
    vocab_size: usize,
    special_tokens: Vec<String>,
    fields: CharacterFields,
) -> PyResult<Merged> {
    let options = fields.into_options(vocab_size, special_tokens);
    let train = |report: Report<'_>| core::train_characters(words, &options, report);
    let CharacterTokens { texts, merges } = with_progress(py, None, None, train)?;
    Ok((texts, merges.iter().map(|merge| (merge.left, merge.right)).collect()))
}

/// What a `ParityBpeTrainer` has besides.
#[derive(FromPyObject)]
struct ParityFields {
    num_merges: usize,
    global_merges: usize,
    variant: String,
    window_size: usize,
    alpha: f64,
    total_symbols: bool,
}

type CountedWords = Vec<(String, u64)>;

/// Trains BPE over the characters of the words of several languages.
#[pyfunction]
fn train_parity(
    py: Python<'_>,
    languages: Vec<CountedWords>,
    parallel: Vec<CountedWords>,
    targets: Option<Vec<f64>>,
    special_tokens: Vec<String>,
    fields: ParityFields,
    characters: CharacterFields,
) -> PyResult<Merged> {
    let options = ParityOptions {
        n_merges: fields.num_merges,
        n_global_merges: fields.global_merges,
        targets,
        window: (fields.variant == "window").then_some((fields.window_size, fields.alpha)),
        counts_tokens: fields.total_symbols,
        characters: characters.into_options(0, special_tokens),
    };
    let train = |report: Report<'_>| core::train_parity(languages, parallel, &options, report);
    let CharacterTokens { texts, merges } = with_progress(py, None, None, train)?;
    Ok((texts, merges.iter().map(|merge| (merge.left, merge.right)).collect()))
}

/// The attributes of a `UnigramTrainer` of `tokenloom.compat.tokenizers`.
#[derive(FromPyObject)]
struct UnigramFields {
    vocab_size: usize,
    initial_alphabet: Vec<char>,
    shrinking_factor: f64,
    unk_token: Option<String>,
    max_piece_length: usize,
    n_sub_iterations: usize,
    seed_size: usize,
}

/// Trains Unigram pieces on words with counts.
#[pyfunction]
fn train_unigram(
    py: Python<'_>,
    words: Vec<(String, u64)>,
    special_tokens: Vec<String>,
    fields: UnigramFields,
    n_threads: usize,
) -> PyResult<Scored> {
    let options = UnigramOptions {
        vocab_size: fields.vocab_size,
        special_tokens,
        initial_alphabet: fields.initial_alphabet,
        shrinking_factor: fields.shrinking_factor,
        unk_token: fields.unk_token,
        max_piece_length: fields.max_piece_length,
        n_sub_iterations: fields.n_sub_iterations,
        seed_size: fields.seed_size,
    };
    let train = |report: Report<'_>| core::train_unigram(words, &options, n_threads, report);
    let UnigramPieces { pieces, unk_id } = with_progress(py, None, None, train)?;
    Ok((pieces, unk_id))
}

pub(crate) type Report<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// Runs a training that is stopped by a signal or by an exception of a function, which is then raised.
pub(crate) fn with_progress<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    save: Option<Py<PyAny>>,
    train: impl FnOnce(Report<'_>) -> Result<T, TrainError> + Send,
) -> PyResult<T> {
    let mut stopped_by = None;
    let result = py.detach(|| {
        train(&mut |now| match tell(progress.as_ref(), save.as_ref(), now) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped_by = Some(error);
                ControlFlow::Break(())
            }
        })
    });
    match (stopped_by, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(raise(error)),
        (None, Ok(trained)) => Ok(trained),
    }
}

fn tell(progress: Option<&Py<PyAny>>, save: Option<&Py<PyAny>>, now: Progress<'_>) -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        let Some(progress) = progress else { return Ok(()) };
        let kind = match now.kind {
            Stage::Replay => "replay",
            _ => "merge",
        };
        let wants = progress.call1(py, (kind, now.stage, now.n_done, now.n_total, now.n_pairs))?;
        if let Some(save) = save.filter(|_| wants.is_truthy(py).unwrap_or(false)) {
            save.call1(py, (now.stage, PyBytes::new(py, &now.to_bytes())))?;
        }
        Ok(())
    })
}

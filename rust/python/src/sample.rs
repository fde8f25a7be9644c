//! The Python face of the `sample` domain: extract, detach, one core call, wrap.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::sample::{
    Adjust, Draw, History, Lists, LogitStats, Logits, N_QUANTILES, Op, Order, Params, Phrase, Report, Rows,
    Shape, Status, Texts, Wanted, adjustments, waiting_times as core_waiting_times,
};

use crate::array::elements;
use crate::error::{ParamsError, raise};

/// See `tokenloom.sample`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod sample {
    #[pymodule_export]
    const MAX_VOCAB: usize = tokenloom_decode::sample::MAX_VOCAB;

    #[pymodule_export]
    const QUANTILES: [f64; tokenloom_decode::sample::N_QUANTILES] = tokenloom_decode::sample::QUANTILES;

    #[pymodule_export]
    use crate::combine::{beam, capped, contrasted, distinct_draws, guided};

    #[pymodule_export]
    use super::{
        PyRng, PyRules, derive_seeds, draw, keep_sets, probabilities, processed, report, waiting_times,
    };
}

/// What every `rng` argument takes: an int seed or a `tokenloom.Rng`.
pub(crate) struct RngArg(pub(crate) Rng);

impl<'a, 'py> FromPyObject<'a, 'py> for RngArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.cast::<PyRng>() {
            Ok(rng) => Ok(Self(rng.get().rng)),
            Err(_) => Ok(Self(Rng::new(unsigned(&object, "seed")?, 0))),
        }
    }
}

/// An int between 0 and 2^64 - 1.
fn unsigned(object: &Bound<'_, PyAny>, name: &str) -> PyResult<u64> {
    object.extract::<u64>().map_err(|error| {
        if error.is_instance_of::<PyTypeError>(object.py()) {
            return PyTypeError::new_err(format!(
                "expected an int {name} or a tokenloom.Rng, found {}",
                object.get_type()
            ));
        }
        PyValueError::new_err(format!("expected a {name} between 0 and 2**64 - 1, found {object}"))
    })
}

/// Random numbers as a function of (seed, position, token, purpose): Philox 4x32-10, no state.
///
/// Args:
///     seed: 0 to 2**64 - 1.
///     position: absolute position in the sequence, 0 to 2**64 - 1.
///
/// Raises:
///     ValueError: An argument is out of range.
///
/// >>> import tokenloom as tl
/// >>> rng = tl.Rng(7, position=3)
/// >>> rng.uniform(token=5) == tl.Rng(7).at(3).uniform(token=5)
/// True
#[pyclass(frozen, eq, hash, name = "Rng", module = "tokenloom.sample")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct PyRng {
    rng: Rng,
}

#[pymethods]
impl PyRng {
    #[new]
    #[pyo3(signature = (seed, position = None))]
    fn new(seed: &Bound<'_, PyAny>, position: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let position = position.map_or(Ok(0), |position| unsigned(position, "position"))?;
        Ok(Self { rng: Rng::new(unsigned(seed, "seed")?, position) })
    }

    /// The seed of the request.
    #[getter]
    fn seed(&self) -> u64 {
        self.rng.seed
    }

    /// The absolute position of the token that is being decided.
    #[getter]
    fn position(&self) -> u64 {
        self.rng.position
    }

    /// The same seed at another position.
    fn at(&self, position: u64) -> Self {
        Self { rng: self.rng.at(position) }
    }

    /// A generator whose numbers are independent of this one's; equal streams give equal generators.
    fn derive(&self, stream: u64) -> Self {
        Self { rng: self.rng.derive(stream) }
    }

    /// A number in the open interval (0, 1), for one token and one `tokenloom.sample.Purpose`.
    #[pyo3(signature = (token, purpose = 0))]
    fn uniform(&self, token: u32, purpose: u32) -> PyResult<f64> {
        Ok(self.rng.uniform(token, checked_purpose(purpose)?))
    }

    /// An exponential waiting time of rate 1, for one token and one `tokenloom.sample.Purpose`.
    #[pyo3(signature = (token, purpose = 0))]
    fn exponential(&self, token: u32, purpose: u32) -> PyResult<f64> {
        Ok(self.rng.exponential(token, checked_purpose(purpose)?))
    }

    fn __repr__(&self) -> String {
        format!("Rng(seed={}, position={})", self.rng.seed, self.rng.position)
    }

    fn __getnewargs__(&self) -> (u64, u64) {
        (self.rng.seed, self.rng.position)
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }
}

pub(crate) fn checked_purpose(word: u32) -> PyResult<Purpose> {
    Purpose::from_word(word)
        .ok_or_else(|| PyValueError::new_err(format!("expected a purpose below 2**31, found {word}")))
}

/// The fields of a `tokenloom.sample.Params`, read from the object itself.
#[derive(FromPyObject)]
struct Fields {
    temperature: f64,
    dynatemp_range: f64,
    dynatemp_exponent: f64,
    top_k: i64,
    top_p: f64,
    min_p: f64,
    typical_p: f64,
    epsilon_cutoff: f64,
    eta_cutoff: f64,
    top_n_sigma: f64,
    p_less: u8,
    xtc_probability: f64,
    xtc_threshold: f64,
    mirostat: u8,
    mirostat_tau: f64,
    mirostat_eta: f64,
    repetition_penalty: f64,
    frequency_penalty: f64,
    presence_penalty: f64,
    penalty_last_n: i64,
    dry_multiplier: f64,
    dry_base: f64,
    dry_allowed_length: i64,
    dry_last_n: i64,
    dry_breakers: Vec<Vec<u32>>,
    no_repeat_ngram_size: i64,
    bias: Vec<(Vec<u32>, f32)>,
    bad_words: Vec<Vec<u32>>,
    allowed_ids: Vec<u32>,
    min_tokens: i64,
    stop_ids: Vec<u32>,
    order: OrderArg,
}

#[derive(FromPyObject)]
enum OrderArg {
    Name(String),
    Ops(Vec<String>),
}

impl OrderArg {
    fn order(&self) -> PyResult<Order> {
        let unknown = || {
            let names = "'hf', 'vllm', 'llamacpp', 'joint' or a list of operations, each at most once";
            ParamsError::new_err(format!("expected order to be {names}, found {self}"))
        };
        match self {
            Self::Name(name) => Order::from_name(name).ok_or_else(unknown),
            Self::Ops(names) => {
                let ops: Option<Vec<Op>> = names.iter().map(|name| Op::from_name(name)).collect();
                ops.and_then(|ops| Order::from_ops(&ops)).ok_or_else(unknown)
            }
        }
    }
}

impl std::fmt::Display for OrderArg {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(out, "{name:?}"),
            Self::Ops(names) => write!(out, "{names:?}"),
        }
    }
}

/// The checked rules of a request.
#[pyclass(frozen, name = "Rules", module = "tokenloom.sample")]
pub(crate) struct PyRules {
    params: Params,
}

#[pymethods]
impl PyRules {
    #[new]
    fn new(fields: Fields) -> PyResult<Self> {
        let phrases = fields.bias.into_iter().map(|(tokens, bias)| Phrase { tokens, bias }).collect();
        let lists = Lists {
            phrases,
            bad_words: fields.bad_words,
            allowed: fields.allowed_ids,
            stop_tokens: fields.stop_ids,
            dry_breakers: fields.dry_breakers,
        };
        let order = fields.order.order()?;
        let params = Params {
            temperature: fields.temperature,
            dynatemp_range: fields.dynatemp_range,
            dynatemp_exponent: fields.dynatemp_exponent,
            top_k: fields.top_k,
            top_p: fields.top_p,
            min_p: fields.min_p,
            typical_p: fields.typical_p,
            epsilon_cutoff: fields.epsilon_cutoff,
            eta_cutoff: fields.eta_cutoff,
            top_n_sigma: fields.top_n_sigma,
            p_less: fields.p_less,
            xtc_probability: fields.xtc_probability,
            xtc_threshold: fields.xtc_threshold,
            mirostat: fields.mirostat,
            mirostat_tau: fields.mirostat_tau,
            mirostat_eta: fields.mirostat_eta,
            repetition_penalty: fields.repetition_penalty,
            frequency_penalty: fields.frequency_penalty,
            presence_penalty: fields.presence_penalty,
            penalty_last_n: fields.penalty_last_n,
            output_only: order == Order::VLLM,
            dry_multiplier: fields.dry_multiplier,
            dry_base: fields.dry_base,
            dry_allowed_length: fields.dry_allowed_length,
            dry_last_n: fields.dry_last_n,
            no_repeat_ngram: fields.no_repeat_ngram_size,
            min_tokens: fields.min_tokens,
            order,
            lists: Arc::new(lists),
        };
        Ok(Self { params: params.checked().map_err(raise)? })
    }

    /// What a kernel gets in place of these rules, for rows of `n_vocab` tokens: the words of a `Shape`.
    fn shape<'py>(&self, py: Python<'py>, n_vocab: usize) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, &Shape::new(&self.params, n_vocab).words())
    }

    /// What happens to single logits after a text: the words of an `Adjust` each.
    fn adjustments<'py>(
        &self,
        py: Python<'py>,
        tokens: PyReadonlyArray1<'py, u32>,
        n_prompt: usize,
        n_vocab: usize,
    ) -> PyResult<Bound<'py, PyArray2<u32>>> {
        let history = History { tokens: elements(&tokens, "history")?, n_prompt };
        let adjusts = py.detach(|| adjustments(&self.params, history, n_vocab));
        let words: Vec<u32> = adjusts.iter().flat_map(Adjust::words).collect();
        PyArray1::from_vec(py, words).reshape([adjusts.len(), 4])
    }

    /// May single logits be changed before the operations?
    #[getter]
    fn changes_logits(&self) -> bool {
        self.params.changes_logits()
    }

    /// Does a rule look at the text so far?
    #[getter]
    fn needs_history(&self) -> bool {
        self.params.needs_history()
    }
}

/// Logits as they cross the border: float32, or the bits of half precision and whether they are bfloat16.
#[derive(FromPyObject)]
pub(crate) enum LogitsArg<'py> {
    Single(PyReadonlyArray2<'py, f32>),
    Half(PyReadonlyArray2<'py, u16>, bool),
}

impl LogitsArg<'_> {
    pub(crate) fn logits(&self) -> PyResult<(Logits<'_>, usize)> {
        Ok(match self {
            Self::Single(array) => (Logits::F32(elements(array, "logits")?), array.shape()[1]),
            Self::Half(array, true) => (Logits::Bf16(elements(array, "logits")?), array.shape()[1]),
            Self::Half(array, false) => (Logits::F16(elements(array, "logits")?), array.shape()[1]),
        })
    }
}

/// The texts of a batch: tokens, offsets, lengths of the prompts.
type TextArrays<'py> = (PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>);

/// A batch as it crosses the border: logits, one rules or one a row, masks, seeds and positions, texts, mirostat states.
#[derive(FromPyObject)]
struct Batch<'py>(
    LogitsArg<'py>,
    Vec<Py<PyRules>>,
    Option<PyReadonlyArray2<'py, u32>>,
    (PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, u64>),
    Option<TextArrays<'py>>,
    Option<PyReadonlyArray1<'py, f32>>,
);

impl Batch<'_> {
    fn params(&self) -> Vec<Params> {
        self.1.iter().map(|rules| rules.get().params.clone()).collect()
    }

    fn rows<'a>(&'a self, params: &'a [Params]) -> PyResult<Rows<'a>> {
        let (logits, n_vocab) = self.0.logits()?;
        let masks = self.2.as_ref().map(|mask| elements(mask, "mask")).transpose()?;
        let mut rows = Rows::new(logits, n_vocab, masks, params).map_err(raise)?;
        if let Some((tokens, offsets, n_prompts)) = &self.4 {
            let texts = Texts {
                tokens: elements(tokens, "history")?,
                offsets: elements(offsets, "history offsets")?,
                n_prompts: elements(n_prompts, "prompt lengths")?,
            };
            rows = rows.with_texts(texts).map_err(raise)?;
        }
        match &self.5 {
            Some(mus) => rows.with_mus(elements(mus, "mirostat states")?).map_err(raise),
            None => Ok(rows),
        }
    }

    fn rngs(&self) -> PyResult<Vec<Rng>> {
        let (seeds, positions) = &self.3;
        let addresses = elements(seeds, "seeds")?.iter().zip(elements(positions, "positions")?);
        Ok(addresses.map(|(&seed, &position)| Rng::new(seed, position)).collect())
    }
}

/// One seed a stream.
#[pyfunction]
fn derive_seeds<'py>(py: Python<'py>, rng: RngArg, n_streams: u64) -> Bound<'py, PyArray1<u64>> {
    PyArray1::from_iter(py, (0..n_streams).map(|stream| rng.0.derive(stream).seed))
}

/// The waiting times of the first tokens.
#[pyfunction]
fn waiting_times<'py>(
    py: Python<'py>,
    rng: RngArg,
    purpose: u32,
    n_tokens: usize,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let purpose = checked_purpose(purpose)?;
    Ok(PyArray1::from_vec(py, py.detach(|| core_waiting_times(rng.0, purpose, n_tokens))))
}

type Drawn<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<i8>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<f32>>,
);

fn arrays<'py>(py: Python<'py>, draws: &[Result<Draw, Status>]) -> Drawn<'py> {
    let number = |field: fn(&Draw) -> f32| {
        PyArray1::from_iter(py, draws.iter().map(|draw| draw.as_ref().map_or(f32::NAN, field)))
    };
    let tokens = draws.iter().map(|draw| draw.map_or(-1, |draw| i64::from(draw.token)));
    let statuses = draws.iter().map(|draw| draw.map_or_else(|status| status, |_| Status::Ok) as i8);
    (
        PyArray1::from_iter(py, tokens),
        number(|draw| draw.log_prob),
        PyArray1::from_iter(py, statuses),
        number(|draw| draw.margin),
        number(|draw| draw.mu),
    )
}

/// Tokens, log-probabilities, statuses, margins and states of mirostat.
#[pyfunction]
fn draw<'py>(py: Python<'py>, batch: Batch<'py>, purpose: u32, n_threads: usize) -> PyResult<Drawn<'py>> {
    let (params, rngs, purpose) = (batch.params(), batch.rngs()?, checked_purpose(purpose)?);
    let rows = batch.rows(&params)?;
    let draws = py.detach(|| rows.draw(&rngs, purpose, n_threads)).map_err(raise)?;
    Ok(arrays(py, &draws))
}

type Reported<'py> = (
    Drawn<'py>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray2<f32>>,
);

/// What [`draw`] gives, raw log-probabilities, statistics, best tokens and their log-probabilities.
#[pyfunction]
fn report<'py>(
    py: Python<'py>,
    batch: Batch<'py>,
    purpose: u32,
    n_threads: usize,
    n_top: usize,
    processed: bool,
) -> PyResult<Reported<'py>> {
    let (params, rngs, purpose) = (batch.params(), batch.rngs()?, checked_purpose(purpose)?);
    let rows = batch.rows(&params)?;
    let wanted = Wanted { n_top, processed };
    let reports = py.detach(|| rows.report(&rngs, purpose, wanted, n_threads)).map_err(raise)?;
    let draws: Vec<_> =
        reports.iter().map(|row| row.as_ref().map_or_else(|s| Err(*s), |row| Ok(row.draw))).collect();
    let raw = reports.iter().map(|row| row.as_ref().map_or(f32::NAN, |row| row.raw_log_prob));
    let numbers =
        reports.iter().flat_map(|row| row.as_ref().map_or([f32::NAN; N_STATS], |row| flat(&row.stats)));
    let best = |row: &Result<Report, Status>| row.as_ref().map_or(vec![], |row| row.top.clone());
    let padded = reports.iter().flat_map(|row| {
        let mut top = best(row);
        top.resize(n_top, (u32::MAX, f32::NEG_INFINITY));
        top
    });
    let (tokens, log_probs): (Vec<i64>, Vec<f32>) = padded
        .map(|(token, log_prob)| (if token == u32::MAX { -1 } else { i64::from(token) }, log_prob))
        .unzip();
    Ok((
        arrays(py, &draws),
        PyArray1::from_iter(py, raw),
        PyArray1::from_iter(py, numbers).reshape([reports.len(), N_STATS])?,
        PyArray1::from_vec(py, tokens).reshape([reports.len(), n_top])?,
        PyArray1::from_vec(py, log_probs).reshape([reports.len(), n_top])?,
    ))
}

const N_STATS: usize = 8 + N_QUANTILES;

/// The numbers of `tokenloom.sample.LogitStats`, in its order.
fn flat(stats: &LogitStats) -> [f32; N_STATS] {
    let mut numbers = [0.0; N_STATS];
    numbers[..8].copy_from_slice(&[
        stats.log_norm,
        stats.entropy,
        stats.varentropy,
        stats.collision,
        stats.max_log_prob,
        stats.margin,
        if stats.rank == u32::MAX { f32::NAN } else { stats.rank as f32 },
        stats.mass_above,
    ]);
    numbers[8..].copy_from_slice(&stats.quantiles);
    numbers
}

fn codes(statuses: Vec<Status>) -> Vec<i8> {
    statuses.into_iter().map(|status| status as i8).collect()
}

/// Flags of the kept tokens, and statuses.
#[pyfunction]
fn keep_sets<'py>(py: Python<'py>, batch: Batch<'py>) -> PyResult<(Bound<'py, PyArray2<bool>>, Vec<i8>)> {
    let (params, rngs) = (batch.params(), batch.rngs()?);
    let (rows, n_vocab) = (batch.rows(&params)?, batch.0.logits()?.1);
    let sets = py.detach(|| rows.keep_sets(&rngs)).map_err(raise)?;
    let mut flags = vec![false; rows.n_rows() * n_vocab];
    for (n_row, tokens) in sets.iter().enumerate() {
        tokens.iter().flatten().for_each(|&token| flags[n_row * n_vocab + token as usize] = true);
    }
    let statuses = sets.iter().map(|set| set.as_ref().err().copied().unwrap_or(Status::Ok)).collect();
    Ok((PyArray1::from_vec(py, flags).reshape([rows.n_rows(), n_vocab])?, codes(statuses)))
}

/// Probabilities and statuses; `exact` are the logits before they were rounded, if they were.
#[pyfunction]
#[pyo3(signature = (batch, exact))]
fn probabilities<'py>(
    py: Python<'py>,
    batch: Batch<'py>,
    exact: PyReadonlyArray2<'py, f64>,
) -> PyResult<(Bound<'py, PyArray2<f64>>, Vec<i8>)> {
    let (params, rngs) = (batch.params(), batch.rngs()?);
    let rows = batch.rows(&params)?;
    let exact = elements(&exact, "logits")?;
    let mut probs = vec![0.0; exact.len()];
    let statuses = py.detach(|| rows.fill_probs(&rngs, exact, &mut probs)).map_err(raise)?;
    let shape = [rows.n_rows(), batch.0.logits()?.1];
    Ok((PyArray1::from_vec(py, probs).reshape(shape)?, codes(statuses)))
}

/// The logits that the rules leave, and statuses.
#[pyfunction]
fn processed<'py>(py: Python<'py>, batch: Batch<'py>) -> PyResult<(Bound<'py, PyArray2<f32>>, Vec<i8>)> {
    let (params, rngs) = (batch.params(), batch.rngs()?);
    let (rows, n_vocab) = (batch.rows(&params)?, batch.0.logits()?.1);
    let mut left = vec![0.0; rows.n_rows() * n_vocab];
    let statuses = py.detach(|| rows.fill_processed(&rngs, &mut left)).map_err(raise)?;
    Ok((PyArray1::from_vec(py, left).reshape([rows.n_rows(), n_vocab])?, codes(statuses)))
}

//! The Python face of the `sample` domain: extract, detach, one core call, wrap.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::sample::{Params, Rows, Status, waiting_times as core_waiting_times};

use crate::array::elements;
use crate::error::raise;

/// See `tokenloom.sample`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod sample {
    #[pymodule_export]
    const MAX_VOCAB: usize = tokenloom_decode::sample::MAX_VOCAB;

    #[pymodule_export]
    use super::{PyRng, check_params, derive_seeds, draw, keep_sets, probabilities, waiting_times};
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

fn checked_purpose(word: u32) -> PyResult<Purpose> {
    Purpose::from_word(word)
        .ok_or_else(|| PyValueError::new_err(format!("expected a purpose below 2**31, found {word}")))
}

/// Rules as they cross the border: one array a field, all as long as the batch or all of length one.
#[derive(FromPyObject)]
struct Rules<'py>(
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
    PyReadonlyArray1<'py, f64>,
);

impl Rules<'_> {
    fn params(&self) -> PyResult<Vec<Params>> {
        let temperatures = elements(&self.0, "temperature")?;
        let top_ks = elements(&self.1, "top_k")?;
        let top_ps = elements(&self.2, "top_p")?;
        let min_ps = elements(&self.3, "min_p")?;
        let typical_ps = elements(&self.4, "typical_p")?;
        let rows = temperatures.iter().zip(top_ks).zip(top_ps).zip(min_ps).zip(typical_ps);
        let params = rows.map(|((((&temperature, &top_k), &top_p), &min_p), &typical_p)| {
            Params { temperature, top_k, top_p, min_p, typical_p }.checked().map_err(raise)
        });
        params.collect()
    }
}

/// Raise unless every rule is in its range.
#[pyfunction]
fn check_params(temperature: f64, top_k: i64, top_p: f64, min_p: f64, typical_p: f64) -> PyResult<()> {
    Params { temperature, top_k, top_p, min_p, typical_p }.checked().map(|_| ()).map_err(raise)
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
);

/// Tokens, log-probabilities, statuses and margins.
#[pyfunction]
#[pyo3(signature = (logits, rules, seeds, positions, mask, purpose))]
fn draw<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    rules: Rules<'py>,
    seeds: PyReadonlyArray1<'py, u64>,
    positions: PyReadonlyArray1<'py, u64>,
    mask: Option<PyReadonlyArray2<'py, u32>>,
    purpose: u32,
) -> PyResult<Drawn<'py>> {
    let params = rules.params()?;
    let masks = mask.as_ref().map(|mask| elements(mask, "mask")).transpose()?;
    let rows = Rows::new(elements(&logits, "logits")?, logits.shape()[1], masks, &params).map_err(raise)?;
    let purpose = checked_purpose(purpose)?;
    let addresses = elements(&seeds, "seeds")?.iter().zip(elements(&positions, "positions")?);
    let rngs: Vec<Rng> = addresses.map(|(&seed, &position)| Rng::new(seed, position)).collect();
    let draws = py.detach(|| rows.draw(&rngs, purpose)).map_err(raise)?;
    let tokens = draws.iter().map(|draw| draw.map_or(-1, |draw| i64::from(draw.token)));
    let log_probs = draws.iter().map(|draw| draw.map_or(f32::NAN, |draw| draw.log_prob));
    let statuses = draws.iter().map(|draw| draw.map_or_else(|status| status, |_| Status::Ok) as i8);
    let margins = draws.iter().map(|draw| draw.map_or(f32::NAN, |draw| draw.margin));
    Ok((
        PyArray1::from_iter(py, tokens),
        PyArray1::from_iter(py, log_probs),
        PyArray1::from_iter(py, statuses),
        PyArray1::from_iter(py, margins),
    ))
}

/// Flags of the kept tokens, and statuses.
#[pyfunction]
#[pyo3(signature = (logits, rules, mask))]
fn keep_sets<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    rules: Rules<'py>,
    mask: Option<PyReadonlyArray2<'py, u32>>,
) -> PyResult<(Bound<'py, PyArray2<bool>>, Vec<i8>)> {
    let params = rules.params()?;
    let masks = mask.as_ref().map(|mask| elements(mask, "mask")).transpose()?;
    let n_vocab = logits.shape()[1];
    let rows = Rows::new(elements(&logits, "logits")?, n_vocab, masks, &params).map_err(raise)?;
    let sets = py.detach(|| rows.keep_sets());
    let mut flags = vec![false; rows.n_rows() * n_vocab];
    for (n_row, tokens) in sets.iter().enumerate() {
        tokens.iter().flatten().for_each(|&token| flags[n_row * n_vocab + token as usize] = true);
    }
    let statuses = sets.iter().map(|set| set.as_ref().err().copied().unwrap_or(Status::Ok) as i8).collect();
    Ok((PyArray1::from_vec(py, flags).reshape([rows.n_rows(), n_vocab])?, statuses))
}

/// Probabilities and statuses; `exact` are the logits before they were rounded, if they were.
#[pyfunction]
#[pyo3(signature = (logits, exact, rules, mask))]
fn probabilities<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    exact: Option<PyReadonlyArray2<'py, f64>>,
    rules: Rules<'py>,
    mask: Option<PyReadonlyArray2<'py, u32>>,
) -> PyResult<(Bound<'py, PyArray2<f64>>, Vec<i8>)> {
    let params = rules.params()?;
    let masks = mask.as_ref().map(|mask| elements(mask, "mask")).transpose()?;
    let (rounded, n_vocab) = (elements(&logits, "logits")?, logits.shape()[1]);
    let rows = Rows::new(rounded, n_vocab, masks, &params).map_err(raise)?;
    let exact = exact.as_ref().map(|exact| elements(exact, "logits")).transpose()?;
    let mut probs = vec![0.0; rounded.len()];
    let statuses = py.detach(|| match exact {
        Some(exact) => rows.fill_probs(exact, &mut probs),
        None => rows.fill_probs(rounded, &mut probs),
    });
    let statuses = statuses.map_err(raise)?.into_iter().map(|status| status as i8).collect();
    Ok((PyArray1::from_vec(py, probs).reshape([rows.n_rows(), n_vocab])?, statuses))
}

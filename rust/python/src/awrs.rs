//! Weighted draws under a Python check, and resampling.

use std::num::NonZeroUsize;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use tokenloom_decode::control::{
    self as core, Estimator, LogProb, Particle, Resampling, RowMass, Weighing, WeightedToken,
};
use tokenloom_decode::rng::Rng;

use crate::array::{Floats, elements};
use crate::control::PyCheck;
use crate::error::{ParamsError, raise};
use crate::sample::RngArg;

/// A check, and pairs of a token and its verdict that are known.
impl<'a, 'py> FromPyObject<'a, 'py> for PyCheck {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let (check, known): (Bound<'py, PyAny>, Vec<(u32, bool)>) = object.extract()?;
        let mut own = Self::new(&check)?;
        own.known = known;
        Ok(own)
    }
}

/// `(estimator, top_m, extra, accepts, budget or 0, tolerance)`, checked.
pub(crate) struct WeighingArg(Weighing);

impl<'a, 'py> FromPyObject<'a, 'py> for WeighingArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let (name, top_m, extra, accepts, budget, tolerance): (String, usize, usize, usize, usize, f64) =
            object.extract()?;
        let estimator = match (name.as_str(), NonZeroUsize::new(extra)) {
            ("recursive", _) => Estimator::RECURSIVE,
            ("known_mass", Some(extra)) => Estimator::KnownMass { top_m, extra },
            ("geometric", _) if accepts >= 2 => Estimator::Geometric { accepts },
            _ => return Err(ParamsError::new_err("expected an estimator with its options")),
        };
        Ok(Self(Weighing { estimator, budget: NonZeroUsize::new(budget), tolerance }))
    }
}

/// One draw: token or -1, log weight, number of checks.
#[pyfunction]
#[pyo3(signature = (logprobs, check, rng, weighing, mask, proposal))]
pub(crate) fn awrs(
    py: Python<'_>,
    logprobs: Floats<'_>,
    check: PyCheck,
    rng: RngArg,
    weighing: WeighingArg,
    mask: Option<PyReadonlyArray1<'_, u32>>,
    proposal: Option<Floats<'_>>,
) -> PyResult<(i64, f64, usize)> {
    let mask = mask.as_ref().map(|mask| elements(mask, "mask")).transpose()?;
    let drawn_from = proposal.as_ref().unwrap_or(&logprobs);
    let (token, log_weight, n_checks) = match drawn_from {
        Floats::F32(row) => draw_one(py, elements(row, "logprobs")?, mask, check, rng.0, &weighing.0)?,
        Floats::F64(row) => draw_one(py, elements(row, "logprobs")?, mask, check, rng.0, &weighing.0)?,
    };
    let (Ok(index), Some(proposal)) = (usize::try_from(token), &proposal) else {
        return Ok((token, log_weight, n_checks));
    };
    Ok((token, log_weight + logprobs.at(&[index]) - proposal.at(&[index]), n_checks))
}

fn draw_one<T: LogProb>(
    py: Python<'_>,
    row: &[T],
    mask: Option<&[u32]>,
    check: PyCheck,
    rng: Rng,
    weighing: &Weighing,
) -> PyResult<(i64, f64, usize)> {
    py.detach(|| {
        let row = RowMass::new(row, mask, 0).map_err(raise)?;
        core::awrs(&row, check, rng, weighing).map(as_tuple)
    })
}

fn as_tuple(drawn: WeightedToken) -> (i64, f64, usize) {
    (drawn.token.map_or(-1, i64::from), drawn.log_weight, drawn.n_checks)
}

type Drawn<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

/// Many draws: tokens, log weights, numbers of checks.
#[pyfunction]
#[pyo3(signature = (logprobs, checks, contexts, seeds, positions, weighing, masks, proposals, threads))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn awrs_batch<'py>(
    py: Python<'py>,
    logprobs: Floats<'py>,
    checks: Vec<PyCheck>,
    contexts: Vec<usize>,
    seeds: Vec<u64>,
    positions: Vec<u64>,
    weighing: WeighingArg,
    masks: Option<PyReadonlyArray2<'py, u32>>,
    proposals: Option<Floats<'py>>,
    threads: usize,
) -> PyResult<Drawn<'py>> {
    let n_vocab = logprobs.shape()[1];
    let n_words = masks.as_ref().map_or(0, |masks| masks.shape()[1]);
    let masks = masks.as_ref().map(|masks| elements(masks, "masks")).transpose()?;
    let masks: Option<Vec<&[u32]>> = masks.map(|masks| masks.chunks(n_words.max(1)).collect());
    let particles: Vec<Particle> = (contexts.into_iter().zip(seeds).zip(positions))
        .map(|((context, seed), position)| Particle { context, rng: Rng::new(seed, position) })
        .collect();
    let batch = Batch { n_vocab, masks, particles: &particles, weighing: &weighing.0, threads };
    let drawn = match proposals.as_ref().unwrap_or(&logprobs) {
        Floats::F32(rows) => batch.draw(py, elements(rows, "logprobs")?, checks),
        Floats::F64(rows) => batch.draw(py, elements(rows, "logprobs")?, checks),
    }?;
    let (mut tokens, mut log_weights, mut n_checks) = (Vec::new(), Vec::new(), Vec::new());
    for (particle, drawn) in particles.iter().zip(drawn) {
        let (token, mut log_weight, n) = as_tuple(drawn);
        if let (Some(proposals), Ok(index)) = (&proposals, usize::try_from(token)) {
            let at = [particle.context, index];
            log_weight = log_weight + logprobs.at(&at) - proposals.at(&at);
        }
        tokens.push(token);
        log_weights.push(log_weight);
        n_checks.push(n as i64);
    }
    Ok((tokens.into_pyarray(py), log_weights.into_pyarray(py), n_checks.into_pyarray(py)))
}

/// What the draws of a batch share.
struct Batch<'a> {
    n_vocab: usize,
    masks: Option<Vec<&'a [u32]>>,
    particles: &'a [Particle],
    weighing: &'a Weighing,
    threads: usize,
}

impl Batch<'_> {
    fn draw<T: LogProb>(
        &self,
        py: Python<'_>,
        rows: &[T],
        mut checks: Vec<PyCheck>,
    ) -> PyResult<Vec<WeightedToken>> {
        py.detach(|| {
            let rows =
                core::read_rows(rows, self.n_vocab, self.masks.as_deref(), self.threads).map_err(raise)?;
            core::awrs_batch(&rows, &mut checks, self.particles, self.weighing)
        })
    }
}

/// Ancestors, or None where no particle has weight.
#[pyfunction]
pub(crate) fn resample<'py>(
    py: Python<'py>,
    log_weights: PyReadonlyArray1<'py, f64>,
    scheme: &str,
    rng: RngArg,
) -> PyResult<Option<Bound<'py, PyArray1<i64>>>> {
    let scheme = match scheme {
        "multinomial" => Resampling::Multinomial,
        "stratified" => Resampling::Stratified,
        "systematic" => Resampling::Systematic,
        "residual" => Resampling::Residual,
        other => return Err(ParamsError::new_err(format!("expected a resampling scheme, found {other:?}"))),
    };
    let ancestors = core::resample(elements(&log_weights, "log_weights")?, scheme, rng.0);
    Ok(ancestors.map(|ancestors| PyArray1::from_iter(py, ancestors.into_iter().map(|a| a as i64))))
}

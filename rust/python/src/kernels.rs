//! The Python face of the CPU twins that have no domain of their own: extract, detach, one core call, wrap.

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use tokenloom_decode::bytelevel::{fill_range_sums, maximum};
use tokenloom_decode::rng::Rng;
use tokenloom_decode::sample::{self as core, Finisher, Sampler};

use crate::array::elements;
use crate::error::array_error;
use crate::sample::{LogitsArg, checked_purpose};

/// See `tokenloom.torch.kernels`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod kernels {
    #[pymodule_export]
    use super::{arrivals, forbid, mixture, range_sums};
}

/// Tokens, times, log-probabilities, statuses.
type Arrived<'py> = (
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<i8>>,
);

/// The first `n` arrivals of each row behind `after`.
#[pyfunction]
fn arrivals<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    addresses: (PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, u64>),
    purpose: u32,
    after: (PyReadonlyArray1<'py, f32>, PyReadonlyArray1<'py, i64>),
    n: usize,
) -> PyResult<Arrived<'py>> {
    let purpose = checked_purpose(purpose)?;
    let (n_rows, n_vocab) = (logits.shape()[0], logits.shape()[1]);
    let values = elements(&logits, "logits")?;
    let (seeds, positions) = (elements(&addresses.0, "seeds")?, elements(&addresses.1, "positions")?);
    let after = (elements(&after.0, "after")?, elements(&after.1, "after")?);
    if [seeds.len(), positions.len(), after.0.len(), after.1.len()] != [n_rows; 4] {
        return Err(array_error(py, "seeds", "as many addresses as rows", &format!("{}", seeds.len())));
    }
    let (tokens, times, log_probs, statuses) = py.detach(|| {
        let mut arrived = (
            vec![-1i64; n_rows * n],
            vec![f32::INFINITY; n_rows * n],
            vec![f32::NEG_INFINITY; n_rows * n],
            vec![0i8; n_rows],
        );
        let mut sampler = Sampler::default();
        for row in 0..n_rows {
            let rng = Rng::new(seeds[row], positions[row]);
            match sampler.order(&values[row * n_vocab..][..n_vocab], 1.0, rng, purpose) {
                Err(status) => arrived.3[row] = status as i8,
                Ok(mut order) => {
                    let best = order.best(1)[0];
                    let last =
                        u32::try_from(after.1[row]).ok().map(|token| Finisher { time: after.0[row], token });
                    for (place, finisher) in order.arrivals(best, last, n).into_iter().enumerate() {
                        arrived.0[row * n + place] = finisher.token.into();
                        arrived.1[row * n + place] = finisher.time;
                        arrived.2[row * n + place] = order.log_prob(finisher.token);
                    }
                }
            }
        }
        arrived
    });
    let floats = |values| PyArray1::from_vec(py, values).reshape([n_rows, n]);
    let tokens = PyArray1::from_vec(py, tokens).reshape([n_rows, n])?;
    Ok((tokens, floats(times)?, floats(log_probs)?, PyArray1::from_vec(py, statuses)))
}

/// Logits as bits.
#[derive(FromPyObject)]
enum Bits<'py> {
    Half(PyReadwriteArray2<'py, u16>),
    Single(PyReadwriteArray2<'py, u32>),
}

/// Writes `forbidden` into row `rows[i]` where mask `i` forbids; a row of -1 is no row.
#[pyfunction]
fn forbid(
    py: Python<'_>,
    logits: Bits<'_>,
    forbidden: u32,
    masks: PyReadonlyArray2<'_, u32>,
    rows: PyReadonlyArray1<'_, i64>,
) -> PyResult<()> {
    fn each<W: core::Word>(logits: &mut [W], n_vocab: usize, forbidden: W, masks: &[u32], rows: &[i64]) {
        for (mask, &row) in masks.chunks(n_vocab.div_ceil(32)).zip(rows) {
            let first = usize::try_from(row).ok().map(|row| row * n_vocab);
            if let Some(row) = first.and_then(|first| logits.get_mut(first..first + n_vocab)) {
                core::forbid(row, forbidden, mask);
            }
        }
    }
    let (words, rows) = (elements(&masks, "masks")?, elements(&rows, "rows")?);
    match logits {
        Bits::Half(mut array) => {
            let n_vocab = array.shape()[1];
            let values = array.as_slice_mut()?;
            py.detach(|| each(values, n_vocab, forbidden as u16, words, rows));
        }
        Bits::Single(mut array) => {
            let n_vocab = array.shape()[1];
            let values = array.as_slice_mut()?;
            py.detach(|| each(values, n_vocab, forbidden, words, rows));
        }
    }
    Ok(())
}

/// Weighted sums of rows of a table.
#[pyfunction]
fn mixture<'py>(
    py: Python<'py>,
    table: LogitsArg<'py>,
    tokens: PyReadonlyArray2<'py, i64>,
    weights: PyReadonlyArray2<'py, f32>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (values, n_columns) = table.logits()?;
    let [n_rows, n_kept] = [tokens.shape()[0], tokens.shape()[1]];
    let (tokens, weights) = (elements(&tokens, "tokens")?, elements(&weights, "weights")?);
    if tokens.len() != weights.len() {
        return Err(array_error(py, "weights", "as many as tokens", &weights.len().to_string()));
    }
    let mut mixtures = vec![0f32; n_rows * n_columns];
    py.detach(|| {
        for row in 0..n_rows {
            let kept = row * n_kept..(row + 1) * n_kept;
            let mixture = &mut mixtures[row * n_columns..][..n_columns];
            core::fill_mixture(values, &tokens[kept.clone()], &weights[kept], mixture);
        }
    });
    PyArray1::from_vec(py, mixtures).reshape([n_rows, n_columns])
}

type MaximaAndSums<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray2<f64>>);

/// Maxima of the rows, and sums of `e^(logit - maximum)` over ranges of an order of the tokens.
#[pyfunction]
fn range_sums<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    order: PyReadonlyArray1<'py, u32>,
    ranges: PyReadonlyArray2<'py, u32>,
) -> PyResult<MaximaAndSums<'py>> {
    let [n_rows, n_vocab] = [logits.shape()[0], logits.shape()[1]];
    let (values, order) = (elements(&logits, "logits")?, elements(&order, "order")?);
    let (ranges, _) = elements(&ranges, "ranges")?.as_chunks::<2>();
    let mut maxima = vec![0f32; n_rows];
    let mut sums = vec![0f64; n_rows * ranges.len()];
    py.detach(|| {
        for (row, max) in maxima.iter_mut().enumerate() {
            let values = &values[row * n_vocab..][..n_vocab];
            *max = maximum(values);
            fill_range_sums(values, *max, order, ranges, &mut sums[row * ranges.len()..][..ranges.len()]);
        }
    });
    let sums = PyArray1::from_vec(py, sums).reshape([n_rows, ranges.len()])?;
    Ok((PyArray1::from_vec(py, maxima), sums))
}

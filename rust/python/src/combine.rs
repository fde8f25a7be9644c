//! The Python face of rows that are combined and of several draws at once: a part of the `sample` module.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_decode::sample::{Contrast, Node, Sampler, Status, beam_step, cap, contrast, guide};

use crate::array::elements;
use crate::error::ArrayError;

type Combined<'py> = PyResult<(Bound<'py, PyArray2<f32>>, Vec<i8>)>;

/// Combines two arrays of one shape row by row.
fn by_row<'py>(
    py: Python<'py>,
    one: &PyReadonlyArray2<'py, f32>,
    other: &PyReadonlyArray2<'py, f32>,
    combine: impl Fn(&[f32], &[f32], &mut [f32]) -> Result<(), Status> + Sync,
) -> Combined<'py> {
    if one.shape() != other.shape() || one.shape()[1] == 0 {
        let (one, other) = (one.shape(), other.shape());
        return Err(ArrayError::new_err(format!(
            "expected two arrays [B, V] of one shape, found {one:?}, {other:?}"
        )));
    }
    let (n_rows, n_vocab) = (one.shape()[0], one.shape()[1]);
    let (one, other) = (elements(one, "logits")?, elements(other, "logits")?);
    let mut combined = vec![0.0; one.len()];
    let statuses = py.detach(|| {
        let rows = one.chunks(n_vocab).zip(other.chunks(n_vocab)).zip(combined.chunks_mut(n_vocab));
        rows.map(|((one, other), out)| combine(one, other, out).err().unwrap_or(Status::Ok) as i8).collect()
    });
    Ok((PyArray1::from_vec(py, combined).reshape([n_rows, n_vocab])?, statuses))
}

/// Guided logits, and statuses.
#[pyfunction]
pub(crate) fn guided<'py>(
    py: Python<'py>,
    conditional: PyReadonlyArray2<'py, f32>,
    unconditional: PyReadonlyArray2<'py, f32>,
    scale: f32,
) -> Combined<'py> {
    by_row(py, &conditional, &unconditional, |c, u, out| guide(c, u, scale, out))
}

/// Contrastive scores, and statuses.
#[pyfunction]
#[pyo3(signature = (expert, amateur, alpha, beta))]
pub(crate) fn contrasted<'py>(
    py: Python<'py>,
    expert: PyReadonlyArray2<'py, f32>,
    amateur: PyReadonlyArray2<'py, f32>,
    alpha: f32,
    beta: Option<f32>,
) -> Combined<'py> {
    by_row(py, &expert, &amateur, |e, a, out| contrast(e, a, Contrast { alpha, beta }, out))
}

/// Capped log-probabilities, and statuses.
#[pyfunction]
pub(crate) fn capped<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    caps: PyReadonlyArray2<'py, f32>,
) -> Combined<'py> {
    by_row(py, &logits, &caps, cap)
}

type Several<'py> =
    (Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, Vec<i8>);

/// Tokens drawn without replacement, their log-probabilities, their keys and statuses; -1 and -inf where there are fewer.
#[pyfunction]
pub(crate) fn distinct_draws<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    seeds: PyReadonlyArray1<'py, u64>,
    positions: PyReadonlyArray1<'py, u64>,
    n: usize,
) -> PyResult<Several<'py>> {
    let n_vocab = logits.shape()[1].max(1);
    let (rows, n_rows) = (elements(&logits, "logits")?, logits.shape()[0]);
    let (seeds, positions) = (elements(&seeds, "seeds")?, elements(&positions, "positions")?);
    let drawn: Vec<_> = py.detach(|| {
        let mut sampler = Sampler::default();
        let addresses = seeds.iter().zip(positions).map(|(&seed, &position)| Rng::new(seed, position));
        let rows = rows.chunks(n_vocab).zip(addresses);
        rows.map(|(row, rng)| sampler.distinct(row, n, rng, Purpose::SAMPLE)).collect()
    });
    let statuses = drawn.iter().map(|row| row.as_ref().err().copied().unwrap_or(Status::Ok) as i8).collect();
    let (mut tokens, mut log_probs, mut keys) = (vec![], vec![], vec![]);
    for row in drawn.into_iter().map(Result::unwrap_or_default) {
        for place in 0..n {
            let draw = row.get(place);
            tokens.push(draw.map_or(-1, |draw| i64::from(draw.token)));
            log_probs.push(draw.map_or(f64::NEG_INFINITY, |draw| draw.log_prob));
            keys.push(draw.map_or(f64::NEG_INFINITY, |draw| draw.key));
        }
    }
    Ok((
        PyArray1::from_vec(py, tokens).reshape([n_rows, n])?,
        PyArray1::from_vec(py, log_probs).reshape([n_rows, n])?,
        PyArray1::from_vec(py, keys).reshape([n_rows, n])?,
        statuses,
    ))
}

type Children<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<u64>>,
);

/// One step of stochastic beam search: parents, tokens, log-probabilities, keys and seeds of the children that stay.
#[pyfunction]
pub(crate) fn beam<'py>(
    py: Python<'py>,
    logits: PyReadonlyArray2<'py, f32>,
    nodes: (PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, u64>),
    n: usize,
    position: u64,
) -> PyResult<Children<'py>> {
    let n_vocab = logits.shape()[1];
    let rows = elements(&logits, "logits")?;
    let (log_probs, keys) = (elements(&nodes.0, "logprobs")?, elements(&nodes.1, "keys")?);
    let parts = log_probs.iter().zip(keys).zip(elements(&nodes.2, "seeds")?);
    let nodes: Vec<Node> = parts.map(|((&log_prob, &key), &seed)| Node { log_prob, key, seed }).collect();
    let row = |i: usize| &rows[i * n_vocab..(i + 1) * n_vocab];
    let children = py.detach(|| beam_step(&nodes, row, n, position));
    Ok((
        PyArray1::from_iter(py, children.iter().map(|child| child.parent as i64)),
        PyArray1::from_iter(py, children.iter().map(|child| i64::from(child.token))),
        PyArray1::from_iter(py, children.iter().map(|child| child.node.log_prob)),
        PyArray1::from_iter(py, children.iter().map(|child| child.node.key)),
        PyArray1::from_iter(py, children.iter().map(|child| child.node.seed)),
    ))
}

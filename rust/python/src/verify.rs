//! The Python face of the `verify` domain: extract, detach, one core call, wrap.

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::Rng;
use tokenloom_decode::verify::{self as core, Accepted, Rows};

use crate::array::{Floats, TokenIds};
use crate::draft::PyDraftTree;
use crate::error::{array_error, raise};
use crate::sample::RngArg;

/// See `tokenloom.verify`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod verify {
    #[pymodule_export]
    use super::{follow, greedy, walk};
}

/// Paths padded with -1, next tokens, path lengths.
type Arrays<'py> = (Bound<'py, PyArray2<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>);

#[pyfunction]
fn greedy<'py>(py: Python<'py>, logits: Floats<'py>, trees: Vec<Py<PyDraftTree>>) -> PyResult<Arrays<'py>> {
    let trees: Vec<&DraftTree> = trees.iter().map(|tree| &tree.get().tree).collect();
    let shape = batch_shape(py, &logits)?;
    let accepted = match &logits {
        Floats::F32(array) => {
            let rows = Rows::new(array.as_slice()?, shape, &trees).map_err(raise)?;
            py.detach(|| core::greedy(rows, &trees))
        }
        Floats::F64(array) => {
            let rows = Rows::new(array.as_slice()?, shape, &trees).map_err(raise)?;
            py.detach(|| core::greedy(rows, &trees))
        }
    };
    into_arrays(py, &accepted.map_err(raise)?, &trees)
}

#[pyfunction]
fn walk<'py>(
    py: Python<'py>,
    probs: Floats<'py>,
    trees: Vec<Py<PyDraftTree>>,
    rngs: Vec<RngArg>,
) -> PyResult<Arrays<'py>> {
    let trees: Vec<&DraftTree> = trees.iter().map(|tree| &tree.get().tree).collect();
    let rngs: Vec<Rng> = rngs.into_iter().map(|rng| rng.0).collect();
    let shape = batch_shape(py, &probs)?;
    if rngs.len() != trees.len() {
        let expected = format!("one for each of the {} trees", trees.len());
        return Err(array_error(py, "rngs", &expected, &rngs.len().to_string()));
    }
    let accepted = match &probs {
        Floats::F32(array) => {
            let rows = Rows::new(array.as_slice()?, shape, &trees).map_err(raise)?;
            py.detach(|| core::walk(rows, &trees, &rngs))
        }
        Floats::F64(array) => {
            let rows = Rows::new(array.as_slice()?, shape, &trees).map_err(raise)?;
            py.detach(|| core::walk(rows, &trees, &rngs))
        }
    };
    into_arrays(py, &accepted.map_err(raise)?, &trees)
}

#[pyfunction]
fn follow<'py>(py: Python<'py>, sampled: TokenIds, tree: Py<PyDraftTree>) -> PyResult<Arrays<'py>> {
    let tree = &tree.get().tree;
    let sampled = tokenloom_decode::draft::token_ids(&sampled.0).map_err(raise)?;
    let accepted = core::follow(&sampled, tree).map_err(raise)?;
    into_arrays(py, &[accepted], &[tree])
}

/// Trees, rows of a tree, vocabulary.
fn batch_shape(py: Python<'_>, values: &Floats<'_>) -> PyResult<[usize; 3]> {
    let shape = values.shape();
    shape
        .try_into()
        .map_err(|_| array_error(py, "rows", "[trees, nodes + 1, vocabulary]", &format!("shape {shape:?}")))
}

fn into_arrays<'py>(py: Python<'py>, accepted: &[Accepted], trees: &[&DraftTree]) -> PyResult<Arrays<'py>> {
    let width = trees.iter().map(|tree| tree.n_nodes()).max().unwrap_or(0);
    let mut paths = vec![-1i32; accepted.len() * width];
    for (i, accepted) in accepted.iter().enumerate() {
        for (depth, &node) in accepted.path.iter().enumerate() {
            paths[i * width + depth] = node as i32;
        }
    }
    let next = accepted.iter().map(|accepted| accepted.next_token as i32);
    let lengths = accepted.iter().map(|accepted| accepted.path.len() as i32);
    let paths = PyArray1::from_vec(py, paths).reshape([accepted.len(), width])?;
    Ok((paths, PyArray1::from_iter(py, next), PyArray1::from_iter(py, lengths)))
}

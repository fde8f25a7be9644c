//! The Python face of the `lexica` domain: extract, detach, one core call, wrap.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use tokenloom_tokenize::train::{self as core, Boundary, Dynamic, DynamicOptions};

use crate::array::elements;
use crate::error::{ParamsError, raise};
use crate::formats::PySpec;
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.lexica`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod lexica {
    #[pymodule_export]
    use super::{merge_batch, union};
}

/// ids, offsets, base_ids, bytes, byte_offsets, surface, surface_lengths, segments, n_tokens
type DynamicArrays<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

fn boundary_of(name: &str) -> PyResult<Boundary> {
    Ok(match name {
        "pretokens" => Boundary::Pretokens,
        "words" => Boundary::Words,
        "hyphen-words" => Boundary::HyphenWords,
        "sentences" => Boundary::Sentences,
        _ => return Err(ParamsError::new_err(format!("{name:?} is no boundary"))),
    })
}

/// The fields of a dynamic tokenization as `tokenloom.lexica` has them.
#[derive(FromPyObject)]
struct DynamicFields {
    boundary: String,
    n_merges: usize,
    enough_tokens: usize,
    max_token_bytes: usize,
    max_surface: usize,
}

#[pyfunction]
fn merge_batch<'py>(
    py: Python<'py>,
    tokenizer: &PyTokenizer,
    values: PyReadonlyArray1<'py, u32>,
    offsets: PyReadonlyArray1<'py, i64>,
    fields: DynamicFields,
) -> PyResult<DynamicArrays<'py>> {
    let (values, offsets) = (elements(&values, "values")?, elements(&offsets, "offsets")?);
    let DynamicFields { boundary, n_merges, enough_tokens, max_token_bytes, max_surface } = fields;
    let boundary = boundary_of(&boundary)?;
    let options = DynamicOptions { boundary, n_merges, enough_tokens, max_token_bytes, max_surface };
    let merge = || core::merge_batch(&tokenizer.inner, values, offsets, &options);
    let Dynamic { ids, offsets, base_ids, bytes, byte_offsets, surface, surface_lengths, segments, n_tokens } =
        py.detach(merge).map_err(raise)?;
    Ok((
        ids.into_pyarray(py),
        offsets.into_pyarray(py),
        base_ids.into_pyarray(py),
        bytes.into_pyarray(py),
        byte_offsets.into_pyarray(py),
        surface.into_pyarray(py),
        surface_lengths.into_pyarray(py),
        segments.into_pyarray(py),
        n_tokens.into_pyarray(py),
    ))
}

/// What the union is built from, the id there of each id of `second` or -1, and how many of the last ids are bridges.
#[pyfunction]
fn union<'py>(
    py: Python<'py>,
    first: &PyTokenizer,
    second: &PyTokenizer,
) -> PyResult<(PySpec, Bound<'py, PyArray1<i64>>, usize)> {
    let found = py.detach(|| core::union(&first.inner, &second.inner)).map_err(raise)?;
    Ok((found.spec.into(), found.ids.into_pyarray(py), found.n_bridges))
}

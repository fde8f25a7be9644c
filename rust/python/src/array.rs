//! The only place that touches NumPy views: dtype, contiguity and length checks.

use numpy::{Element, PyReadonlyArray};
use pyo3::PyResult;
use pyo3::prelude::*;

use crate::error::ArrayError;

/// The elements of a contiguous array, row after row.
pub(crate) fn elements<'a, T: Element, D: numpy::ndarray::Dimension>(
    array: &'a PyReadonlyArray<'_, T, D>,
    argument: &str,
) -> PyResult<&'a [T]> {
    array
        .as_slice()
        .map_err(|_| ArrayError::new_err(format!("expected {argument} in row-major order without gaps")))
}

//! The only place that touches NumPy views: dtype, contiguity and length checks.

use numpy::{
    Element, PyArrayDescrMethods, PyReadonlyArray, PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{ArrayError, array_error};

/// The elements of a contiguous array, row after row.
pub(crate) fn elements<'a, T: Element, D: numpy::ndarray::Dimension>(
    array: &'a PyReadonlyArray<'_, T, D>,
    argument: &str,
) -> PyResult<&'a [T]> {
    array
        .as_slice()
        .map_err(|_| ArrayError::new_err(format!("expected {argument} in row-major order without gaps")))
}

/// Token ids as the caller gave them: an integer array of one dimension, or a sequence of ints. Not yet range-checked.
pub(crate) struct TokenIds(pub(crate) Vec<i64>);

impl<'a, 'py> FromPyObject<'a, 'py> for TokenIds {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.extract::<PyReadonlyArray1<'_, i32>>() {
            return Ok(Self(array.as_array().iter().map(|&id| i64::from(id)).collect()));
        }
        if let Ok(array) = object.extract::<PyReadonlyArray1<'_, u32>>() {
            return Ok(Self(array.as_array().iter().map(|&id| i64::from(id)).collect()));
        }
        if let Ok(array) = object.extract::<PyReadonlyArray1<'_, i64>>() {
            return Ok(Self(array.as_array().iter().copied().collect()));
        }
        let expected = "an integer array of one dimension or a sequence of ints";
        if let Ok(array) = object.cast::<PyUntypedArray>()
            && (array.ndim() != 1 || (array.len() > 0 && !matches!(array.dtype().kind(), b'i' | b'u')))
        {
            return Err(array_error(object.py(), "token ids", expected, &describe(&array)));
        }
        object.extract::<Vec<i64>>().map(Self).map_err(|error| {
            let found = match error.is_instance_of::<PyTypeError>(object.py()) {
                true => object.get_type().to_string(),
                false => error.to_string(),
            };
            array_error(object.py(), "token ids", expected, &found)
        })
    }
}

/// A C-contiguous float32 or float64 array of any shape.
pub(crate) enum Floats<'py> {
    /// float32.
    F32(PyReadonlyArrayDyn<'py, f32>),
    /// float64.
    F64(PyReadonlyArrayDyn<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Floats<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let found = match object.cast::<PyUntypedArray>() {
            Ok(array) if array.is_c_contiguous() => {
                if let Ok(array) = object.extract() {
                    return Ok(Self::F32(array));
                }
                if let Ok(array) = object.extract() {
                    return Ok(Self::F64(array));
                }
                describe(&array)
            }
            Ok(array) => format!("{}, not contiguous", describe(&array)),
            Err(_) => object.get_type().to_string(),
        };
        Err(array_error(object.py(), "array", "a C-contiguous array of float32 or float64", &found))
    }
}

impl Floats<'_> {
    /// The shape.
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
        }
    }
}

/// The shape and dtype of an array, for messages.
fn describe(array: &Bound<'_, PyUntypedArray>) -> String {
    format!("shape {:?} of {}", array.shape(), array.dtype())
}

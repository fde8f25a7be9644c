//! The only place that touches NumPy views: dtype, contiguity and length checks.

use std::sync::atomic::AtomicPtr;
use std::sync::{Arc, Mutex};

use numpy::ndarray::ArrayView1;
use numpy::{
    Element, PyArray1, PyArrayDescrMethods, PyReadonlyArray, PyReadonlyArray1, PyReadonlyArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods,
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
        let expected = "an integer array of one dimension or a sequence of ints";
        // A list is asked about once, not once for each type of array.
        if let Ok(untyped) = object.cast::<PyUntypedArray>() {
            if let Ok(array) = object.extract::<PyReadonlyArray1<'_, i32>>() {
                return Ok(Self(array.as_array().iter().map(|&id| i64::from(id)).collect()));
            }
            if let Ok(array) = object.extract::<PyReadonlyArray1<'_, u32>>() {
                return Ok(Self(array.as_array().iter().map(|&id| i64::from(id)).collect()));
            }
            if let Ok(array) = object.extract::<PyReadonlyArray1<'_, i64>>() {
                return Ok(Self(array.as_array().iter().copied().collect()));
            }
            if untyped.ndim() != 1 || (untyped.len() > 0 && !matches!(untyped.dtype().kind(), b'i' | b'u')) {
                return Err(array_error(object.py(), "token ids", expected, &describe(&untyped)));
            }
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

/// Memory of results and texts that nobody holds any more. What the system has to provide anew costs more than to fill it.
pub(crate) struct Spares<T>(Arc<Mutex<Vec<Vec<T>>>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Spares<T> {
    const MAX_KEPT: usize = 2;
    /// Larger memory is not kept.
    const MAX_KEPT_BYTES: usize = 1 << 22;

    /// Empty memory.
    pub(crate) fn take(&self) -> Vec<T> {
        self.0.try_lock().ok().and_then(|mut kept| kept.pop()).unwrap_or_default()
    }

    pub(crate) fn keep(&self, mut items: Vec<T>) {
        if items.capacity() * size_of::<T>() <= Self::MAX_KEPT_BYTES
            && let Ok(mut kept) = self.0.try_lock()
            && kept.len() < Self::MAX_KEPT
        {
            items.clear();
            kept.push(items);
        }
    }
}

impl Spares<u32> {
    /// A copy of fewer is cheaper than an owner.
    const MIN_OWNED: usize = 4096;

    /// An array of these ids, in their memory where that is not much too large.
    #[allow(unsafe_code)]
    pub(crate) fn array<'py>(&self, py: Python<'py>, ids: Vec<u32>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        if ids.len() < Self::MIN_OWNED || ids.capacity() > 2 * ids.len() {
            let array = PyArray1::from_slice(py, &ids);
            self.keep(ids);
            return Ok(array);
        }
        let mut ids = std::mem::ManuallyDrop::new(ids);
        let (start, n, capacity) = (ids.as_mut_ptr(), ids.len(), ids.capacity());
        let memory = AtomicPtr::new(start);
        let owner = Bound::new(py, SpareOwner { memory, n, capacity, home: Self(Arc::clone(&self.0)) })?;
        // SAFETY: `start` is the memory of a vector of `n` ids that its owner alone drops; the array keeps the owner alive, and
        // nobody else reads or writes that memory.
        Ok(unsafe { PyArray1::borrow_from_array(&ArrayView1::from_shape_ptr(n, start), owner.into_any()) })
    }
}

/// A vector in whose memory an array lies.
#[pyclass(frozen, name = "IdsMemory", module = "tokenloom._core.tokenizer")]
struct SpareOwner {
    memory: AtomicPtr<u32>,
    n: usize,
    capacity: usize,
    home: Spares<u32>,
}

impl Drop for SpareOwner {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: these are the parts of a vector that was not dropped; the array that wrote to it is gone.
        self.home.keep(unsafe { Vec::from_raw_parts(*self.memory.get_mut(), self.n, self.capacity) });
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

    /// An element; NaN beyond the end.
    pub(crate) fn at(&self, index: &[usize]) -> f64 {
        match self {
            Self::F32(array) => array.get(index).map_or(f64::NAN, |&value| f64::from(value)),
            Self::F64(array) => array.get(index).map_or(f64::NAN, |&value| value),
        }
    }
}

/// The shape and dtype of an array, for messages.
fn describe(array: &Bound<'_, PyUntypedArray>) -> String {
    format!("shape {:?} of {}", array.shape(), array.dtype())
}

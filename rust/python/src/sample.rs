//! The Python face of the `sample` domain: extract, detach, one core call, wrap.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};

/// See `tokenloom.sample`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod sample {
    #[pymodule_export]
    use super::PyRng;
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

    #[getter]
    fn seed(&self) -> u64 {
        self.rng.seed
    }

    #[getter]
    fn position(&self) -> u64 {
        self.rng.position
    }

    fn at(&self, position: u64) -> Self {
        Self { rng: self.rng.at(position) }
    }

    fn derive(&self, stream: u64) -> Self {
        Self { rng: self.rng.derive(stream) }
    }

    #[pyo3(signature = (token, purpose = 0))]
    fn uniform(&self, token: u32, purpose: u32) -> PyResult<f64> {
        Ok(self.rng.uniform(token, checked_purpose(purpose)?))
    }

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

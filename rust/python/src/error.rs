//! The only mapping of Rust errors to the Python tree in `tokenloom.errors` (written in Python, imported here).
//!
//! Each core error type implements [`Raise`]; binding code says `.map_err(raise)?`.

use pyo3::PyErr;

pyo3::import_exception!(tokenloom.errors, ArrayError);
pyo3::import_exception!(tokenloom.errors, ParamsError);
pyo3::import_exception!(tokenloom.errors, VocabError);

/// A core error that knows its Python exception.
pub(crate) trait Raise {
    /// The exception to raise.
    fn into_py_err(self) -> PyErr;
}

/// `result.map_err(raise)?`
pub(crate) fn raise(error: impl Raise) -> PyErr {
    error.into_py_err()
}

impl Raise for tokenloom_vocab::VocabError {
    fn into_py_err(self) -> PyErr {
        VocabError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_decode::sample::ParamsError {
    fn into_py_err(self) -> PyErr {
        ParamsError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_decode::sample::RowsError {
    fn into_py_err(self) -> PyErr {
        ArrayError::new_err(self.to_string())
    }
}

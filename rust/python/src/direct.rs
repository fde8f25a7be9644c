//! The calls whose price on a few words is the call itself: base class of the Python `Tokenizer`, so that no Python
//! function stands between the caller and the core.

use numpy::PyArray1;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::interpreted::PyInterpreted;
use crate::tokenizer::PyTokenizer;

/// One of the two machines.
#[derive(FromPyObject)]
enum Machine {
    Compiled(Py<PyTokenizer>),
    Interpreted(Py<PyInterpreted>),
}

#[pyclass(frozen, subclass, name = "DirectCalls", module = "tokenloom._core.tokenizer")]
pub(crate) struct PyDirectCalls {
    machine: Machine,
}

#[pymethods]
impl PyDirectCalls {
    #[new]
    fn new(machine: Machine) -> Self {
        Self { machine }
    }

    /// The ids of ``text``, uint32 ``[n]``.
    ///
    /// Args:
    ///     text: See the class.
    ///     add_special_tokens: See the class.
    ///     allowed_special: See the class.
    ///     threads: A text of half a megabyte or more with a published split pattern is cut at line starts and encoded
    ///         on at most this many threads, which live for this call only. The result does not depend on it.
    ///
    /// Raises:
    ///     SpecialTokenError: ``allowed_special`` names no special token.
    ///     PatternError: A split pattern without a scanner gives up on this text.
    #[pyo3(
        signature = (text, add_special_tokens=false, allowed_special=Allowed::All, threads=1),
        text_signature = "(self, text, add_special_tokens=False, allowed_special='all', threads=1)"
    )]
    fn encode<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: Allowed<'py>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let allowed = allowed_special.of(text.py());
        match &self.machine {
            Machine::Compiled(machine) => machine.get().encode(text, add_special_tokens, allowed, threads),
            Machine::Interpreted(machine) => machine.get().encode(text, add_special_tokens, allowed),
        }
    }

    /// The ids of ``text`` as a list of ints; raises what :meth:`encode` raises.
    #[pyo3(
        signature = (text, add_special_tokens=false, allowed_special=Allowed::All),
        text_signature = "(self, text, add_special_tokens=False, allowed_special='all')"
    )]
    fn encode_list<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: Allowed<'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        let allowed = allowed_special.of(text.py());
        match &self.machine {
            Machine::Compiled(machine) => machine.get().encode_list(text, add_special_tokens, allowed),
            Machine::Interpreted(machine) => machine.get().encode_list(text, add_special_tokens, allowed),
        }
    }

    /// The text of ``ids``.
    ///
    /// Args:
    ///     ids: Integer array of one dimension, list or tuple.
    ///     skip_special_tokens: Leave special tokens out.
    ///     errors: What to do where the bytes are not UTF-8, as for :meth:`bytes.decode`. ``"replace"`` puts one
    ///         U+FFFD for each maximal invalid run.
    ///
    /// Raises:
    ///     UnknownTokenError: An id is no token.
    ///     ArrayError: ``ids`` is no such array.
    ///     UnicodeDecodeError: The bytes are not UTF-8 and ``errors="strict"``.
    #[pyo3(
        signature = (ids, skip_special_tokens=false, errors="replace"),
        text_signature = "(self, ids, skip_special_tokens=False, errors='replace')"
    )]
    fn decode<'py>(
        &self,
        ids: &Bound<'py, PyAny>,
        skip_special_tokens: bool,
        errors: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.machine {
            Machine::Compiled(machine) => machine.get().decode(ids, skip_special_tokens, errors),
            Machine::Interpreted(machine) => {
                let text = machine.get().decode(ids, skip_special_tokens, errors)?;
                Ok(text.into_pyobject(ids.py())?.into_any())
            }
        }
    }
}

/// Which special tokens are matched, as the caller gave it.
enum Allowed<'py> {
    All,
    These(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Allowed<'py> {
    type Error = std::convert::Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self::These(object.to_owned()))
    }
}

impl<'py> Allowed<'py> {
    fn of<'a>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        match self {
            Self::All => intern!(py, "all").as_any(),
            Self::These(object) => object,
        }
    }
}

//! The only mapping of Rust errors to the Python tree in `tokenloom.errors` (written in Python, imported here).
//!
//! Each core error type implements [`Raise`]; binding code says `.map_err(raise)?`.

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyType};
use tokenloom_decode::bytelevel::{ByteLevelError, ByteLevelErrorKind};
use tokenloom_decode::control::ControlError;
use tokenloom_formats::{FormatError as CoreFormatError, Kind};

pyo3::import_exception!(tokenloom.errors, ArrayError);
pyo3::import_exception!(tokenloom.errors, ConstraintError);
pyo3::import_exception!(tokenloom.errors, DistributionError);
pyo3::import_exception!(tokenloom.errors, DraftError);
pyo3::import_exception!(tokenloom.errors, FormatError);
pyo3::import_exception!(tokenloom.errors, DeviceError);
pyo3::import_exception!(tokenloom.errors, InternalError);
pyo3::import_exception!(tokenloom.errors, LimitError);
pyo3::import_exception!(tokenloom.errors, ParamsError);
pyo3::import_exception!(tokenloom.errors, PatternError);
pyo3::import_exception!(tokenloom.errors, SpecialTokenError);
pyo3::import_exception!(tokenloom.errors, TokenloomError);
pyo3::import_exception!(tokenloom.errors, TrainError);
pyo3::import_exception!(tokenloom.errors, UnknownTokenError);
pyo3::import_exception!(tokenloom.errors, UnsupportedFeatureError);
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

/// An exception of `class` with attributes.
fn with_fields<'py>(class: Bound<'py, PyType>, message: &str, fields: impl IntoPyDict<'py>) -> PyErr {
    let made = fields.into_py_dict(class.py()).and_then(|fields| class.call((message,), Some(&fields)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// An argument that is not the array that was expected.
pub(crate) fn array_error(py: Python<'_>, argument: &str, expected: &str, found: &str) -> PyErr {
    let message = format!("expected {argument} to be {expected}, found {found}");
    let fields = [("argument", argument), ("expected", expected), ("found", found)];
    with_fields(py.get_type::<ArrayError>(), &message, fields)
}

/// An id or bytes that are no token.
pub(crate) fn unknown_token<'py>(py: Python<'py>, message: &str, token: impl IntoPyObject<'py>) -> PyErr {
    with_fields(py.get_type::<UnknownTokenError>(), message, [("token", token)])
}

/// A constraint that fails `step` tokens and `prefix` into a text.
pub(crate) fn constraint_error(py: Python<'_>, error: &ControlError, prefix: &[u8], step: usize) -> PyErr {
    let fields = PyDict::new(py);
    let set =
        fields.set_item("prefix", PyBytes::new(py, prefix)).and_then(|()| fields.set_item("step", step));
    let class = py.get_type::<ConstraintError>();
    set.map_or_else(|error| error, |()| with_fields(class, &error.to_string(), fields))
}

/// A byte state was queried before it was filled.
pub(crate) fn missing_rows() -> PyErr {
    InternalError::new_err("the rows of some contexts are missing")
}

impl Raise for ControlError {
    fn into_py_err(self) -> PyErr {
        ConstraintError::new_err(self.to_string())
    }
}

impl Raise for ByteLevelError {
    fn into_py_err(self) -> PyErr {
        use ByteLevelErrorKind as Kind;
        let message = self.to_string();
        let with_row = |row: Option<usize>| {
            Python::attach(|py| with_fields(py.get_type::<DistributionError>(), &message, [("row", row)]))
        };
        match self.kind() {
            Kind::Unsupported { .. } | Kind::Pattern { .. } | Kind::PlainAddedToken { .. } => {
                UnsupportedFeatureError::new_err(message)
            }
            Kind::TooManyStates { .. } => LimitError::new_err(message),
            Kind::BadRow { row, .. } => with_row(Some(*row)),
            Kind::NoEncoding { .. } | Kind::ZeroMass => with_row(None),
            _ => ArrayError::new_err(message),
        }
    }
}

impl Raise for tokenloom_decode::dist::DistError {
    fn into_py_err(self) -> PyErr {
        Python::attach(|py| {
            with_fields(py.get_type::<DistributionError>(), &self.to_string(), [("row", self.row())])
        })
    }
}

impl Raise for tokenloom_decode::draft::DraftError {
    fn into_py_err(self) -> PyErr {
        use tokenloom_decode::draft::DraftErrorKind as Kind;
        let message = self.to_string();
        match *self.kind() {
            Kind::TooLarge { found, limit, .. } => Python::attach(|py| {
                with_fields(py.get_type::<LimitError>(), &message, [("limit", limit), ("value", found)])
            }),
            _ => DraftError::new_err(message),
        }
    }
}

impl Raise for tokenloom_decode::draft::index::ArchiveError {
    fn into_py_err(self) -> PyErr {
        FormatError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_decode::verify::VerifyError {
    fn into_py_err(self) -> PyErr {
        use tokenloom_decode::verify::VerifyErrorKind as Kind;
        match self.kind() {
            Kind::Row(error) => error.clone().into_py_err(),
            Kind::Token { .. } | Kind::Impossible { .. } | Kind::Branch { .. } => {
                DraftError::new_err(self.to_string())
            }
            Kind::Range { .. } => ParamsError::new_err(self.to_string()),
            _ => ArrayError::new_err(self.to_string()),
        }
    }
}

impl Raise for CoreFormatError {
    fn into_py_err(self) -> PyErr {
        Python::attach(|py| {
            let class = if self.is_unsupported() {
                py.get_type::<UnsupportedFeatureError>()
            } else {
                py.get_type::<FormatError>()
            };
            let fields = PyDict::new(py);
            let path = Some(self.path()).filter(|path| !path.is_empty());
            let set = fields
                .set_item("format", self.format().map(Kind::name))
                .and_then(|()| fields.set_item("path", path))
                .and_then(|()| fields.set_item("byte_offset", self.byte_offset()));
            set.map_or_else(|error| error, |()| with_fields(class, &self.to_string(), fields))
        })
    }
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

impl Raise for tokenloom_tokenize::BuildError {
    fn into_py_err(self) -> PyErr {
        let message = self.to_string();
        match self.kind() {
            tokenloom_tokenize::BuildErrorKind::Pattern { pattern, .. } => Python::attach(|py| {
                with_fields(py.get_type::<PatternError>(), &message, [("pattern", &**pattern)])
            }),
            _ => VocabError::new_err(message),
        }
    }
}

impl Raise for tokenloom_tokenize::EncodeError {
    fn into_py_err(self) -> PyErr {
        use tokenloom_tokenize::EncodeErrorKind;
        let message = self.to_string();
        Python::attach(|py| match self.kind() {
            EncodeErrorKind::Pattern { pattern, .. } => {
                with_fields(py.get_type::<PatternError>(), &message, [("pattern", &**pattern)])
            }
            EncodeErrorKind::UnknownSpecialToken { name } => {
                with_fields(py.get_type::<SpecialTokenError>(), &message, [("token", &**name)])
            }
            _ => TokenloomError::new_err(message),
        })
    }
}

impl Raise for tokenloom_tokenize::DecodeError {
    fn into_py_err(self) -> PyErr {
        match *self.kind() {
            tokenloom_tokenize::DecodeErrorKind::UnknownToken { id, .. } => {
                Python::attach(|py| unknown_token(py, &self.to_string(), id))
            }
            _ => TokenloomError::new_err(self.to_string()),
        }
    }
}

impl Raise for tokenloom_tokenize::CanonicalError {
    fn into_py_err(self) -> PyErr {
        match self {
            Self::Decode(error) => error.into_py_err(),
            Self::Encode(error) => error.into_py_err(),
            _ => TokenloomError::new_err(self.to_string()),
        }
    }
}

impl Raise for tokenloom_tokenize::SegmentationError {
    fn into_py_err(self) -> PyErr {
        use tokenloom_tokenize::SegmentationError as Kind;
        let message = self.to_string();
        match self {
            Kind::TooLarge { .. } => LimitError::new_err(message),
            Kind::None => VocabError::new_err(message),
            _ => ArrayError::new_err(message),
        }
    }
}

impl Raise for tokenloom_tokenize::StabilityError {
    fn into_py_err(self) -> PyErr {
        match self {
            Self::Encode(error) => error.into_py_err(),
            _ => UnsupportedFeatureError::new_err(self.to_string()),
        }
    }
}

impl Raise for tokenloom_tokenize::segment::WordsError {
    fn into_py_err(self) -> PyErr {
        match self {
            Self::Encode(error) => error.into_py_err(),
            _ => UnsupportedFeatureError::new_err(self.to_string()),
        }
    }
}

impl Raise for tokenloom_tokenize::segment::LongWord {
    fn into_py_err(self) -> PyErr {
        ArrayError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_tokenize::StateError {
    fn into_py_err(self) -> PyErr {
        VocabError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_tokenize::train::TrainError {
    fn into_py_err(self) -> PyErr {
        TrainError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_tokenize::pipeline::truncation::TruncationError {
    fn into_py_err(self) -> PyErr {
        ParamsError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_tokenize::pipeline::post_processors::ProcessError {
    fn into_py_err(self) -> PyErr {
        ParamsError::new_err(self.to_string())
    }
}

impl Raise for tokenloom_tokenize::pipeline::assembly::AssemblyError {
    fn into_py_err(self) -> PyErr {
        match self {
            Self::Build(error) => error.into_py_err(),
            Self::Encode(error) => error.into_py_err(),
            Self::Decode(error) => error.into_py_err(),
            Self::Truncation(error) => error.into_py_err(),
            Self::Process(error) => error.into_py_err(),
            _ => TokenloomError::new_err(self.to_string()),
        }
    }
}

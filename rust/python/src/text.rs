//! How does Python's text come to the core?
//!
//! As UTF-8. Short texts and those of ASCII are read where Python has them: it makes the UTF-8 of the others once and keeps it for as
//! long as they live. For a long one it would take that memory, and a seventh of the time that an encoder takes, so its code
//! points are asked for and made UTF-8 here.

use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{ffi, intern};
use tokenloom_tokenize::{self as core, code_points};

/// A text of fewer characters is short: asking for code points costs what making the UTF-8 costs Python.
const LONG: usize = 512;

/// At most so many code points are asked for at a time, in four megabytes.
const N_CODE_POINTS: usize = 1 << 20;

/// `str` or `bytes`. Lone surrogates of a `str` are replaced as tiktoken does it: through UTF-16.
pub(crate) enum Text<'py> {
    Str(Bound<'py, PyString>),
    Utf8(String),
    Bytes(Bound<'py, PyBytes>),
}

impl<'py> Text<'py> {
    pub(crate) fn from_any(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::through(&mut Vec::new(), object)
    }

    /// The code points of a long text go through `codes`.
    fn through(codes: &mut Vec<u32>, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let long = object.cast::<PyString>().ok().filter(|text| is_long(text));
        match long.and_then(|text| utf8_of(text, codes, Vec::new())) {
            Some(mut utf8) => {
                utf8.shrink_to_fit(); // many may be held at once
                Ok(Self::Utf8(utf8))
            }
            None => Self::in_place(object),
        }
    }

    /// The text where Python has it, or has it made.
    pub(crate) fn in_place(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.cast::<PyString>() {
            return match text.to_str() {
                Ok(_) => Ok(Self::Str(text.clone())),
                Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(object.py()) => {
                    let utf16 = text.call_method1("encode", ("utf-16-le", "surrogatepass"))?;
                    let text = utf16.call_method1("decode", ("utf-16-le", "replace"))?;
                    Ok(Self::Str(text.cast_into()?))
                }
                Err(error) => Err(error),
            };
        }
        object.cast::<PyBytes>().map(|bytes| Self::Bytes(bytes.clone())).map_err(|_| {
            PyTypeError::new_err(format!("expected text as str or bytes, found {}", object.get_type()))
        })
    }

    pub(crate) fn as_text(&self) -> PyResult<core::Text<'_>> {
        match self {
            Self::Str(text) => Ok(text.to_str()?.into()),
            Self::Utf8(text) => Ok(text.as_str().into()),
            Self::Bytes(bytes) => Ok(bytes.as_bytes().into()),
        }
    }

    pub(crate) fn as_bytes(&self) -> PyResult<&[u8]> {
        self.as_text().map(core::Text::as_bytes)
    }
}

/// The texts of an iterable, read once.
pub(crate) fn texts_of<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Vec<Text<'py>>> {
    let mut codes = Vec::new();
    texts.try_iter()?.map(|text| Text::through(&mut codes, &text?)).collect()
}

/// Whether a text is long and not ASCII.
pub(crate) fn is_long(text: &Bound<'_, PyString>) -> bool {
    let is_ascii = || text.call_method0(intern!(text.py(), "isascii")).and_then(|answer| answer.is_truthy());
    text.len().is_ok_and(|n| n >= LONG) && !is_ascii().unwrap_or(true)
}

/// The UTF-8 of a text, in `utf8`; its code points go through `codes`. `None` if there is a surrogate in the text, or no room
/// for it.
#[allow(unsafe_code)]
pub(crate) fn utf8_of(text: &Bound<'_, PyString>, codes: &mut Vec<u32>, utf8: Vec<u8>) -> Option<String> {
    let (py, n) = (text.py(), text.len().ok()?);
    let mut utf8 = String::from_utf8(utf8).unwrap_or_default();
    utf8.reserve(n);
    codes.clear();
    codes.reserve(n.min(N_CODE_POINTS));
    for start in (0..n).step_by(N_CODE_POINTS) {
        let end = n.min(start + N_CODE_POINTS);
        // SAFETY: the text is a string and the range lies in it; of the whole text this is the text itself.
        let part = unsafe {
            let part = ffi::PyUnicode_Substring(text.as_ptr(), start as isize, end as isize);
            Bound::from_owned_ptr_or_opt(py, part)
        };
        // SAFETY: the part is a string, and no more is written than there is room for.
        let copied = part.map(|part| unsafe {
            ffi::PyUnicode_AsUCS4(part.as_ptr(), codes.as_mut_ptr(), codes.capacity() as isize, 0)
        });
        if copied.is_none_or(|codes| codes.is_null()) {
            drop(PyErr::take(py)); // whoever asks in another way is told
            return None;
        }
        // SAFETY: so many code points were written.
        unsafe { codes.set_len(end - start) };
        code_points::push(&mut utf8, codes).ok()?;
    }
    Some(utf8)
}

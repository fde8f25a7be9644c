//! How does a long `str` become UTF-8 quicker than Python makes it?
//!
//! Python keeps a text that is not ASCII in characters of one width and writes its UTF-8 one by one, which takes longer than
//! to copy it as 32-bit characters and to shorten them. The UTF-8 does not stay with the `str` either.

use std::sync::Mutex;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use tokenloom_tokenize::utf32;

/// Memory for the characters of one text, kept for the next.
#[derive(Default)]
pub(crate) struct WideBuffer(Mutex<Vec<u32>>);

impl WideBuffer {
    /// Shorter texts are left to Python, and so are those for which no memory is kept.
    const LENGTHS: std::ops::RangeInclusive<usize> = 512..=1 << 20;

    /// What `work` makes of the text, detached. `None` if it is ASCII, short or long, holds a surrogate, or another thread is
    /// at work here.
    #[allow(unsafe_code)]
    pub(crate) fn with_utf8<R: Send>(
        &self,
        text: &Bound<'_, PyString>,
        work: impl FnOnce(&str) -> R + Send,
    ) -> Option<R> {
        let n_chars = text.len().ok()?;
        let is_ascii =
            || text.call_method0(intern!(text.py(), "isascii")).and_then(|answer| answer.is_truthy());
        if !Self::LENGTHS.contains(&n_chars) || is_ascii().unwrap_or(true) {
            return None;
        }
        let mut memory = self.0.try_lock().ok()?;
        if memory.len() < n_chars {
            memory.resize(n_chars, 0);
        }
        let start = memory.as_mut_ptr();
        // SAFETY: there is room for all characters, and no zero is written behind them. Where it fails, Python has an error set.
        if unsafe { ffi::PyUnicode_AsUCS4(text.as_ptr(), start, n_chars as isize, 0) }.is_null() {
            drop(PyErr::take(text.py()));
            return None;
        }
        // SAFETY: the memory of `n_chars` numbers, which are bytes as well; the lock is held.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), 4 * n_chars) };
        text.py().detach(|| utf32::to_utf8(bytes).map(work))
    }
}

//! How does a list of ids come about?
//!
//! An int is made once for each id that a tokenizer was ever asked for in a list, and kept: counting a reference to an
//! int that is there is cheaper than making one and, later, than freeing it. The table is as long as the vocabulary and
//! its pages are not there until an id on them is used: at most 8 bytes an id and 32 an int.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};
use tokenloom_tokenize::prefetch::prefetch_line;

use crate::list::GrowingList;

/// The memory of an int is asked for so many ids before its reference is counted.
const N_AHEAD: usize = 16;

/// The ints of the ids below a bound.
#[derive(Default)]
pub(crate) struct Ints {
    /// Each holds a reference, or is null.
    by_id: OnceLock<Box<[AtomicPtr<ffi::PyObject>]>>,
}

impl Ints {
    /// The list of `ids`, which are below `id_bound`, the same in every call.
    #[allow(unsafe_code)]
    pub(crate) fn list<'py>(
        &self,
        py: Python<'py>,
        ids: &[u32],
        id_bound: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: a null pointer is all zeros.
        let zeroed = || unsafe { Box::new_zeroed_slice(id_bound).assume_init() };
        let by_id: &[AtomicPtr<ffi::PyObject>] = self.by_id.get_or_init(zeroed);
        let mut list = GrowingList::with_room(py, ids.len())?;
        for (at, &id) in ids.iter().enumerate() {
            if let Some(&later) = ids.get(at + N_AHEAD) {
                prefetch_line(by_id[later as usize].load(Ordering::Relaxed));
            }
            let mut int = by_id[id as usize].load(Ordering::Acquire);
            if int.is_null() {
                int = make(py, id, &by_id[id as usize])?;
            }
            // SAFETY: the int is alive, as its place holds a reference.
            unsafe { list.push(int)? };
        }
        Ok(list.into_list())
    }
}

/// The int of `id`, which from now on is in `place`.
#[cold]
fn make(py: Python<'_>, id: u32, place: &AtomicPtr<ffi::PyObject>) -> PyResult<*mut ffi::PyObject> {
    let int: Py<PyInt> = id.into_pyobject(py)?.unbind();
    match place.compare_exchange(std::ptr::null_mut(), int.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(int.into_ptr()),
        // Another thread was here in between; `int` goes.
        Err(other) => Ok(other),
    }
}

impl Drop for Ints {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let Some(by_id) = self.by_id.take() else { return };
        Python::attach(|py| {
            for int in by_id.into_iter().map(AtomicPtr::into_inner) {
                // SAFETY: the reference is the place's own, or null.
                drop(unsafe { Bound::from_owned_ptr_or_opt(py, int) });
            }
        });
    }
}

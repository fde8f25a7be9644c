//! A list of objects that are there already, in one pass.
//!
//! The stable interface makes a list item by item: a call to count a reference, a call to put it in, and before both of them
//! memory that is zeroed. For ids that is a fifth of the time of encoding. What these calls do is no secret: in every version
//! up to [`NEWEST`], a list is five words (count, type, length, items, room), and its items are pointers in memory of
//! `PyMem_Malloc`. So they are written there. A later version, or one whose objects have other sizes, is asked to append.

use std::sync::OnceLock;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyList};
use pyo3::{ffi, intern};
use tokenloom_tokenize::large_pages::ask_for;

/// The newest version of Python whose objects were looked at.
const NEWEST: (u8, u8) = (3, 14);

/// From this version on, a count whose low half is negative belongs to an object that lives for ever and is not counted.
const IMMORTAL: (u8, u8) = (3, 12);

/// The words of a list, and which of them is what.
const N_WORDS: usize = 5;
const LENGTH: usize = 2;
const ITEMS: usize = 3;
const ROOM: usize = 4;

/// What is known of the running Python's objects.
#[derive(Debug, Clone, Copy)]
struct Layout {
    has_immortals: bool,
}

impl Layout {
    /// `None` where too little is known to write to a list.
    fn running(py: Python<'_>) -> Option<Self> {
        static RUNNING: OnceLock<Option<Layout>> = OnceLock::new();
        *RUNNING.get_or_init(|| {
            let version = py.version_info();
            let version = (version.major, version.minor);
            let n_bytes = |of: Bound<'_, PyAny>| -> Option<usize> {
                of.getattr(intern!(py, "__basicsize__")).ok()?.extract().ok()
            };
            let known = version <= NEWEST
                && cfg!(all(target_pointer_width = "64", target_endian = "little"))
                && n_bytes(py.get_type::<PyAny>().into_any())? == LENGTH * size_of::<usize>()
                && n_bytes(py.get_type::<PyList>().into_any())? == N_WORDS * size_of::<usize>();
            known.then_some(Self { has_immortals: version >= IMMORTAL })
        })
    }

    /// One more reference to an object.
    ///
    /// # Safety
    ///
    /// It is alive, and this thread is attached to Python.
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn count_reference(self, object: *mut ffi::PyObject) {
        let count = object.cast::<i64>();
        // SAFETY: the count is an object's first word, which nobody else changes meanwhile.
        unsafe {
            if !(self.has_immortals && count.cast::<i32>().read() < 0) {
                count.write(count.read() + 1);
            }
        }
    }
}

/// A list that grows up to a known length. It is a list of what was pushed at every moment.
pub(crate) struct GrowingList<'py> {
    list: Bound<'py, PyList>,
    /// Where its items go, if that is known: room for as many as were announced.
    items: Option<(Layout, *mut *mut ffi::PyObject)>,
    length: usize,
    room: usize,
}

impl<'py> GrowingList<'py> {
    /// An empty one, for up to `n` items.
    ///
    /// # Errors
    ///
    /// There is not so much memory.
    #[allow(unsafe_code)]
    pub(crate) fn with_room(py: Python<'py>, n: usize) -> PyResult<Self> {
        let list = PyList::empty(py);
        let layout = Layout::running(py).filter(|_| n > 0);
        let items =
            layout.map(|layout| Self::give_room(&list, n).map(|items| (layout, items))).transpose()?;
        Ok(Self { list, items, length: 0, room: n })
    }

    /// Gives an empty list room for `n` items.
    #[allow(unsafe_code)]
    fn give_room(list: &Bound<'py, PyList>, n: usize) -> PyResult<*mut *mut ffi::PyObject> {
        let n_bytes = n.checked_mul(size_of::<*mut ffi::PyObject>());
        // SAFETY: this thread is attached to Python.
        let items = n_bytes.map_or(std::ptr::null_mut(), |n_bytes| unsafe { ffi::PyMem_Malloc(n_bytes) });
        if items.is_null() {
            return Err(PyMemoryError::new_err(()));
        }
        ask_for(items.cast(), size_of::<*mut ffi::PyObject>() * n);
        let words = list.as_ptr().cast::<usize>();
        // SAFETY: the words of a list are these (see the module's head); it is new, so nobody else has it, and it has no items
        // and no room yet. It frees such memory when it goes.
        unsafe {
            words.add(ITEMS).cast::<*mut std::ffi::c_void>().write(items);
            words.add(ROOM).write(n);
        }
        Ok(items.cast())
    }

    /// Puts one more object at the end.
    ///
    /// # Errors
    ///
    /// Those of Python's lists.
    ///
    /// # Safety
    ///
    /// The object is alive.
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) unsafe fn push(&mut self, object: *mut ffi::PyObject) -> PyResult<()> {
        assert!(self.length < self.room, "more items than were announced");
        if let Some((layout, items)) = self.items {
            // SAFETY: the object is alive; the list has room for one more, and takes the reference that was counted.
            unsafe {
                layout.count_reference(object);
                items.add(self.length).write(object);
                self.list.as_ptr().cast::<usize>().add(LENGTH).write(self.length + 1);
            }
        } else {
            // SAFETY: both are alive.
            let failed = unsafe { ffi::PyList_Append(self.list.as_ptr(), object) } != 0;
            if failed {
                return Err(PyErr::fetch(self.list.py()));
            }
        }
        self.length += 1;
        Ok(())
    }

    /// The list.
    pub(crate) fn into_list(self) -> Bound<'py, PyList> {
        self.list
    }
}

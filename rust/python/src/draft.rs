//! The Python face of the `draft` domain: extract, detach, one core call, wrap.

/// See `tokenloom.draft`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod draft {}

//! The Python face of the `control` domain: extract, detach, one core call, wrap.

/// See `tokenloom.control`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod control {}

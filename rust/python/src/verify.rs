//! The Python face of the `verify` domain: extract, detach, one core call, wrap.

/// See `tokenloom.verify`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod verify {}

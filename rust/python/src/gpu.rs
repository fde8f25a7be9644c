//! The Python face of the `gpu` domain: extract, detach, one core call, wrap.

/// See `tokenloom.gpu`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod gpu {}

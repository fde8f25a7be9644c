//! The Python face of the `train` domain: extract, detach, one core call, wrap.

/// See `tokenloom.train`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod train {}

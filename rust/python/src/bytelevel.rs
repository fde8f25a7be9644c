//! The Python face of the `bytelevel` domain: extract, detach, one core call, wrap.

/// See `tokenloom.bytelevel`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod bytelevel {}

//! The Python face of the `sample` domain: extract, detach, one core call, wrap.


/// See `tokenloom.sample`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod sample {}

//! The Python face of the `tokenizer` domain: extract, detach, one core call, wrap.

/// See `tokenloom.tokenizer`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod tokenizer {}

//! How does an untrusted file become a tokenizer, and a tokenizer a file?
#![forbid(unsafe_code)]

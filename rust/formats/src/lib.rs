//! How does an untrusted file become a tokenizer, and a tokenizer a file?
//!
//! Every parser takes bytes (a GGUF file: a reader, of which only the metadata is read) and returns the plain
//! [`TokenizerSpec`](tokenloom_tokenize::spec::TokenizerSpec); nothing here opens files. Files are hostile until shown
//! otherwise: every size is checked against [`limits`] before memory is reserved, time and memory are linear in the
//! input, and every failure is a [`FormatError`] that names the format, the place and the reason. What a file asks for
//! and this crate cannot do exactly is [`FormatErrorKind::Unsupported`], never an approximation.
#![forbid(unsafe_code)]

mod base64;
mod dialect;
mod error;
pub mod gguf;
mod gguf_pre;
mod gguf_reader;
mod json;
mod kind;
pub mod limits;
mod lower;
mod lower_characters;
mod pieces;
mod proto;
pub mod sentencepiece;
pub mod tekken;
pub mod tiktoken;
pub mod tokenizer_json;
pub mod write;

pub use tokenloom_tokenize::byte_chars;

pub use error::{FormatError, FormatErrorKind};
pub use kind::Kind;
pub use pieces::Parsed;

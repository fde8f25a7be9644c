//! How does a tokenizer work whose parts may be any of those of `tokenizer.json`?
//!
//! A [`definition::Definition`] says what the parts are, as data. The machine that interprets it follows Hugging Face
//! `tokenizers` step by step over aligned text; it is exact for every part and makes no attempt to be the fastest.
//! Tokenizers that the compiled machine ([`crate::Tokenizer`]) reproduces exactly are lowered to it by `formats`.

pub mod definition;
pub mod encoding;
pub mod padding;
pub mod post_processors;
pub mod truncation;
pub mod vocabulary;

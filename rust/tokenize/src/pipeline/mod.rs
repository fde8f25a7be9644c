//! How does a tokenizer work whose parts may be any of those of `tokenizer.json`?
//!
//! A [`definition::Definition`] says what the parts are, as data. The machine that interprets it ([`Pipeline`]) follows
//! Hugging Face `tokenizers` step by step over aligned text; it is exact for every part and makes no attempt to be the
//! fastest. Tokenizers that the compiled machine ([`crate::Tokenizer`]) reproduces exactly are lowered to it by
//! `formats`.

mod added_tokens;
pub mod assembly;
pub mod batch;
pub mod decoders;
pub mod definition;
pub mod encoding;
mod machine;
pub mod models;
pub mod normalizers;
mod offsets;
pub mod oniguruma;
pub mod padding;
pub mod pattern;
pub mod pieces;
pub mod post_processors;
pub mod pretokenizers;
mod sentencepiece;
pub mod text;
pub mod truncation;
pub mod vocabulary;

pub use machine::{OffsetUnit, Pipeline, PipelineStream, Sequence, SequenceOptions};

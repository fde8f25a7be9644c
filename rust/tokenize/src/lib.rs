//! How does text become ids, and ids text?
//!
//! A [`Tokenizer`] is built once from a [`spec::TokenizerSpec`] and is immutable after that. Text goes through added
//! tokens, the normalizer, the pretokenizer and byte pair encoding, in that order; see each module for its part.
//!
//! ```
//! use tokenloom_tokenize::{EncodeOptions, Tokenizer, spec::{Merge, TokenizerSpec}};
//! use tokenloom_vocab::TokenList;
//! let mut tokens: TokenList = (0..=255u8).map(|b| (u32::from(b), [b])).collect();
//! tokens.push(256, b"ab");
//! let merges = vec![Merge { left: 97, right: 98, result: 256 }];
//! let tokenizer = Tokenizer::new(TokenizerSpec { tokens, merges, ..Default::default() }).unwrap();
//! let ids = tokenizer.encode("abba", &EncodeOptions::default()).unwrap();
//! assert_eq!(ids, [256, 98, 97]);
//! assert_eq!(tokenizer.decode_bytes(&ids).unwrap(), b"abba");
//! ```
#![deny(unsafe_code)]

mod added;
mod alignment;
mod batch;
pub mod bpe;
pub mod byte_chars;
mod cache;
mod canonical;
pub mod code_points;
mod decode;
mod describe;
mod dropout;
mod encode;
mod error;
mod fallback;
mod gather;
mod interpreted;
pub mod large_pages;
mod lookup;
mod nfc;
mod normalize;
mod offsets;
pub mod pipeline;
pub mod prefetch;
pub mod pretokenize;
mod scratch;
pub mod segment;
mod segmentations;
mod short;
pub mod spec;
mod stability;
mod state;
mod stream;
mod tokenizer;
pub mod train;
mod unstable;
mod vocabulary;
mod workers;

pub use alignment::{AlignedSpan, align};
pub use batch::Ragged;
pub use canonical::{CanonicalError, CanonicalStream};
pub use describe::Stage;
pub use dropout::Dropout;
pub use encode::{AllowedSpecial, EncodeOptions, Text};
pub use error::{BuildError, BuildErrorKind, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use interpreted::Interpreted;
pub use offsets::{Encoding, WordEncoding};
pub use segmentations::{Segmentation, SegmentationError, Segmentations};
pub use stability::{Settled, StabilityError};
pub use state::StateError;
pub use stream::DecodeStream;
pub use tokenizer::Tokenizer;
pub use unstable::Unstable;
pub use vocabulary::{TokenKind, Vocabulary};

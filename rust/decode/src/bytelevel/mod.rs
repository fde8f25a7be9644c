//! Which byte comes next, when the model speaks tokens?
//!
//! [`CanonicalLaw`] knows which token sequences begin a canonical encoding; [`ByteState`] keeps the sequences that
//! cover a byte string and sums the model's rows over them. The model itself is never called from here: a state names
//! the contexts it needs and is filled with their rows.

mod classes;
mod cover;
mod error;
mod law;
mod pattern;
mod stream;

pub use cover::{ByteState, Covers, NextByte, Purpose};
pub use error::{ByteLevelError, ByteLevelErrorKind};
pub use law::CanonicalLaw;

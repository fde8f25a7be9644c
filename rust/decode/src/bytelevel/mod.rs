//! Which byte comes next, when the model speaks tokens?
//!
//! [`CanonicalLaw`] knows which token sequences begin a canonical encoding; [`ByteState`] keeps the sequences that
//! cover a byte string and sums the model's rows over them. The model itself is never called from here: a state names
//! the contexts it needs and is filled with their rows. [`MarginalState`] does the same for all token sequences.

mod classes;
mod cover;
mod error;
mod law;
mod marginal;
mod partial;
mod pattern;
mod ranges;
mod row;
mod stream;
mod trunk;

pub use cover::{ByteState, Context, Covers, NextByte, Purpose};
pub use error::{ByteLevelError, ByteLevelErrorKind};
pub use law::{CanonicalLaw, Sequence};
pub use marginal::{Limits, MarginalLaw, MarginalState};
pub use ranges::{fill_range_sums, maximum};

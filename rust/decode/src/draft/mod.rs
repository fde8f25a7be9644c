//! Which tokens will the model probably say?
//!
//! A drafter proposes tokens behind the committed text; a verifier keeps those that the model would have said anyway.
//! Drafts may be wrong, so nothing here touches the distribution of the output: a draft only decides how many tokens
//! one call of the model yields.

mod batch;
mod blend;
mod error;
mod growth;
pub mod index;
mod own;
mod past;
mod source;
mod stream;
mod suffix;
mod tree;

pub use batch::{TreeRows, commit_batch, lock, propose_batch, propose_into};
pub use error::{DraftError, DraftErrorKind};
pub use stream::{Commit, Drafter, Ended, Proposer, Stream, TopRows, token_ids};
pub use suffix::{Occurrence, Suffix};
pub use tree::DraftTree;

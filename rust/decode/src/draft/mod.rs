//! Which tokens will the model probably say?
//!
//! A drafter proposes tokens behind the committed text; a verifier keeps those that the model would have said anyway.
//! Drafts may be wrong, so nothing here touches the distribution of the output: a draft only decides how many tokens
//! one call of the model yields.

mod automaton;
mod chain;
mod error;
mod history;
mod suffix;
mod tree;

pub use automaton::{Automaton, DocumentEnd, END_OF_DOCUMENT, Match};
pub use error::{DraftError, DraftErrorKind};
pub use suffix::{EndedStream, Occurrence, Stream, Suffix, token_ids};
pub use tree::DraftTree;

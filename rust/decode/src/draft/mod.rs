//! Which tokens will the model probably say?
//!
//! A drafter proposes tokens behind the committed text; a verifier keeps those that the model would have said anyway.
//! Drafts may be wrong, so nothing here touches the distribution of the output: a draft only decides how many tokens
//! one call of the model yields.

mod adjacency;
mod batch;
mod blend;
mod blended;
mod calibration;
mod cost;
mod error;
mod growth;
pub mod index;
mod merged;
mod ngram;
mod own;
pub mod pacing;
mod past;
mod recycling;
mod source;
mod sources;
mod spine;
mod stream;
mod suffix;
mod template;
mod told;
mod tree;
mod trie;
mod trust;

pub use batch::{TreeRows, commit_batch, lock, propose_batch, propose_into};
pub use cost::CostCurve;
pub use error::{DraftError, DraftErrorKind};
pub use merged::Merged;
pub use ngram::Ngram;
pub use recycling::Recycling;
pub use source::{Cursor, Levels, Source};
pub use spine::Spine;
pub use stream::{Commit, Drafter, Ended, Proposer, Stream, TopRows, token_ids};
pub use suffix::{Occurrence, Suffix};
pub use template::{SlotTemplate, sparse_tree, with_slots};
pub use tree::DraftTree;
pub use trie::Trie;

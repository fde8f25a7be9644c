//! Where did the latest tokens occur before, and what followed?

pub(super) mod archive;
mod automaton;
mod edge_index;
pub(super) mod history;
mod readers;
mod segment;
mod suffix_array;

pub use archive::{Archive, ArchiveError, ArchiveErrorKind};
pub use automaton::{Automaton, DocumentEnd, END_OF_DOCUMENT, Match};
pub use history::{History, MergeJob};
pub use segment::{Neighbour, Segment, Words};

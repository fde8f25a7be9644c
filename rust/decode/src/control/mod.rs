//! Which tokens may come next?
//!
//! A constraint is compiled once for a vocabulary ([`Grammar`]) and walked once a text ([`GrammarState`]). A state can
//! be asked for the mask of all allowed tokens or about single tokens; both give the same answer. See `grammar` for
//! the rules on end tokens, forced tokens and dead ends.

mod error;
mod grammar;
mod grammar_vocabulary;

pub use error::{ControlError, ControlErrorKind};
pub use grammar::{Grammar, GrammarSource, GrammarState};
pub use grammar_vocabulary::{EncodeBytes, GrammarVocabulary};

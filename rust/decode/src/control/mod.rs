//! Which tokens may come next, and what does a rejected draw weigh?
//!
//! A constraint is compiled once for a vocabulary ([`Grammar`]) and walked once a text ([`GrammarState`]). A state can
//! be asked for the mask of all allowed tokens or about single tokens; both give the same answer. See `grammar` for
//! the rules on end tokens, forced tokens and dead ends. Where only single tokens can be checked, [`awrs()`] draws with as
//! few checks as the model's agreement with the constraint allows, and says what the draw weighs.

mod awrs;
mod error;
mod grammar;
mod grammar_vocabulary;

pub use awrs::{AwrsError, Check, WeightedToken, awrs, recursive};
pub use error::{ControlError, ControlErrorKind};
pub use grammar::{Grammar, GrammarSource, GrammarState};
pub use grammar_vocabulary::{EncodeBytes, GrammarVocabulary};

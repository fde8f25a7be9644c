//! Which tokens may come next, and what does a rejected draw weigh?
//!
//! A [`Constraint`] is compiled once for a vocabulary and walked once a text ([`ConstraintState`]). A state can be asked
//! for the mask of all allowed tokens or about single tokens; both give the same answer. Grammars are those of an engine
//! (`grammar`), everything else is a small machine over bytes (`automaton`): tables, phrases, choices, excerpts. Where
//! only single tokens can be checked, [`awrs()`] draws with as few checks as the model's agreement with the constraint
//! allows, and says what the draw weighs; [`resample()`] then chooses which of many weighted texts go on.

mod automaton;
mod awrs;
mod awrs_batch;
mod caps;
mod checked;
mod choice;
mod conjunction;
mod crew;
mod endless;
mod error;
mod excerpt;
mod grammar;
mod grammar_vocabulary;
mod lark_limits;
mod lexer_tables;
mod mask_rows;
mod phrases;
mod resample;
mod row_mass;
mod schema_limits;
mod state;
mod table;
mod urn;

pub use automaton::{Automaton, ByteAutomaton, ByteWalker, walk_mask};
pub use awrs::{Check, Estimator, Weighing, WeightedToken, awrs, weigh};
pub use awrs_batch::{Particle, awrs_batch, read_rows};
pub use caps::cap_probs;
pub use checked::{CheckedDraw, CheckedError, draw_checked};
pub use choice::{Choice, ChoiceState};
pub use conjunction::Conjunction;
pub use crew::Crew;
pub use error::{ControlError, ControlErrorKind};
pub use excerpt::{Excerpt, ExcerptState};
pub use grammar::{Grammar, GrammarSource};
pub use grammar_vocabulary::{EncodeBytes, GrammarVocabulary};
pub use mask_rows::{SharedState, fill_masks};
pub use phrases::{Phrases, PhrasesState};
pub use resample::{Resampling, resample};
pub use row_mass::{LogProb, RowMass};
pub use state::{Constraint, ConstraintState};
pub use table::{DEAD, Table};
pub use urn::{Race, Token, Urn};

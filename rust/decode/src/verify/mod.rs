//! Which drafted tokens may stay without changing the distribution?
//!
//! Row 0 is the position after the last committed token, row `j + 1` the one behind node `j`. A rule looks at the target's
//! rows `p`, at the rows `q` that the nodes were drawn from if they were drawn, and commits a path and one more token,
//! whose joint law is the target's. Which rule keeps the most depends on how the draft came about:
//!
//! - not drawn (every drafter without a model): the walk (`walk`), which is then the best there is;
//! - one drawn chain: token by token or, keeping more, by blocks (`chain`);
//! - several drawn tokens a place: recursive rejection, k-SEQ, greedy multi-draft (`siblings`), whole trees from
//!   the leaves (`traversal`); how much any of them could keep at best is in `optimal`.
//!
//! Beside them: places in any order (`any_order`), points of a continuous space (`continuous`), rules that change the law
//! and say by how much (`relaxed`), and which nodes need no row of the model (`prune`).
//!
//! Decisions come from a [`Chance`]: counter-based random numbers, or all of them in turn, which gives the exact law of the
//! code that runs. Only rows on the way are read; O(n V) at worst, and nothing as long as the vocabulary is written.

mod any_order;
mod chain;
mod chance;
mod continuous;
mod error;
mod nodes;
mod optimal;
mod prune;
mod relaxed;
mod residual;
mod row;
mod rule;
mod siblings;
mod tiles;
mod traversal;
mod walk;

use tokenloom_vocab::TokenId;

pub use any_order::{ContextDraft, Decided, SeededAt, any_order, context_draft};
pub use chain::{block, chain};
pub use chance::{Chance, Likeliest, Scripted, Seeded, law};
pub use continuous::{Normal, Point, Points, Step, normal_noise, step};
pub use error::{VerifyError, VerifyErrorKind};
pub use optimal::{Kept, acceptance};
pub use prune::{kept_nodes, subtree};
pub use relaxed::{Relaxed, relaxed};
pub use residual::Residual;
pub use row::{Number, Row, Rows, TreeRows};
pub use rule::{Drafts, Results, Rule};
pub use siblings::{greedy_multi, kseq, recursive};
pub use traversal::traversal;
pub use walk::{follow, greedy, walk, walk_with};

/// What is committed after a verification: the drafted tokens on a path, and one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The nodes that stay, from a child of the root downwards.
    pub path: Vec<usize>,
    /// The token behind them, which no accepted node holds.
    pub next_token: TokenId,
}

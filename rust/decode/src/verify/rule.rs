//! How is a whole batch of drafts verified?
//!
//! Tree by tree: what is accepted depends on the tree's own rows, nodes and rng and on nothing else, so a batch may be cut
//! into threads anywhere. A tree with bad numbers fails alone.

use super::Accepted;
use super::any_order::{Decided, SeededAt, any_order};
use super::chain::{block, chain};
use super::chance::{Chance, Likeliest, Seeded};
use super::error::{VerifyError, VerifyErrorKind};
use super::relaxed::{Relaxed, relaxed};
use super::row::{Number, Rows};
use super::siblings::{greedy_multi, kseq, recursive};
use super::traversal::traversal;
use super::walk::{greedy, walk};
use crate::draft::DraftTree;
use crate::rng::Rng;

/// Numbers that pay for a thread of their own.
const NUMBERS_PER_THREAD: usize = 1 << 18;

/// A rule that keeps the target's law, and how the siblings it gets were drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The best token of each row; for rows of logits.
    Greedy,
    /// The token that the target says in each row.
    Walk,
    /// Token by token along a chain.
    Chain,
    /// The longest prefix of a chain that passes as a block.
    Block,
    /// From the leaves up.
    Traversal {
        /// Siblings were drawn independently and may repeat.
        with_replacement: bool,
    },
    /// Sibling after sibling.
    Recursive {
        /// Siblings were drawn independently and may repeat.
        with_replacement: bool,
    },
    /// Siblings, drawn independently, against one threshold.
    KSeq,
    /// Siblings of which all but the last were not drawn.
    GreedyMulti,
}

/// Trees and the rows of their targets and drafts.
#[derive(Clone, Copy, Debug)]
pub struct Drafts<'a, T> {
    trees: &'a [&'a DraftTree],
    p: Rows<'a, T>,
    q: Option<Rows<'a, T>>,
}

impl<'a, T: Number> Drafts<'a, T> {
    /// `q` is needed by every rule but [`Rule::Greedy`] and [`Rule::Walk`].
    ///
    /// # Errors
    /// [`VerifyErrorKind::Length`] where `q` has another width than `p`.
    pub fn new(
        trees: &'a [&'a DraftTree],
        p: Rows<'a, T>,
        q: Option<Rows<'a, T>>,
    ) -> Result<Self, VerifyError> {
        if let Some(q) = q.filter(|q| q.n_vocab() != p.n_vocab()) {
            let (expected, found) = (p.n_vocab(), q.n_vocab());
            return Err(VerifyErrorKind::Length { argument: "rows of q", expected, found }.into());
        }
        Ok(Self { trees, p, q })
    }

    /// Verifies one tree.
    ///
    /// # Errors
    /// [`VerifyError`] for rows that are no distributions, and for tokens and trees that the rule cannot have been given.
    pub fn accept(
        &self,
        rule: Rule,
        n_tree: usize,
        chance: &mut impl Chance,
    ) -> Result<Accepted, VerifyError> {
        let (tree, p) = (self.trees[n_tree], self.p.of_tree(n_tree));
        // Where there is no `q` it is not read: the walks take the first two arms.
        let q = self.q.unwrap_or(self.p).of_tree(n_tree);
        match rule {
            Rule::Greedy => greedy(p, tree),
            Rule::Walk => walk(p, tree, chance),
            Rule::Chain => chain(p, q, tree, chance),
            Rule::Block => block(p, q, tree, chance),
            Rule::Traversal { with_replacement } => traversal(p, q, tree, with_replacement, chance),
            Rule::Recursive { with_replacement } => recursive(p, q, tree, with_replacement, chance),
            Rule::KSeq => kseq(p, q, tree, chance),
            Rule::GreedyMulti => greedy_multi(p, q, tree, chance),
        }
    }

    /// Verifies every tree with its own rng, on at most `n_threads` threads.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Length`] where there is not one rng a tree. What is wrong with a tree is its own result.
    pub fn accept_all(&self, rule: Rule, rngs: &[Rng], n_threads: usize) -> Results<Accepted> {
        self.check_length("rngs", rngs.len())?;
        let accept = |n_tree: usize| self.accept(rule, n_tree, &mut Seeded { rng: rngs[n_tree] });
        Ok(in_threads(self.trees.len(), self.n_numbers(), n_threads, accept))
    }

    /// [`relaxed`] for every tree; without an rng the likelier answer is taken everywhere.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Length`] as [`Drafts::accept_all`], and what [`Relaxed::check`] says.
    pub fn relax_all(
        &self,
        rule: Relaxed<'_>,
        rngs: &[Option<Rng>],
        n_threads: usize,
    ) -> Results<(Accepted, f64)> {
        self.check_length("rngs", rngs.len())?;
        rule.check(self.p.n_vocab())?;
        let accept = |n_tree: usize| {
            let (tree, p, q) =
                (self.trees[n_tree], self.p.of_tree(n_tree), self.q.map(|q| q.of_tree(n_tree)));
            match rngs[n_tree] {
                Some(rng) => relaxed(p, q, tree, rule, &mut Seeded { rng }),
                None => relaxed(p, q, tree, rule, &mut Likeliest),
            }
        };
        Ok(in_threads(self.trees.len(), self.n_numbers(), n_threads, accept))
    }

    /// [`any_order`] for chains of drafts at `places`, one list a chain.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Length`] as [`Drafts::accept_all`], and where a chain has not as many places as tokens;
    /// [`VerifyErrorKind::Twice`].
    pub fn decide_all(&self, places: &[Vec<u64>], rngs: &[Rng], n_threads: usize) -> Results<Decided> {
        self.check_length("rngs", rngs.len())?;
        self.check_length("positions", places.len())?;
        for (tree, places) in self.trees.iter().zip(places) {
            let (expected, found) = (tree.n_nodes(), places.len());
            if expected != found {
                return Err(VerifyErrorKind::Length { argument: "positions", expected, found }.into());
            }
            // A place has one set of random numbers, so a second decision would repeat the first.
            let mut sorted = places.clone();
            sorted.sort_unstable();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(VerifyErrorKind::Twice { place: pair[0] }.into());
            }
        }
        let decide = |n_tree: usize| {
            let q = self.q.unwrap_or(self.p).of_tree(n_tree);
            let mut chance = SeededAt { rng: rngs[n_tree], places: &places[n_tree] };
            any_order(self.p.of_tree(n_tree), q, self.trees[n_tree], &mut chance)
        };
        Ok(in_threads(self.trees.len(), self.n_numbers(), n_threads, decide))
    }

    fn check_length(&self, argument: &'static str, found: usize) -> Result<(), VerifyError> {
        let expected = self.trees.len();
        if expected == found {
            Ok(())
        } else {
            Err(VerifyErrorKind::Length { argument, expected, found }.into())
        }
    }

    fn n_numbers(&self) -> usize {
        self.trees.iter().map(|tree| (tree.n_nodes() + 1) * self.p.n_vocab()).sum()
    }
}

/// One result a tree, or what is wrong with the call.
pub type Results<R> = Result<Vec<Result<R, VerifyError>>, VerifyError>;

/// `answer` of every number below `n`, in order; so few of the `n_numbers` to look at are not worth a thread of their own.
pub(super) fn in_threads<R: Send>(
    n: usize,
    n_numbers: usize,
    n_threads: usize,
    answer: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    let n_threads = n_threads.min(n_numbers / NUMBERS_PER_THREAD).clamp(1, n.max(1));
    if n_threads == 1 {
        return (0..n).map(answer).collect();
    }
    let answer = &answer;
    let part = |i: usize| (n * i / n_threads..n * (i + 1) / n_threads).map(answer).collect::<Vec<R>>();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..n_threads).map(|i| scope.spawn(move || part(i))).collect();
        let mut answers = part(0);
        for other in others {
            answers.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        answers
    })
}

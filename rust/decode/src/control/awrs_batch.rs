//! How are many particles drawn when some of them stand at the same place?
//!
//! Particles with one context share its row and its check: the row is read once, and a token is checked once for all of
//! them. Each particle draws with its own random numbers, and a verdict is a fact, not a random number, so every weight
//! stays what it would be alone. Rows are read on several threads; checks are asked one after the other.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::awrs::{Check, Weighing, WeightedToken, awrs};
use super::row_mass::{LogProb, RowMass};
use crate::dist::DistError;
use crate::rng::Rng;

/// Fewer numbers than this are not worth a thread.
const NUMBERS_PER_THREAD: usize = 1 << 18;

/// One of many draws.
#[derive(Clone, Copy, Debug)]
pub struct Particle {
    /// The index of its row and check.
    pub context: usize,
    /// Its random numbers.
    pub rng: Rng,
}

/// A check that remembers.
struct Remembered<'c, C> {
    check: &'c mut C,
    verdicts: &'c mut FxHashMap<TokenId, bool>,
    n_asked: &'c mut usize,
}

impl<C: Check> Check for Remembered<'_, C> {
    type Error = C::Error;

    fn check(&mut self, token: TokenId) -> Result<bool, C::Error> {
        match self.verdicts.entry(token) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(unknown) => {
                *self.n_asked += 1;
                Ok(*unknown.insert(self.check.check(token)?))
            }
        }
    }

    fn check_many(&mut self, tokens: &[TokenId]) -> Result<Vec<bool>, C::Error> {
        let unknown: Vec<TokenId> =
            tokens.iter().copied().filter(|token| !self.verdicts.contains_key(token)).collect();
        if !unknown.is_empty() {
            *self.n_asked += unknown.len();
            let verdicts = self.check.check_many(&unknown)?;
            self.verdicts.extend(unknown.into_iter().zip(verdicts));
        }
        Ok(tokens.iter().map(|token| self.verdicts.get(token).copied().unwrap_or(false)).collect())
    }

    fn known(&self) -> &[(TokenId, bool)] {
        self.check.known()
    }

    fn is_batched(&self) -> bool {
        self.check.is_batched()
    }
}

/// Reads rows of `n_vocab` entries, one after the other in `rows`, with a mask each or none, on at most `n_threads` threads.
///
/// # Errors
/// That of the first bad row.
pub fn read_rows<'a, T: LogProb>(
    rows: &'a [T],
    n_vocab: usize,
    masks: Option<&[&'a [u32]]>,
    n_threads: usize,
) -> Result<Vec<RowMass<'a, T>>, DistError> {
    let rows: Vec<&[T]> = rows.chunks(n_vocab.max(1)).collect();
    let read = |n: usize| RowMass::new(rows[n], masks.map(|masks| masks[n]), n);
    let n_threads = n_threads.min(rows.len() * n_vocab / NUMBERS_PER_THREAD).clamp(1, rows.len().max(1));
    let part = |i: usize| -> Result<Vec<_>, DistError> {
        (rows.len() * i / n_threads..rows.len() * (i + 1) / n_threads).map(read).collect()
    };
    if n_threads == 1 {
        return part(0);
    }
    std::thread::scope(|scope| {
        let part = &part;
        let others: Vec<_> = (1..n_threads).map(|i| scope.spawn(move || part(i))).collect();
        let mut all = part(0);
        for other in others {
            let more = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all = all.and_then(|mut all| {
                all.extend(more?);
                Ok(all)
            });
        }
        all
    })
}

/// Draws a token for each particle; `n_checks` counts the tokens that were put to the check for it and for none before it.
/// `rows` and `checks` are as long as each other, and each particle's context is one of them.
///
/// # Errors
/// The error of a check.
pub fn awrs_batch<T: LogProb, C: Check>(
    rows: &[RowMass<'_, T>],
    checks: &mut [C],
    particles: &[Particle],
    weighing: &Weighing,
) -> Result<Vec<WeightedToken>, C::Error> {
    let mut verdicts = vec![FxHashMap::default(); rows.len()];
    let draw = |particle: &Particle| {
        let mut n_asked = 0;
        let remembered = Remembered {
            check: &mut checks[particle.context],
            verdicts: &mut verdicts[particle.context],
            n_asked: &mut n_asked,
        };
        let drawn = awrs(&rows[particle.context], remembered, particle.rng, weighing)?;
        Ok(WeightedToken { n_checks: n_asked, ..drawn })
    };
    particles.iter().map(draw).collect()
}

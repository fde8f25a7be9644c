//! How are the masks of a batch filled?
//!
//! Each row has a state and a row of words that belongs to the caller. Rows of texts that have come to the same place (the
//! same constraint and the same tokens, as particles have after resampling) are filled once and copied. The others are
//! taken one by one, because masks differ a thousandfold in cost. The calling thread works along with the [`Crew`] and
//! waits only for rows that a helper has taken. A state that serves two calls is locked for one at a time. The result does
//! not depend on the number of threads; of several rows that fail the first is named.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use rustc_hash::FxHashMap;
use tokenloom_vocab::TokenId;

use super::crew::Shift;
use super::{ConstraintState, ControlError, ControlErrorKind, Crew};

/// A state that threads may share.
pub type SharedState = Arc<Mutex<Box<dyn ConstraintState>>>;

/// Rows that nobody has taken.
struct Rows {
    states: Vec<Option<SharedState>>,
    /// The rows to fill.
    wanted: Vec<usize>,
    next: AtomicUsize,
}

impl Rows {
    fn take(&self) -> Option<(usize, Option<&SharedState>)> {
        let row = *self.wanted.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        Some((row, self.states[row].as_ref()))
    }
}

/// Fills row `n` of `out` (`n_words` words each) with the mask of `states[n]`; a row of no state allows everything.
///
/// # Errors
/// The first row whose mask fails, and why; the others are filled.
pub fn fill_masks(
    states: Vec<Option<SharedState>>,
    out: &mut [u32],
    n_words: usize,
    n_threads: usize,
    crew: &Crew,
) -> Result<(), (usize, ControlError)> {
    let n_rows = states.len().min(out.len() / n_words.max(1));
    let first_of = coinciding(&states[..n_rows]);
    let wanted: Vec<usize> = (0..n_rows).filter(|&row| first_of[row] == row).collect();
    let n_wanted = wanted.len();
    let rows = Arc::new(Rows { states, wanted, next: AtomicUsize::new(0) });
    let (send, receive) = mpsc::channel();
    let of_helpers = Arc::clone(&rows);
    let shift: Shift = Arc::new(move || {
        while let Some((row, state)) = of_helpers.take() {
            let mut words = vec![0; n_words];
            let filled = catch_unwind(AssertUnwindSafe(|| fill(state, &mut words)));
            let filled = filled.unwrap_or_else(|_| Err(lost())).map(|()| words);
            if send.send((row, filled)).is_err() {
                return;
            }
        }
    });
    let (mut n_filled, mut failed) = (0, None);
    let mut fail = |row, error| {
        if failed.as_ref().is_none_or(|(first, _)| row < *first) {
            failed = Some((row, error));
        }
    };
    crew.work(&shift, n_threads.clamp(1, n_wanted.max(1)) - 1, || {
        while let Some((row, state)) = rows.take() {
            if let Err(error) = fill(state, &mut out[row * n_words..][..n_words]) {
                fail(row, error);
            }
            n_filled += 1;
        }
    });
    drop(shift);
    while n_filled < n_wanted {
        match receive.recv() {
            Ok((row, Ok(words))) => out[row * n_words..][..n_words].copy_from_slice(&words),
            Ok((row, Err(error))) => fail(row, error),
            Err(_) => return Err((0, lost())),
        }
        n_filled += 1;
    }
    for (row, &first) in first_of.iter().enumerate().filter(|(row, first)| row != *first) {
        out.copy_within(first * n_words..(first + 1) * n_words, row * n_words);
    }
    failed.map_or(Ok(()), Err)
}

/// For each row the first one that stands at the same place.
fn coinciding(states: &[Option<SharedState>]) -> Vec<usize> {
    let mut first_of: Vec<usize> = (0..states.len()).collect();
    // By constraint, number of tokens and last token; the ids themselves are compared where these agree.
    let mut alike: FxHashMap<(Vec<usize>, usize, Option<TokenId>), Vec<usize>> = FxHashMap::default();
    for (row, state) in states.iter().enumerate() {
        let Some(state) = state else { continue };
        let known = locked(state);
        let mut deciders = Vec::new();
        known.deciders(&mut deciders);
        let rows = alike.entry((deciders, known.ids().len(), known.ids().last().copied())).or_default();
        if !rows.is_empty() {
            // One lock at a time: another call may hold the other one and wait for this.
            let ids = known.ids().to_vec();
            drop(known);
            let is_same =
                |&first: &usize| states[first].as_ref().is_some_and(|other| locked(other).ids() == ids);
            if let Some(&first) = rows.iter().find(|first| is_same(first)) {
                first_of[row] = first;
                continue;
            }
        }
        rows.push(row);
    }
    first_of
}

fn locked(state: &SharedState) -> MutexGuard<'_, Box<dyn ConstraintState>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fill(state: Option<&SharedState>, words: &mut [u32]) -> Result<(), ControlError> {
    match state {
        None => words.fill(u32::MAX),
        Some(state) => locked(state).fill_mask(words)?,
    }
    Ok(())
}

fn lost() -> ControlError {
    ControlErrorKind::Walk { step: 0, reason: "a thread ended before its masks were filled".into() }.into()
}

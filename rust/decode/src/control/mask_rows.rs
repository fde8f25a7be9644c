//! How are the masks of a batch filled?
//!
//! Each row has a state and a row of words that belongs to the caller. Rows are taken one by one, because masks differ a
//! thousandfold in cost. The calling thread works along and waits only for rows that a helper has taken: on a busy machine
//! a helper may start when everything is done, and then it just ends. A state that serves two rows is locked for one at
//! a time. The result does not depend on the number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::{ConstraintState, ControlError, ControlErrorKind};

/// A state that threads may share.
pub type SharedState = Arc<Mutex<Box<dyn ConstraintState>>>;

/// The rows that nobody has taken.
struct Rows {
    states: Vec<Option<SharedState>>,
    next: AtomicUsize,
}

impl Rows {
    fn take(&self) -> Option<(usize, Option<&SharedState>)> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.states.get(n).map(|state| (n, state.as_ref()))
    }
}

/// Fills row `n` of `out` (`n_words` words each) with the mask of `states[n]`; a row of no state allows everything.
///
/// # Errors
/// A row whose mask fails, and why; the others are filled.
pub fn fill_masks(
    states: Vec<Option<SharedState>>,
    out: &mut [u32],
    n_words: usize,
    n_threads: usize,
) -> Result<(), (usize, ControlError)> {
    let n_rows = states.len().min(out.len() / n_words.max(1));
    let rows = Arc::new(Rows { states, next: AtomicUsize::new(0) });
    let (send, receive) = mpsc::channel();
    for _ in 1..n_threads.clamp(1, n_rows.max(1)) {
        let (rows, send) = (Arc::clone(&rows), send.clone());
        std::thread::spawn(move || {
            while let Some((n, state)) = rows.take() {
                let mut words = vec![0; n_words];
                let filled = fill(state, &mut words).map(|()| words);
                if send.send((n, filled)).is_err() {
                    return;
                }
            }
        });
    }
    drop(send);
    let (mut n_filled, mut failed) = (0, None);
    while let Some((n, state)) = rows.take() {
        let filled = fill(state, &mut out[n * n_words..][..n_words]);
        failed = failed.or(filled.err().map(|error| (n, error)));
        n_filled += 1;
    }
    while n_filled < n_rows {
        let Ok((n, filled)) = receive.recv() else {
            let reason = "a thread ended before its masks were filled".into();
            return Err((0, ControlErrorKind::Walk { step: 0, reason }.into()));
        };
        match filled {
            Ok(words) => out[n * n_words..][..n_words].copy_from_slice(&words),
            Err(error) => failed = failed.or(Some((n, error))),
        }
        n_filled += 1;
    }
    failed.map_or(Ok(()), Err)
}

fn fill(state: Option<&SharedState>, words: &mut [u32]) -> Result<(), ControlError> {
    match state {
        None => words.fill(u32::MAX),
        Some(state) => state.lock().unwrap_or_else(PoisonError::into_inner).fill_mask(words)?,
    }
    Ok(())
}

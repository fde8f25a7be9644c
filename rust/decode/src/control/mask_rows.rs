//! How are the masks of a batch filled?
//!
//! Each row has a state and a row of words that belongs to the caller. Threads live for the call and take the next row
//! when they are done with one, because masks differ a thousandfold in cost. A state that serves two rows is locked for
//! one at a time. The result does not depend on the number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{ConstraintState, ControlError};

/// A row of words, and the error where it could not be filled.
type Row<'a> = (&'a mut [u32], Option<ControlError>);

/// Fills row `n` of `out` (`n_words` words each) with the mask of `states[n]`; a row of no state allows everything.
///
/// # Errors
/// The first row whose mask fails, and why; the others are filled.
pub fn fill_masks(
    states: &[Option<&Mutex<Box<dyn ConstraintState>>>],
    out: &mut [u32],
    n_words: usize,
    n_threads: usize,
) -> Result<(), (usize, ControlError)> {
    let rows: Vec<Mutex<Row<'_>>> =
        out.chunks_mut(n_words.max(1)).map(|words| Mutex::new((words, None))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let (Some(row), Some(state)) = (rows.get(n), states.get(n)) else { return };
            let (words, error) = &mut *row.lock().unwrap_or_else(PoisonError::into_inner);
            match state {
                None => words.fill(u32::MAX),
                Some(state) => {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    *error = state.fill_mask(words).err();
                }
            }
        }
    };
    let n_threads = n_threads.clamp(1, rows.len().max(1));
    std::thread::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(work);
        }
        work();
    });
    for (n, row) in rows.into_iter().enumerate() {
        if let (_, Some(error)) = row.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err((n, error));
        }
    }
    Ok(())
}

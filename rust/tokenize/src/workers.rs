//! How do the threads of one call share its work?
//!
//! Parts are taken from a counter, so that a worker who is done early takes more. What comes of a part goes to the calling
//! thread at once, which works too, but first takes what others have finished: it alone may do so, and what others made is
//! then still in the cache that they share. The threads live for this call alone (no pool that would survive, so `fork` is
//! safe). In which order parts are finished depends on the machine; nothing else does.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Calls `work` with a worker and the index of a part for each of `n_parts`, on at most `n_threads` threads, and `take` on
/// the calling thread, which is worker 0, with the index and what came of it, as soon as it can. Once `take` breaks off, no
/// more parts are begun; those that were, and so all before them, are taken still.
///
/// # Panics
/// With what a worker panicked with.
pub(crate) fn each<R: Send>(
    n_parts: usize,
    n_threads: usize,
    work: impl Fn(usize, usize) -> R + Sync,
    mut take: impl FnMut(usize, R) -> ControlFlow<()>,
) {
    let n_threads = n_threads.clamp(1, n_parts.max(1));
    let next = AtomicUsize::new(0);
    let work_on = |worker: usize| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        (index < n_parts).then(|| (index, work(worker, index)))
    };
    let work_on = &work_on;
    let mut take = |(index, made)| {
        if take(index, made).is_break() {
            next.store(n_parts, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let (sender, finished) = mpsc::channel();
        let others: Vec<_> = (1..n_threads)
            .map(|worker| {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(part) = work_on(worker) {
                        if sender.send(part).is_err() {
                            return; // the calling thread panicked
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        while let Some(part) = work_on(0) {
            take(part);
            finished.try_iter().for_each(&mut take);
        }
        finished.into_iter().for_each(&mut take);
        for other in others {
            if let Err(panic) = other.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// The same for work that may fail, with `take` called in the order of the parts: what is finished early waits.
///
/// # Errors
/// That of the first part that has one; the parts before it were taken.
pub(crate) fn each_in_order<R: Send, E: Send>(
    n_parts: usize,
    n_threads: usize,
    work: impl Fn(usize, usize) -> Result<R, E> + Sync,
    mut take: impl FnMut(R),
) -> Result<(), E> {
    let mut waiting: Vec<Option<R>> = Vec::new();
    waiting.resize_with(n_parts, || None);
    let (mut n_taken, mut failed) = (0, None);
    each(n_parts, n_threads, work, |index, made| match made {
        Ok(made) => {
            waiting[index] = Some(made);
            while let Some(made) = waiting.get_mut(n_taken).and_then(Option::take) {
                n_taken += 1;
                take(made);
            }
            ControlFlow::Continue(())
        }
        Err(error) => {
            keep_first(&mut failed, index, error);
            ControlFlow::Break(())
        }
    });
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// Keeps the error of the first part that has one.
pub(crate) fn keep_first<E>(failed: &mut Option<(usize, E)>, index: usize, error: E) {
    if failed.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
        *failed = Some((index, error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_and_taken_here() {
        let here = std::thread::current().id();
        for n_threads in [0, 1, 2, 3, 8] {
            for n_parts in [0, 1, 2, 7, 100] {
                let mut taken = vec![0; n_parts];
                let work = |worker, index| (worker, 3 * index);
                each(n_parts, n_threads, work, |index, (worker, made)| {
                    assert_eq!(std::thread::current().id(), here);
                    assert!(worker < n_threads.max(1));
                    assert_eq!(made, 3 * index);
                    taken[index] += 1;
                    ControlFlow::Continue(())
                });
                assert_eq!(taken, vec![1; n_parts]);
            }
        }
    }

    /// Lets the others be done earlier.
    fn dawdle(index: usize) {
        if index.is_multiple_of(7) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    #[test]
    fn parts_come_in_order_up_to_the_first_error() {
        for n_threads in [1, 2, 3, 8] {
            for bad in [0, 21, 49, 50] {
                let mut taken = Vec::new();
                let work = |_, index: usize| {
                    dawdle(index);
                    // Later parts fail, too, and do so at once.
                    if index >= bad { Err(index) } else { Ok(index) }
                };
                let done = each_in_order(50, n_threads, work, |index| taken.push(index));
                assert_eq!(done, if bad < 50 { Err(bad) } else { Ok(()) });
                assert_eq!(taken, (0..bad).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn nothing_is_begun_after_a_break() {
        for n_threads in [1, 2, 8] {
            let n_begun = AtomicUsize::new(0);
            let mut taken = Vec::new();
            let work = |_, _| {
                n_begun.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(1));
            };
            each(10_000, n_threads, work, |index, ()| {
                taken.push(index);
                ControlFlow::Break(())
            });
            taken.sort_unstable();
            assert_eq!(taken, (0..n_begun.into_inner()).collect::<Vec<_>>());
            assert!(taken.len() < 1000);
        }
    }

    #[test]
    fn a_panic_of_a_worker_is_that_of_the_call() {
        for n_threads in [1, 2, 8] {
            for bad in [0, 40, 99] {
                let work = |_, index: usize| assert_ne!(index, bad, "part {bad}");
                let call = || each(100, n_threads, work, |_, ()| ControlFlow::Continue(()));
                let panic = std::panic::catch_unwind(call).unwrap_err();
                assert!(panic.downcast_ref::<String>().unwrap().contains(&format!("part {bad}")));
            }
        }
    }

    #[test]
    fn nobody_works_on_after_a_panic_of_who_takes() {
        let n_done = AtomicUsize::new(0);
        let work = |_, _| {
            n_done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let call = std::panic::AssertUnwindSafe(|| each(10_000, 2, work, |_, ()| panic!("enough")));
        assert!(std::panic::catch_unwind(call).is_err());
        assert!(n_done.into_inner() < 1000);
    }
}

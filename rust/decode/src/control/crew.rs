//! Who works along on a batch, without a thread started for it?
//!
//! A crew is a few threads that sleep between batches. It belongs to an object, starts with the first batch that asks for
//! it and ends with the object. A batch leaves a ticket for every helper it wants and works on by itself; a helper that
//! comes wakes the next one, so the caller pays for one. Tickets that nobody took are withdrawn at the end: nobody is
//! waited for who has not begun.
//!
//! A child process has the crew's memory and not its threads, so the process is noted with them; another one starts its
//! own. Where a fork has cut a call in half, or another call is just leaving its tickets, the batch is worked on alone.
//!
//! Cost: a wake-up a batch, about 5 us for the caller; a thread is started once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Work that several threads may do together, each until nothing is left.
pub(super) type Shift = Arc<dyn Fn() + Send + Sync>;

/// Threads that wait for work.
#[derive(Default)]
pub struct Crew {
    members: Mutex<Option<Members>>,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

struct Members {
    process: u32,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

/// Where tickets hang.
#[derive(Default)]
struct Board {
    tickets: Mutex<Tickets>,
    news: Condvar,
}

#[derive(Default)]
struct Tickets {
    open: VecDeque<Shift>,
    is_closed: bool,
}

impl Board {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a helper.
    fn serve(&self) {
        let mut tickets = self.tickets();
        while !tickets.is_closed {
            let Some(shift) = tickets.open.pop_front() else {
                tickets = self.news.wait(tickets).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if !tickets.open.is_empty() {
                self.news.notify_one();
            }
            drop(tickets);
            // What panics is missed by the caller, who waits for answers and not for threads.
            let _ = catch_unwind(AssertUnwindSafe(|| shift()));
            drop(shift);
            tickets = self.tickets();
        }
    }
}

impl Crew {
    /// Does `own` here, while up to `n_helpers` other threads call `shift`.
    pub(super) fn work(&self, shift: &Shift, n_helpers: usize, own: impl FnOnce()) {
        let board = self.board(n_helpers);
        if let Some(board) = &board {
            board.tickets().open.extend(std::iter::repeat_n(Arc::clone(shift), n_helpers));
            board.news.notify_one();
        }
        own();
        if let Some(board) = &board {
            board.tickets().open.retain(|ticket| !Arc::ptr_eq(ticket, shift));
        }
    }

    /// The board of this process with so many helpers, or as many as the system gives.
    fn board(&self, n_helpers: usize) -> Option<Arc<Board>> {
        if n_helpers == 0 {
            return None;
        }
        let mut members = self.members.try_lock().ok()?;
        let process = std::process::id();
        if members.as_ref().is_some_and(|known| known.process != process) {
            // The threads are the parent's, and so are the locks: neither joined nor freed.
            std::mem::forget(members.take());
        }
        let known =
            members.get_or_insert_with(|| Members { process, board: Arc::default(), threads: Vec::new() });
        while known.threads.len() < n_helpers {
            let board = Arc::clone(&known.board);
            let helper = std::thread::Builder::new().name("tokenloom-masks".into());
            match helper.spawn(move || board.serve()) {
                Ok(thread) => known.threads.push(thread),
                Err(_) => break,
            }
        }
        (!known.threads.is_empty()).then(|| Arc::clone(&known.board))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let members = self.members.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(members) = members else { return };
        if members.process != std::process::id() {
            std::mem::forget(members);
            return;
        }
        members.board.tickets().is_closed = true;
        members.board.news.notify_all();
        for thread in members.threads {
            // The last owner may be a helper's own ticket.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn helpers_come_and_stay_and_end_with_the_crew() {
        let crew = Crew::default();
        for round in 0..3 {
            // Nobody leaves before all three are there.
            let (barrier, n_came) = (std::sync::Barrier::new(3), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&n_came);
            let shift: Shift = Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                barrier.wait();
            });
            crew.work(&shift, 2, || shift());
            assert_eq!(n_came.load(Ordering::Relaxed), 3, "{round}");
            assert_eq!(crew.members.lock().unwrap().as_ref().unwrap().threads.len(), 2);
        }
        let board = Arc::clone(&crew.members.lock().unwrap().as_ref().unwrap().board);
        drop(crew);
        assert_eq!(Arc::strong_count(&board), 1);
    }

    #[test]
    fn a_panic_ends_no_helper_and_tickets_are_withdrawn() {
        let crew = Crew::default();
        let caller = std::thread::current().id();
        for _ in 0..20 {
            let shift: Shift = Arc::new(move || assert_eq!(std::thread::current().id(), caller, "a helper"));
            crew.work(&shift, 2, || shift());
        }
        let (send, receive) = mpsc::channel();
        let shift: Shift = Arc::new(move || send.send(std::thread::current().id()).unwrap());
        crew.work(&shift, 0, || shift());
        drop(shift);
        assert_eq!(receive.iter().collect::<Vec<_>>(), [caller]);
        let board = Arc::clone(&crew.members.lock().unwrap().as_ref().unwrap().board);
        assert!(board.tickets().open.is_empty());
    }

    #[test]
    fn a_helper_may_be_the_last_owner() {
        let crew = Arc::new(Crew::default());
        let (owner, begun) = (Mutex::new(Some(Arc::clone(&crew))), Arc::new(std::sync::Barrier::new(2)));
        let caller = std::thread::current().id();
        let together = Arc::clone(&begun);
        let shift: Shift = Arc::new(move || {
            together.wait();
            if std::thread::current().id() != caller {
                let crew = owner.lock().unwrap().take();
                while Arc::strong_count(crew.as_ref().unwrap()) > 1 {
                    std::thread::yield_now();
                }
                drop(crew);
            }
        });
        crew.work(&shift, 1, || shift());
        let board = Arc::clone(&crew.members.lock().unwrap().as_ref().unwrap().board);
        drop(crew);
        while Arc::strong_count(&board) > 1 {
            std::thread::yield_now();
        }
    }
}

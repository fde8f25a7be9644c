//! Where does the memory of encoding lie between calls?
//!
//! A [`Scratch`] is the working memory of one thread: the pretoken cache and what the engines need. A tokenizer keeps a few
//! of them, so that a short call finds a warm cache. Taking one never waits: a thread tries the place its stack's address
//! points to and the next ones, and works with a new scratch where all are taken. A process forked while another thread
//! held one finds that place taken for ever and uses the others.

use std::sync::Mutex;

use tokenloom_vocab::TokenId;

use crate::bpe::BpeScratch;
use crate::cache::PretokenCache;
use crate::lookup::Found;
use crate::pretokenize::Ends;

/// Reusable memory of encoding; one a thread. It serves one tokenizer, as it remembers what pretokens became.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bpe: BpeScratch,
    pub(crate) cache: PretokenCache,
    /// Ends of pretokens on their way to the model.
    pub(crate) ends: Ends,
    /// What the cache knew of them.
    pub(crate) found: Found,
    /// The ids of a short text.
    pub(crate) ids: Vec<TokenId>,
}

/// The places of scratches that wait for their next call.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool {
    places: [Place; ScratchPool::N_PLACES],
    /// Memory for the ids of a batch: what the system has to provide anew costs more than to fill it.
    buffers: Mutex<Vec<Vec<TokenId>>>,
}

/// On a cache line of its own, so that threads do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(Mutex<Option<Box<Scratch>>>);

impl Clone for ScratchPool {
    /// An empty one: a clone of a tokenizer has its own memory.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl ScratchPool {
    const N_PLACES: usize = 32;

    /// Buffers for more ids are not kept.
    const MAX_KEPT_IDS: usize = 1 << 21;

    /// Where the calling thread looks first.
    pub(crate) fn place_here() -> usize {
        // Stacks of threads are far apart: the same thread comes back to the same place, another one rarely does.
        let here = 0_u8;
        let stack = (&raw const here).addr() >> 16;
        ((stack as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % Self::N_PLACES
    }

    /// Calls `work` with a scratch that no other thread has.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        self.with_from(Self::place_here(), work)
    }

    /// The same, looking for it from a given place on.
    pub(crate) fn with_from<R>(&self, first: usize, work: impl FnOnce(&mut Scratch) -> R) -> R {
        for step in 0..Self::N_PLACES {
            let place = &self.places[(first + step) % Self::N_PLACES];
            if let Ok(mut scratch) = place.0.try_lock() {
                return work(scratch.get_or_insert_default());
            }
        }
        work(&mut Scratch::default())
    }

    /// An empty buffer, one that was kept if there is any.
    pub(crate) fn buffer(&self) -> Vec<TokenId> {
        let mut buffer = self.buffers.try_lock().ok().and_then(|mut kept| kept.pop()).unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Keeps a buffer for a later call unless it is large or there are many.
    pub(crate) fn keep(&self, buffer: Vec<TokenId>) {
        if let Ok(mut kept) = self.buffers.try_lock()
            && kept.len() < Self::N_PLACES
            && buffer.capacity() <= Self::MAX_KEPT_IDS
        {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_scratch_and_nobody_waits() {
        let pool = ScratchPool::default();
        fn nest(pool: &ScratchPool, depth: usize) {
            pool.with(|scratch| {
                scratch.ids.push(depth as TokenId);
                if depth > 0 {
                    nest(pool, depth - 1);
                }
            });
        }
        nest(&pool, ScratchPool::N_PLACES + 3);
        let kept = pool.places.iter().filter(|place| place.0.lock().unwrap().is_some()).count();
        assert_eq!(kept, ScratchPool::N_PLACES);
    }

    #[test]
    fn a_worker_comes_back_to_its_place() {
        let pool = &ScratchPool::default();
        for call in 0..3 {
            for worker in 0..2 {
                let seen = std::thread::scope(|scope| {
                    let work = move |scratch: &mut Scratch| {
                        scratch.ids.push(worker as TokenId);
                        scratch.ids.clone()
                    };
                    scope.spawn(move || pool.with_from(worker, work)).join().unwrap()
                });
                assert_eq!(seen, vec![worker as TokenId; call + 1]);
            }
        }
    }

    #[test]
    fn a_buffer_is_kept_unless_it_is_large() {
        let pool = ScratchPool::default();
        pool.keep(vec![7; 5]);
        let buffer = pool.buffer();
        assert!(buffer.is_empty() && buffer.capacity() >= 5);
        pool.keep(Vec::with_capacity(ScratchPool::MAX_KEPT_IDS + 1));
        assert_eq!(pool.buffer().capacity(), 0);
    }

    #[test]
    fn a_place_whose_thread_panicked_is_passed_over() {
        let pool = ScratchPool::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.with(|_| panic!())));
        assert!(panicked.is_err());
        assert_eq!(pool.with(|scratch| scratch.ids.len()), 0);
    }
}

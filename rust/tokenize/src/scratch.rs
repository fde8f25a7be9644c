//! Where does the memory of encoding lie between calls?
//!
//! A [`Scratch`] is the working memory of one thread: the pretoken cache and what the engines need. A tokenizer keeps a few
//! of them, so that a short call finds a warm cache. Taking one never waits: a thread tries the place its stack's address
//! points to and the next ones, and works with a new scratch where all are taken. A process forked while another thread
//! held one finds that place taken for ever and uses the others.

use std::sync::Mutex;

use tokenloom_vocab::TokenId;

use crate::bpe::BpeScratch;
use crate::cache::{Key, Missed, PretokenCache};

/// Reusable memory of encoding; one a thread. It serves one tokenizer, as it remembers what pretokens became.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bpe: BpeScratch,
    pub(crate) cache: PretokenCache,
    /// Ends of pretokens on their way to the model.
    pub(crate) ends: Vec<usize>,
    /// Keys of those pretokens, and their places in the cache.
    pub(crate) keys: Vec<(Key, usize)>,
    /// Those that were not there.
    pub(crate) missed: Vec<Missed>,
    /// Ids that the cache knew, on their way out.
    pub(crate) ready: Vec<TokenId>,
    /// The ids of a short text.
    pub(crate) ids: Vec<TokenId>,
}

/// The places of scratches that wait for their next call.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool {
    places: [Place; ScratchPool::N_PLACES],
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

    /// Calls `work` with a scratch that no other thread has.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        // Stacks of threads are far apart: the same thread comes back to the same place, another one rarely does.
        let here = 0_u8;
        let stack = (&raw const here).addr() >> 16;
        let first = (stack as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        for step in 0..Self::N_PLACES {
            let place = &self.places[(first as usize + step) % Self::N_PLACES];
            if let Ok(mut scratch) = place.0.try_lock() {
                return work(scratch.get_or_insert_default());
            }
        }
        work(&mut Scratch::default())
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
                scratch.ends.push(depth);
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
    fn a_place_whose_thread_panicked_is_passed_over() {
        let pool = ScratchPool::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.with(|_| panic!())));
        assert!(panicked.is_err());
        assert_eq!(pool.with(|scratch| scratch.ends.len()), 0);
    }
}

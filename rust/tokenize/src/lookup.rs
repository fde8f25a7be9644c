//! Which pretokens of a stretch are known, and where are the others?
//!
//! A scanner's batch of pretokens is looked up at once: all keys first, so that the cache's memory is on the way when it is asked.
//! Ids that are known are put side by side; what is missed waits, over a few batches, until so many wait that merging them side
//! by side hides the memory it waits for. A pretoken that is missed again meanwhile is pending: it is merged once. O(1) a
//! pretoken, memory for [`MAX_BATCHES`] batches.

use std::ops::Range;

use tokenloom_vocab::TokenId;

use crate::cache::{Key, Missed, Place, PretokenCache};
use crate::pretokenize::MAX_BATCH;

/// So many batches are looked up before what they missed is merged,
pub(crate) const MAX_BATCHES: usize = 16;
/// unless so many pretokens are missed.
pub(crate) const MANY_MISSED: usize = 48;
const MANY_BYTES: usize = 6;

/// What was found of some batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    places: Vec<Place>,
    /// Ids that were known, in order; behind them anything.
    ready: Vec<TokenId>,
    n_ready: usize,
    /// What the first look does not find: index, and how many ids come before it.
    others: Vec<(usize, usize)>,
    /// The pretokens between them, by the number of ids before them.
    pub(crate) missed: Vec<Missed>,
    /// The ids of those of more than a slot has.
    pub(crate) apart: Vec<TokenId>,
    /// The long ones of these that are merged together, and what became of them.
    pub(crate) together: Vec<Range<usize>>,
    pub(crate) ids: Vec<TokenId>,
    pub(crate) ends: Vec<usize>,
}

impl Found {
    pub(crate) fn clear(&mut self) {
        self.n_ready = 0;
        self.missed.clear();
        self.apart.clear();
        self.together.clear();
        self.ids.clear();
        self.ends.clear();
    }

    /// The ids that were known.
    pub(crate) fn ready(&self) -> &[TokenId] {
        &self.ready[..self.n_ready]
    }

    /// Looks up pretokens that follow each other from `start` on; at most [`MAX_BATCH`], and at most [`MAX_BATCHES`] times.
    /// `is_new` hears of the keys that nothing is known of.
    pub(crate) fn look_up(
        &mut self,
        cache: &mut PretokenCache,
        text: &[u8],
        start: usize,
        ends: &[usize],
        is_new: impl Fn(Key),
    ) {
        let Self { places, ready, n_ready, others, missed, .. } = self;
        let spans = ends.iter().scan(start, |start, &end| Some((std::mem::replace(start, end), end)));
        cache.find_places(text, ends.len(), spans, places);
        ready.resize(4 * MAX_BATCH * MAX_BATCHES, 0);
        others.clear();
        *n_ready = copy_known(cache, &places[..ends.len()], ready, *n_ready, others);
        for &(index, at) in &*others {
            let slot = cache.note(places[index]);
            if slot.is_unknown() {
                is_new(places[index].key);
            }
            let start = index.checked_sub(1).map_or(start, |before| ends[before]);
            let piece = &text[start..ends[index]];
            // A new one of many bytes may become more ids than the table of short ones keeps.
            if slot.is_elsewhere() || slot.key() == [0; 2] || slot.is_unknown() && piece.len() > MANY_BYTES {
                cache.prefetch_long(piece);
            }
            missed.push(Missed { at, start, end: ends[index], slot });
        }
    }
}

/// As [`PretokenCache::copy_known`]. A function of its own: the loop that runs most often has the registers to itself.
#[inline(never)]
fn copy_known(
    cache: &PretokenCache,
    places: &[Place],
    ids: &mut [TokenId],
    n: usize,
    others: &mut Vec<(usize, usize)>,
) -> usize {
    cache.copy_known(places, ids, n, |index, n| others.push((index, n)))
}

//! What did the finished texts say?
//!
//! A list of segments, oldest first, that is replaced as a whole when it changes: readers take it without waiting and
//! keep it while they need it. A finished text becomes a segment of its own. Segments of similar size are merged, so
//! that there are O(log n) of them and each token is sorted O(log n) times in all; a small merge is done at once, a large
//! one is handed out as a [`MergeJob`] for a thread of the caller's. When the budget is passed, the oldest segments go:
//! O(1), nothing is searched. Nothing here blocks: a process may fork at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use tokenloom_vocab::TokenId;

use super::automaton::END_OF_DOCUMENT;
use super::segment::Segment;

/// Merges of fewer tokens are done where they arise: a few milliseconds.
const SMALL_MERGE_TOKENS: usize = 1 << 15;
/// No segment holds more than this part of the budget, so that evicting one forgets little.
const SEGMENT_SHARE: usize = 8;
/// No thread merges.
const NOBODY: u32 = 0;

/// Finished texts, shared by all streams of one drafter.
#[derive(Debug)]
pub struct History {
    max_bytes: usize,
    segments: ArcSwap<Vec<Segment>>,
    /// The process whose thread merges. A forked child has another id and no such thread.
    merger: AtomicU32,
}

/// Segments that want to be one.
#[derive(Debug)]
pub struct MergeJob {
    history: Arc<History>,
    parts: Vec<Segment>,
}

impl History {
    /// Keeps at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, segments: ArcSwap::default(), merger: AtomicU32::new(NOBODY) }
    }

    /// The segments as they are now, oldest first.
    pub fn segments(&self) -> Arc<Vec<Segment>> {
        self.segments.load_full()
    }

    /// Are the segments still these?
    pub(crate) fn holds(&self, segments: &Arc<Vec<Segment>>) -> bool {
        Arc::ptr_eq(&self.segments.load(), segments)
    }

    /// Bytes held.
    pub fn n_bytes(&self) -> usize {
        self.segments.load().iter().map(Segment::n_bytes).sum()
    }

    /// Tokens held, one mark for the end of each text included.
    pub fn n_tokens(&self) -> usize {
        self.segments.load().iter().map(Segment::n_tokens).sum()
    }

    /// The texts, oldest segment first.
    pub fn documents(&self) -> Vec<Vec<TokenId>> {
        let segments = self.segments.load();
        segments.iter().flat_map(Segment::documents).map(<[_]>::to_vec).collect()
    }

    /// Adds a finished text; of one that is too long for the budget only the end is kept.
    pub fn add(&self, mut tokens: Vec<TokenId>) {
        let n_most = self.max_tokens();
        if n_most < 2 {
            return;
        }
        if tokens.len() >= n_most {
            tokens.drain(..=tokens.len() - n_most);
        }
        tokens.push(END_OF_DOCUMENT);
        self.add_segment(&Segment::build(tokens));
    }

    /// Adds a segment as the newest one.
    pub fn add_segment(&self, segment: &Segment) {
        self.segments.rcu(|segments| {
            let mut segments = Vec::clone(segments);
            segments.push(segment.clone());
            let mut n_bytes: usize = segments.iter().map(Segment::n_bytes).sum();
            let mut n_evicted = 0;
            while n_bytes > self.max_bytes {
                n_bytes -= segments[n_evicted].n_bytes();
                n_evicted += 1;
            }
            segments.drain(..n_evicted);
            segments
        });
    }

    /// Forgets all texts.
    pub fn clear(&self) {
        self.segments.store(Arc::default());
    }

    /// The longest segment that is made.
    fn max_tokens(&self) -> usize {
        (self.max_bytes / (8 * SEGMENT_SHARE)).min(Segment::MAX_TOKENS)
    }

    /// Merges what is small; what is large comes back as a job unless a thread of this `process` has one already.
    pub fn tidy(self: &Arc<Self>, process: u32) -> Option<MergeJob> {
        loop {
            let parts = self.to_merge()?;
            let n_tokens: usize = parts.iter().map(Segment::n_tokens).sum();
            if n_tokens > SMALL_MERGE_TOKENS {
                let claim = |merger| (merger != process).then_some(process);
                self.merger.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).ok()?;
                return Some(MergeJob { history: Arc::clone(self), parts });
            }
            self.replace(&parts, &merged(&parts));
        }
    }

    /// The newest run of segments in which each is at most half as long as the rest of the run behind it is together.
    fn to_merge(&self) -> Option<Vec<Segment>> {
        let segments = self.segments.load();
        let is_mergeable = |segment: &Segment| segment.n_bytes() > 0;
        let mut end = segments.len();
        while end > 1 {
            let mut start = end - 1;
            let mut n_tokens = segments[start].n_tokens();
            while start > 0
                && is_mergeable(&segments[start])
                && is_mergeable(&segments[start - 1])
                && segments[start - 1].n_tokens() < 2 * n_tokens
                && segments[start - 1].n_tokens() + n_tokens <= self.max_tokens()
            {
                start -= 1;
                n_tokens += segments[start].n_tokens();
            }
            if end - start > 1 {
                return Some(segments[start..end].to_vec());
            }
            end -= 1;
        }
        None
    }

    /// Puts `whole` where `parts` are, if they are still there.
    fn replace(&self, parts: &[Segment], whole: &Segment) {
        self.segments.rcu(|segments| {
            let mut segments = Vec::clone(segments);
            let place = segments.windows(parts.len()).position(|run| {
                run.iter().zip(parts).all(|(left, right)| std::ptr::eq(left.text(), right.text()))
            });
            if let Some(start) = place {
                segments.splice(start..start + parts.len(), [whole.clone()]);
            }
            segments
        });
    }
}

impl MergeJob {
    /// Merges. Takes about 200 nanoseconds a token.
    pub fn run(self) {
        self.history.replace(&self.parts, &merged(&self.parts));
    }
}

impl Drop for MergeJob {
    fn drop(&mut self) {
        self.history.merger.store(NOBODY, Ordering::Release);
    }
}

fn merged(parts: &[Segment]) -> Segment {
    Segment::build(parts.iter().flat_map(|part| part.text()).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_every_text_and_few_segments() {
        let history = Arc::new(History::new(1 << 22));
        let texts: Vec<Vec<u32>> = (0..200).map(|i| (0..i * 7 % 90).map(|j| j * i % 13).collect()).collect();
        for text in &texts {
            history.add(text.clone());
            assert!(history.tidy(1).is_none());
        }
        assert_eq!(history.documents(), texts);
        assert!(history.segments().len() <= 12, "{}", history.segments().len());
        assert_eq!(history.n_bytes(), 8 * history.n_tokens());
    }

    #[test]
    fn the_oldest_go_first_and_the_end_of_a_long_text_stays() {
        let history = Arc::new(History::new(64 * 100));
        for i in 0..50u32 {
            history.add(vec![i; 60]);
            let _ = history.tidy(1);
            assert!(history.n_bytes() <= 64 * 100);
        }
        let documents = history.documents();
        assert_eq!(documents.last(), Some(&vec![49; 60]));
        assert!(documents.len() >= 8 && documents.is_sorted(), "{documents:?}");
        history.add((0..1000).collect());
        assert_eq!(history.documents().last(), Some(&(901..1000).collect()));
        let none = Arc::new(History::new(0));
        none.add(vec![1, 2, 3]);
        assert_eq!(none.n_tokens(), 0);
    }

    #[test]
    fn a_large_merge_is_one_job_at_a_time() {
        let history = Arc::new(History::new(1 << 26));
        let text: Vec<u32> = (0..30_000).map(|i| i * i % 1000).collect();
        history.add(text.clone());
        assert!(history.tidy(7).is_none());
        history.add(text.clone());
        let job = history.tidy(7);
        assert!(job.is_some());
        assert!(history.tidy(7).is_none(), "one is enough");
        assert!(history.tidy(8).is_some(), "a forked process has no such thread");
        history.add(vec![1, 2]);
        job.into_iter().for_each(MergeJob::run);
        assert_eq!(history.documents(), [text.clone(), text, vec![1, 2]]);
        assert_eq!(history.segments().len(), 2);
    }
}

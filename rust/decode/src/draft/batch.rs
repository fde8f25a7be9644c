//! How do many streams propose and commit in one call?
//!
//! Streams do not depend on each other, so they are cut into runs, and each thread takes the next run that nobody has: a
//! thread that starts late, or waits for a core, costs nobody more than its own run. The caller's thread is one of them.
//! A few streams are not worth a thread. Nothing is shared but what the drafter shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokenloom_tokenize::prefetch::prefetch_whole;
use tokenloom_vocab::TokenId;

use super::error::DraftError;
use super::stream::{Stream, TopRows};
use super::tree::DraftTree;

/// Fewer streams than this are done before a thread has started.
const STREAMS_PER_THREAD: usize = 32;
/// Streams that a thread takes at a time.
const STREAMS_PER_RUN: usize = 16;

/// Arrays of the caller, `width` entries for each stream.
#[derive(Debug)]
pub struct TreeRows<'a> {
    /// Drafted tokens.
    pub tokens: &'a mut [i32],
    /// Parents, -1 for a child of the last committed token.
    pub parents: &'a mut [i32],
    /// Depths, from 1.
    pub depths: &'a mut [i32],
    /// Probabilities given the parent.
    pub probs: &'a mut [f32],
    /// Nodes of each stream.
    pub lengths: &'a mut [i32],
}

impl<'a> TreeRows<'a> {
    /// What is left of a shorter row: no token, no parent.
    const PADDING: i32 = -1;

    fn split_at(self, n_streams: usize, width: usize) -> (TreeRows<'a>, TreeRows<'a>) {
        let n = n_streams * width;
        let (tokens, more_tokens) = self.tokens.split_at_mut(n);
        let (parents, more_parents) = self.parents.split_at_mut(n);
        let (depths, more_depths) = self.depths.split_at_mut(n);
        let (probs, more_probs) = self.probs.split_at_mut(n);
        let (lengths, more_lengths) = self.lengths.split_at_mut(n_streams);
        (
            TreeRows { tokens, parents, depths, probs, lengths },
            TreeRows {
                tokens: more_tokens,
                parents: more_parents,
                depths: more_depths,
                probs: more_probs,
                lengths: more_lengths,
            },
        )
    }

    /// Writes a tree of at most `width` nodes into a row.
    pub fn write(&mut self, row: usize, width: usize, tree: &DraftTree) {
        let (start, n) = (row * width, tree.n_nodes());
        let (filled, rest) = (start..start + n, start + n..start + width);
        self.tokens[filled.clone()].copy_from_slice(tree.tokens());
        self.parents[filled.clone()].copy_from_slice(tree.parents());
        self.depths[filled.clone()].copy_from_slice(tree.depths());
        self.probs[filled].copy_from_slice(tree.probs());
        self.tokens[rest.clone()].fill(Self::PADDING);
        self.parents[rest.clone()].fill(Self::PADDING);
        self.depths[rest.clone()].fill(0);
        self.probs[rest].fill(0.0);
        self.lengths[row] = n as i32;
    }
}

/// Locks a stream; one that a panicking thread held is still whole, as commits are checked before they change it.
pub fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the parts of the next stream while this one is worked on, and for what says where those of its next lie.
fn prefetch_behind(streams: &[&Mutex<Stream>], row: usize) {
    if let Some(later) = streams.get(row + 2) {
        prefetch_whole(*later);
    }
    // Whoever holds it has its memory at hand.
    if let Some(Ok(next)) = streams.get(row + 1).map(|next| next.try_lock()) {
        next.prefetch();
    }
}

/// A tree for each stream.
///
/// # Errors
/// As [`Stream::propose`], for a stream that fails.
pub fn propose_batch(
    streams: &[&Mutex<Stream>],
    budget: i64,
    is_chain: bool,
    n_threads: usize,
) -> Result<Vec<Arc<DraftTree>>, DraftError> {
    let mut trees = vec![Arc::default(); streams.len()];
    let runs = streams.chunks(STREAMS_PER_RUN).zip(trees.chunks_mut(STREAMS_PER_RUN));
    share(streams.len(), n_threads, runs, |(streams, trees)| {
        for ((row, stream), tree) in streams.iter().enumerate().zip(trees) {
            prefetch_behind(streams, row);
            *tree = lock(stream).propose(budget, is_chain)?;
        }
        Ok(())
    })?;
    Ok(trees)
}

/// Writes the tree of each stream into a row of `rows`, `width` entries long.
///
/// # Errors
/// As [`Stream::propose`], for a stream that fails.
pub fn propose_into(
    streams: &[&Mutex<Stream>],
    budget: i64,
    is_chain: bool,
    n_threads: usize,
    width: usize,
    rows: TreeRows<'_>,
) -> Result<(), DraftError> {
    let budget = budget.min(width as i64);
    let mut rest = Some(rows);
    let runs = streams.chunks(STREAMS_PER_RUN).filter_map(|part| {
        let (rows, more) = rest.take()?.split_at(part.len(), width);
        rest = Some(more);
        Some((part, rows))
    });
    share(streams.len(), n_threads, runs, |(streams, mut rows)| {
        let mut tree = DraftTree::default();
        for (row, stream) in streams.iter().enumerate() {
            prefetch_behind(streams, row);
            lock(stream).propose_into(budget, is_chain, &mut tree)?;
            rows.write(row, width, &tree);
        }
        Ok(())
    })
}

/// Appends to each stream what is its own. Nothing is appended anywhere if any stream would refuse.
///
/// # Errors
/// As [`Stream::commit`], for the first stream that refuses.
pub fn commit_batch(
    streams: &[&Mutex<Stream>],
    tokens: &[Vec<TokenId>],
    tops: &[Option<TopRows>],
    n_threads: usize,
) -> Result<(), DraftError> {
    for (i, stream) in streams.iter().enumerate() {
        lock(stream).check(&tokens[i], None, tops[i].as_ref())?;
    }
    let runs =
        streams.chunks(STREAMS_PER_RUN).zip(tokens.chunks(STREAMS_PER_RUN)).zip(tops.chunks(STREAMS_PER_RUN));
    share(streams.len(), n_threads, runs, |((streams, tokens), tops)| {
        for ((stream, tokens), top) in streams.iter().zip(tokens).zip(tops) {
            lock(stream).commit(tokens, None, top.as_ref())?;
        }
        Ok(())
    })
}

/// Does `work` with every run, on at most `n_threads` threads.
fn share<R>(
    n_streams: usize,
    n_threads: usize,
    runs: impl Iterator<Item = R> + Send,
    work: impl Fn(R) -> Result<(), DraftError> + Sync,
) -> Result<(), DraftError> {
    let runs = Mutex::new(runs);
    let take = || {
        loop {
            let run = runs.lock().unwrap_or_else(PoisonError::into_inner).next();
            match run {
                Some(run) => work(run)?,
                None => return Ok(()),
            }
        }
    };
    let n_helpers = n_threads.min(n_streams.div_ceil(STREAMS_PER_THREAD)).saturating_sub(1);
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..n_helpers).map(|_| scope.spawn(take)).collect();
        let own = take();
        helpers.into_iter().fold(own, |done, helper| match helper.join() {
            Ok(helped) => done.and(helped),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

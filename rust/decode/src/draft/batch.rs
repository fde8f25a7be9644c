//! How do many streams propose and commit in one call?
//!
//! Streams do not depend on each other, so they are cut into equal runs, one for each thread; the caller's thread takes
//! the first. A few streams are not worth a thread. Nothing is shared but what the drafter shares.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenloom_vocab::TokenId;

use super::error::DraftError;
use super::stream::{Stream, TopRows};
use super::tree::DraftTree;

/// Fewer streams than this are done before a thread has started.
const STREAMS_PER_THREAD: usize = 32;

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

    fn write(&mut self, row: usize, width: usize, tree: &DraftTree) {
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

/// A tree for each stream.
///
/// # Errors
/// As [`Stream::propose`], for the first stream that fails.
pub fn propose_batch(
    streams: &[&Mutex<Stream>],
    budget: i64,
    is_chain: bool,
    n_threads: usize,
) -> Result<Vec<DraftTree>, DraftError> {
    let mut trees = vec![DraftTree::default(); streams.len()];
    let propose = |streams: &[&Mutex<Stream>], trees: &mut [DraftTree]| -> Result<(), DraftError> {
        for (stream, tree) in streams.iter().zip(trees) {
            *tree = lock(stream).propose(budget, is_chain)?;
        }
        Ok(())
    };
    let n = run_length(streams.len(), n_threads);
    std::thread::scope(|scope| {
        let mut runs = streams.chunks(n).zip(trees.chunks_mut(n));
        let first = runs.next();
        let workers: Vec<_> = runs.map(|(part, trees)| scope.spawn(|| propose(part, trees))).collect();
        first.map_or(Ok(()), |(part, trees)| propose(part, trees))?;
        join(workers)
    })?;
    Ok(trees)
}

/// Writes the tree of each stream into a row of `rows`, `width` entries long.
///
/// # Errors
/// As [`Stream::propose`], for the first stream that fails.
pub fn propose_into(
    streams: &[&Mutex<Stream>],
    budget: i64,
    is_chain: bool,
    n_threads: usize,
    width: usize,
    rows: TreeRows<'_>,
) -> Result<(), DraftError> {
    let budget = budget.min(width as i64);
    let propose = |streams: &[&Mutex<Stream>], mut rows: TreeRows<'_>| -> Result<(), DraftError> {
        for (row, stream) in streams.iter().enumerate() {
            rows.write(row, width, &lock(stream).propose(budget, is_chain)?);
        }
        Ok(())
    };
    let n = run_length(streams.len(), n_threads);
    std::thread::scope(|scope| {
        let (first, mut rest) = rows.split_at(n.min(streams.len()), width);
        let mut workers = Vec::new();
        for part in streams.chunks(n).skip(1) {
            let (rows, more) = rest.split_at(part.len(), width);
            workers.push(scope.spawn(move || propose(part, rows)));
            rest = more;
        }
        propose(&streams[..n.min(streams.len())], first)?;
        join(workers)
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
    let commit = |from: usize, streams: &[&Mutex<Stream>]| -> Result<(), DraftError> {
        for (i, stream) in (from..).zip(streams) {
            lock(stream).commit(&tokens[i], None, tops[i].as_ref())?;
        }
        Ok(())
    };
    let n = run_length(streams.len(), n_threads);
    std::thread::scope(|scope| {
        let mut runs = streams.chunks(n).enumerate();
        let first = runs.next();
        let workers: Vec<_> = runs.map(|(i, part)| scope.spawn(move || commit(i * n, part))).collect();
        first.map_or(Ok(()), |(_, part)| commit(0, part))?;
        join(workers)
    })
}

/// How many streams one thread takes.
fn run_length(n_streams: usize, n_threads: usize) -> usize {
    n_streams.div_ceil(n_threads.max(1)).max(STREAMS_PER_THREAD)
}

fn join(workers: Vec<std::thread::ScopedJoinHandle<'_, Result<(), DraftError>>>) -> Result<(), DraftError> {
    for worker in workers {
        match worker.join() {
            Ok(done) => done?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(())
}

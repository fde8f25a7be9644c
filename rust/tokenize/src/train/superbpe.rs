//! How are superwords trained?
//!
//! Stage 1 is ordinary BPE over words, up to `transition` tokens. Stage 2 cuts the same corpus by a pattern that does
//! not split at white space, replays the merges of stage 1 over these chunks, and goes on merging by the same rule. A
//! merge that the chunks never use is dropped and its place goes to stage 2, so ids behind it move up. Stage 2 refuses
//! superwords of more than `max_words` words (pieces between spaces) and those that hold a forbidden string.
//!
//! Time and memory as [`queue`](super::queue), with n the bytes of the distinct chunks; few chunks of running text
//! repeat, so n is close to the size of the corpus. Stage 2 counts pairs from the chunks as they are after the replay.
//!
//! Liu, Hayase et al., *SuperBPE: Space Travel for Language Models* (2025), section 2.

use std::ops::ControlFlow;

use rayon::prelude::*;
use tokenloom_vocab::TokenId;

use super::inventory::{Inventory, check_vocab_size};
use super::queue::{Rule, merge_pairs};
use super::replay::{Applied, Replay};
use super::symbols::Symbols;
use super::{BpeOptions, Merge, Progress, Stage, TrainError, TrainErrorKind, Trained, WordCounts, stage_one};

/// Bytes of chunks replayed between two calls of the progress function.
const BYTES_PER_BLOCK: usize = 4 << 20;

/// What SuperBPE adds to [`BpeOptions`].
#[derive(Clone, Debug)]
pub struct SuperOptions {
    /// The vocabulary size at which stage 1 ends.
    pub transition: usize,
    /// The most words in a superword: non-empty pieces between spaces.
    pub max_words: usize,
    /// No superword holds any of these.
    pub forbidden: Vec<Vec<u8>>,
    /// Threads of the replay.
    pub n_threads: usize,
}

impl Default for SuperOptions {
    fn default() -> Self {
        Self { transition: 180_000, max_words: 4, forbidden: vec![b": ".to_vec()], n_threads: 1 }
    }
}

/// Trains on the same corpus cut into `words` by the pattern of stage 1 and into `chunks` by the pattern of stage 2.
///
/// # Errors
/// Options that contradict each other, a corpus beyond the limits, or an interruption: see [`TrainErrorKind`].
pub fn train_superbpe(
    words: &WordCounts,
    chunks: &WordCounts,
    options: &BpeOptions,
    superwords: &SuperOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    check(options, superwords)?;
    let first = BpeOptions { vocab_size: superwords.transition, ..options.clone() };
    let (inventory, merges) = stage_one(words, &first, progress)?;
    let replay = Replay::new(&merges, inventory.byte_ids());
    let (mut chunk_tokens, is_used) = replay_all(&replay, chunks, superwords.n_threads, progress)?;
    let used: Vec<Merge> =
        merges.iter().zip(is_used).filter(|&(_, used)| used).map(|(&merge, _)| merge).collect();
    let (mut inventory, mut merges, new_ids) = renumber(&inventory, &used, options)?;
    let mut symbols = Symbols::new();
    let mut at = 0;
    for tokens in &mut chunk_tokens {
        for chunk in tokens.chunks_mut() {
            chunk.iter_mut().for_each(|token| *token = new_ids[*token as usize]);
            symbols.push(chunk, chunks.count(at))?;
            at += 1;
        }
        *tokens = Block::default();
    }
    let is_refused = |token: &[u8]| {
        let n_words = token.split(|&byte| byte == b' ').filter(|piece| !piece.is_empty()).count();
        n_words > superwords.max_words
            || superwords.forbidden.iter().any(|part| token.windows(part.len()).any(|window| window == part))
    };
    merge_pairs(
        symbols,
        &mut inventory,
        &mut merges,
        &Rule { is_refused: &is_refused, ..options.rule() },
        progress,
    )?;
    Ok(Trained::new(inventory, merges))
}

fn check(options: &BpeOptions, superwords: &SuperOptions) -> Result<(), TrainError> {
    let n_special = options.special_tokens.len();
    check_vocab_size(options.vocab_size, n_special)?;
    let (transition, minimum, vocab_size) = (superwords.transition, 256 + n_special, options.vocab_size);
    if transition < minimum || transition > vocab_size {
        return Err(TrainErrorKind::TransitionOutOfRange { transition, minimum, vocab_size }.into());
    }
    if superwords.max_words == 0 {
        return Err(TrainErrorKind::NoWords.into());
    }
    match superwords.forbidden.iter().position(Vec::is_empty) {
        Some(index) => Err(TrainErrorKind::EmptyForbidden { index }.into()),
        None => Ok(()),
    }
}

/// The tokens of consecutive chunks.
#[derive(Debug, Default)]
struct Block {
    tokens: Vec<TokenId>,
    ends: Vec<usize>,
}

impl Block {
    fn chunks_mut(&mut self) -> impl Iterator<Item = &mut [TokenId]> {
        let mut rest = self.tokens.as_mut_slice();
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let (chunk, tail) = std::mem::take(&mut rest).split_at_mut(end - start);
            (rest, start) = (tail, end);
            chunk
        })
    }
}

/// The tokens of all chunks in order, and which merges they use.
fn replay_all(
    replay: &Replay<'_>,
    chunks: &WordCounts,
    n_threads: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<Block>, Vec<bool>), TrainError> {
    let pool = super::pool(n_threads);
    let mut is_used = replay.begin().is_used;
    let mut blocks = Vec::new();
    let (mut start, mut n_done, n_total) = (0, 0, chunks.n_bytes() as u64);
    while start < chunks.len() {
        if progress(Progress { stage: Stage::Replay, n_done, n_total }).is_break() {
            return Err(TrainErrorKind::Interrupted.into());
        }
        let ranges = split(chunks, &mut start, n_threads);
        n_done += ranges.iter().flat_map(Clone::clone).map(|at| chunks.word(at).len() as u64).sum::<u64>();
        let work = |range: &std::ops::Range<usize>| {
            let (mut applied, mut block) = (replay.begin(), Block::default());
            for at in range.clone() {
                replay.apply(chunks.word(at), &mut applied, &mut block.tokens);
                block.ends.push(block.tokens.len());
            }
            (block, applied)
        };
        let done: Vec<(Block, Applied)> = match &pool {
            Some(pool) => pool.install(|| ranges.par_iter().map(work).collect()),
            None => ranges.iter().map(work).collect(),
        };
        for (block, applied) in done {
            is_used.iter_mut().zip(applied.is_used).for_each(|(all, one)| *all |= one);
            blocks.push(block);
        }
    }
    Ok((blocks, is_used))
}

/// The next ranges of chunks, one a thread, of about [`BYTES_PER_BLOCK`] each.
fn split(chunks: &WordCounts, start: &mut usize, n_threads: usize) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    while ranges.len() < n_threads.max(1) && *start < chunks.len() {
        let (from, mut n_bytes) = (*start, 0);
        while *start < chunks.len() && n_bytes < BYTES_PER_BLOCK {
            n_bytes += chunks.word(*start).len();
            *start += 1;
        }
        ranges.push(from..*start);
    }
    ranges
}

/// The tokens of `used` merges with ids without gaps, and the new id of each old one.
fn renumber(
    old: &Inventory,
    used: &[Merge],
    options: &BpeOptions,
) -> Result<(Inventory, Vec<Merge>, Vec<TokenId>), TrainError> {
    let mut inventory = Inventory::new(&options.special_tokens)?;
    // Special tokens and bytes come first in both; tokens of dropped merges are named nowhere.
    let mut new_ids: Vec<TokenId> = (0..old.len() as TokenId).collect();
    for merge in used {
        new_ids[merge.result as usize] = inventory.id_or_insert(old.bytes(merge.result));
    }
    let merges = used
        .iter()
        .map(|m| Merge {
            left: new_ids[m.left as usize],
            right: new_ids[m.right as usize],
            result: new_ids[m.result as usize],
        })
        .collect();
    Ok((inventory, merges, new_ids))
}

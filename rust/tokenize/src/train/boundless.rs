//! How are superwords trained without a schedule?
//!
//! A superword joins whole words: those that are one token each and hold a letter. Such words stand in runs, and runs
//! repeat as words do, so a corpus is reduced to words and runs with their counts. Pairs are merged in the words as ever,
//! and in the runs by the same rule; a *supermerge* takes its turn where its count is larger than that of the next merge
//! within words. How many there are, and so where the one kind ends, needs no telling.
//!
//! Both kinds can be trained apart. A pair of words occurs at most as often as either word, and a word at most as often as
//! the pair that made it one token; counts of merges never rise. So when a supermerge has its turn, both its words are
//! tokens already, and which words are tokens in the end may be asked at the start.
//!
//! Schmidt, Reddy, Tanner, Pinter, *Boundless Byte Pair Encoding* (2025); *Faster Superword Tokenization* (2026).

use super::counter::RUN_SEPARATOR;
use super::encoder::{Encoder, Scratch};
use super::intake::Intake;
use super::inventory::Inventory;
use super::queue::{Merged, Rule};
use super::replay::{Applied, Replay};
use super::source::WordSource;
use super::stages::{Done, Report, Run, StageOptions, begin, emptied, merge_down, redo, restore};
use super::symbols::BOUNDARY;
use super::{Merge, Resources, Start, TrainError, TrainErrorKind, Trained};

/// How superwords take their places in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// By count, among the merges within words.
    Interleaved,
    /// Behind the merges within words, as many as if by count.
    Automatic,
    /// Behind the merges within words, which end at this size.
    At(usize),
}

/// A merge and how often its pair occurred.
type Counted = (Merge, i64);

/// Trains on words and on their runs (see [`WordCounter::new`](super::WordCounter::new)). Stage 0 is within words, and
/// there are one or two stages across; `done` holds what was told of each, if anything, and then all goes on from there.
///
/// # Errors
/// As [`train`](super::train); a tokenizer cannot be extended this way.
pub fn train_boundless(
    start: &Start<'_>,
    (words, runs): (&dyn WordSource, &dyn WordSource),
    options: &StageOptions,
    transition: Transition,
    done: Vec<Done>,
    resources: Resources,
    progress: Report<'_>,
) -> Result<Trained, TrainError> {
    if start.tokenizer.is_some() {
        return Err(TrainErrorKind::DecidedBefore { option: "the boundless mode" }.into());
    }
    let vocab_size = options.vocab_size;
    let words_size = if let Transition::At(size) = transition { size } else { vocab_size };
    let first = StageOptions { vocab_size: words_size, ..options.clone() };
    let mut merged = begin(start, &[(words, &first), (runs, options)])?;
    if let Some(done) = done.iter().find(|done| done.stage == 0) {
        merged = restore(start, merged, done.clone(), 1)?;
    }
    // Seeds come before everything.
    let mut counts = vec![i64::MAX; merged.merges.len() - merged.counts.len()];
    Run { start, words, options: &first, stage: 0, resources }.train(&mut merged, false, progress)?;
    counts.append(&mut merged.counts);
    let within: Vec<Counted> = merged.merges.iter().copied().zip(counts).collect();
    let mut supermerges = Supermerges { runs, options, done, n_bytes: resources.n_bytes, progress };
    let n_within = if matches!(transition, Transition::At(_)) {
        within.len()
    } else {
        // A supermerge that is not more frequent than the last merge within words has its turn behind a full vocabulary.
        let is_full = merged.inventory.len() >= vocab_size;
        let floor = within.last().filter(|_| is_full).map_or(1, |last| last.1.saturating_add(1));
        // There are never more than places in the vocabulary.
        let n_ids = merged.inventory.len() + vocab_size;
        let (inventory, across) = supermerges.train(&merged, floor, n_ids, 1)?;
        let (n_within, order) = interleave(&within, &across);
        let (merged, n_merges) = assemble(start, &inventory, &order, vocab_size)?;
        if transition == Transition::Interleaved {
            return Ok(Trained::new(start, merged));
        }
        n_within[n_merges]
    };
    let (merged, _) = assemble(start, &merged.inventory, &within[..n_within], vocab_size)?;
    let (inventory, across) = supermerges.train(&merged, 1, vocab_size, 2)?;
    let all: Vec<Counted> = within[..n_within].iter().chain(&across).copied().collect();
    Ok(Trained::new(start, assemble(start, &inventory, &all, vocab_size)?.0))
}

/// The merges of both kinds by count, those within words first among equals; and how many of the first n are those.
fn interleave(within: &[Counted], across: &[Counted]) -> (Vec<usize>, Vec<Counted>) {
    let (mut n_within, mut order) = (vec![0], Vec::new());
    let (mut left, mut right) = (within.iter().peekable(), across.iter().peekable());
    loop {
        let takes_across = match (left.peek(), right.peek()) {
            (Some(within), Some(across)) => across.1 > within.1,
            (within, _) => within.is_none(),
        };
        let Some(&next) = (if takes_across { right.next() } else { left.next() }) else {
            return (n_within, order);
        };
        order.push(next);
        n_within.push(within.len() - left.len());
    }
}

/// The tokens of merges in their order until the vocabulary is full, and how many merges that took.
fn assemble(
    start: &Start<'_>,
    old: &Inventory,
    order: &[Counted],
    vocab_size: usize,
) -> Result<(Merged, usize), TrainError> {
    let mut inventory = emptied(start, old)?;
    let mut new_ids: Vec<_> = (0..old.len() as u32).collect();
    let mut merges = Vec::new();
    for (merge, _) in order {
        if inventory.len() >= vocab_size {
            break;
        }
        let result = inventory.id_or_insert(old.bytes(merge.result));
        new_ids[merge.result as usize] = result;
        let [left, right] = [merge.left, merge.right].map(|id| new_ids[id as usize]);
        merges.push(Merge { left, right, result });
    }
    let n_merges = merges.len();
    Ok((Merged { inventory, merges, counts: Vec::new() }, n_merges))
}

/// The merges of runs.
struct Supermerges<'a, 'b> {
    runs: &'a dyn WordSource,
    options: &'a StageOptions,
    done: Vec<Done>,
    n_bytes: usize,
    progress: Report<'b>,
}

impl Supermerges<'_, '_> {
    /// Those behind the merges of `words`, with the tokens of both.
    fn train(
        &mut self,
        words: &Merged,
        floor: i64,
        vocab_size: usize,
        stage: usize,
    ) -> Result<(Inventory, Vec<Counted>), TrainError> {
        let encoder = Encoder::new(None, &words.inventory, &words.merges)?;
        let (inventory, merges, counts) = (words.inventory.clone(), Vec::new(), Vec::new());
        let mut across = Merged { inventory, merges, counts };
        if let Some(done) = self.done.iter().find(|done| done.stage == stage) {
            redo(&mut across, done.clone())?;
        }
        let options = self.options;
        let min_count = i64::try_from(options.min_frequency).unwrap_or(i64::MAX).max(floor);
        let rule = Rule {
            stage,
            vocab_size,
            max_token_length: options.max_token_length,
            veto: &options.veto,
            is_new_only: true,
            ends_at_known: false,
            min_count,
        };
        let runs = self.runs;
        let mut again = |across: &mut Merged, intake: &mut Intake, _: Report<'_>| {
            encode(runs, &encoder, across, intake).map(|()| false)
        };
        let guess = |_: &dyn Fn(usize) -> Option<i64>, sketch: &super::sketch::Sketch| {
            sketch.nth(options.vocab_size) / 4
        };
        merge_down(&guess, min_count, &mut across, &rule, self.n_bytes, &mut again, self.progress)?;
        Ok((across.inventory, across.merges.into_iter().zip(across.counts).collect()))
    }
}

/// The runs of words that are one token each, after the supermerges so far.
fn encode(
    runs: &dyn WordSource,
    encoder: &Encoder<'_>,
    across: &Merged,
    intake: &mut Intake,
) -> Result<(), TrainError> {
    let replay = Replay::new(&across.merges);
    let (mut scratch, mut applied) = (Scratch::default(), Applied::default());
    let (mut ids, mut word_ids, mut part) = (Vec::new(), Vec::new(), Vec::new());
    runs.for_each(&mut |run, count| {
        ids.clear();
        for word in run.split(|&byte| byte == RUN_SEPARATOR) {
            word_ids.clear();
            encoder.encode(word, &mut scratch, &mut word_ids);
            ids.push(if let [id] = word_ids[..] { id } else { BOUNDARY });
        }
        for words in ids.split(|&id| id == BOUNDARY).filter(|words| words.len() > 1) {
            part.clear();
            replay.apply(words, &mut applied, &mut part);
            intake.push(&part, count)?;
        }
        Ok(())
    })
}

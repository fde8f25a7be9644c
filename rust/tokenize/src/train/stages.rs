//! How do stages follow each other?
//!
//! Every stage has its own cut of the corpus and its own rules, and goes on from the merges before it: its words are
//! encoded by them, then pairs are merged. A stage may drop the merges that its words never use, and their places go to
//! it: later ids move up.
//!
//! The bound of `queue` is found here. In a first stage without vetoes it is proved: each merge completes at most one
//! word, so while r merges are left and r words are incomplete, the rarest of which occurs c times, some pair occurs c
//! times. Elsewhere it is a guess from the pairs at the start. When the pairs above it run out too early the words are
//! encoded by the merges so far and merging goes on with a lower one: guessing changes the time, never a merge.

use std::ops::ControlFlow;

use tokenloom_vocab::TokenId;

use super::encoder::Encoder;
use super::intake::{Guess, Intake, take};
use super::inventory::{Inventory, byte_order, check_vocab_size};
use super::queue::{Merged, Outcome, Rule, merge_pairs};
use super::sketch::Sketch;
use super::source::WordSource;
use super::symbols::{BOUNDARY, MAX_COUNT};
use super::{Alphabet, Merge, Progress, Resources, Stage, Start, TrainError, TrainErrorKind, Trained, Veto};

/// One stage of a training.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// Tokens at its end: special tokens, bytes and merged tokens. Fewer if no pair is left.
    pub vocab_size: usize,
    /// Pairs below this count are not merged.
    pub min_frequency: u64,
    /// A merged token of more than two bytes is shorter than this.
    pub max_token_length: usize,
    /// What merged tokens may not be.
    pub veto: Veto,
    /// Only so many merges of the stages before are inherited.
    pub max_inherited: Option<usize>,
    /// Inherited merges that the words of this stage do not use are dropped.
    pub drops_unused: bool,
}

impl Default for StageOptions {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            min_frequency: 0,
            max_token_length: usize::MAX,
            veto: Veto::default(),
            max_inherited: None,
            drops_unused: false,
        }
    }
}

/// Where a training that was stopped goes on.
#[derive(Clone, Debug)]
pub struct Done {
    /// The stage it was in.
    pub stage: usize,
    /// [`Progress::merges`] of then.
    pub merges: Vec<Merge>,
    /// [`Progress::counts`] of then.
    pub counts: Vec<i64>,
}

/// Trains stage by stage. Each has its words and its rules.
///
/// `progress` is called every few thousandths of a second to every second and may stop the training. What it is told
/// may be given back as `done` to a later call with the same other arguments, which then gives the same tokenizer.
///
/// # Errors
/// Options that contradict each other, a corpus beyond the limits, or an interruption: see [`TrainErrorKind`].
pub fn train(
    start: &Start<'_>,
    stages: &[(&dyn WordSource, &StageOptions)],
    done: Option<Done>,
    resources: Resources,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    let mut merged = begin(start, stages)?;
    let first = done.as_ref().map_or(0, |done| done.stage);
    if let Some(done) = done {
        merged = restore(start, merged, done, stages.len())?;
    }
    for (index, &(words, options)) in stages.iter().enumerate().skip(first) {
        let run = Run { start, words, options, stage: index, resources };
        run.train(&mut merged, index > first, progress)?;
    }
    Ok(Trained::new(start, merged))
}

/// The tokens before the first merge that is trained.
pub(super) fn begin(
    start: &Start<'_>,
    stages: &[(&dyn WordSource, &StageOptions)],
) -> Result<Merged, TrainError> {
    let Some(&(words, first)) = stages.first() else { return Err(TrainErrorKind::NoStages.into()) };
    stages.iter().try_for_each(|(_, options)| options.veto.check())?;
    let last_size = stages.iter().map(|(_, options)| options.vocab_size).next_back().unwrap_or(0);
    let inventory = match start.tokenizer {
        None => {
            let has_byte = alphabet_of(&start.alphabet, words)?;
            let n_bytes = has_byte.iter().filter(|&&has| has).count();
            check_vocab_size(last_size, n_bytes, start.special_tokens.len())?;
            Inventory::new(&start.special_tokens, |byte| has_byte[byte as usize])?
        }
        Some(tokenizer) => {
            let decided = [
                (!start.special_tokens.is_empty(), "special_tokens"),
                (start.alphabet != Alphabet::default(), "alphabet"),
                (!start.seed_merges.is_empty(), "seed_merges"),
                (stages.iter().any(|(_, options)| options.max_inherited.is_some()), "max_inherited"),
            ];
            if let Some(&(_, option)) = decided.iter().find(|(is_given, _)| *is_given) {
                return Err(TrainErrorKind::DecidedBefore { option }.into());
            }
            check_vocab_size(last_size, 0, 0)?;
            let (n_ids, vocab_size) = (tokenizer.id_bound(), last_size);
            if vocab_size < n_ids {
                return Err(TrainErrorKind::NothingToAdd { n_ids, vocab_size }.into());
            }
            Inventory::extending(tokenizer)
        }
    };
    let minimum = inventory.len();
    for pair in stages.windows(2) {
        let [transition, vocab_size] = [pair[0].1.vocab_size, pair[1].1.vocab_size];
        if transition < minimum || transition > vocab_size {
            return Err(TrainErrorKind::TransitionOutOfRange { transition, minimum, vocab_size }.into());
        }
    }
    let mut merged = Merged { inventory, merges: Vec::new(), counts: Vec::new() };
    seed(&mut merged, start)?;
    if merged.inventory.len() > first.vocab_size {
        let (vocab_size, n_seeds) = (first.vocab_size, start.seed_merges.len());
        return Err(TrainErrorKind::SeedsTooMany { vocab_size, n_seeds }.into());
    }
    Ok(merged)
}

fn seed(merged: &mut Merged, start: &Start<'_>) -> Result<(), TrainError> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let n_special = merged.inventory.n_special() as TokenId;
    for (index, (left, right)) in start.seed_merges.iter().enumerate() {
        let made = |id: &TokenId| *id >= n_special || merged.merges.iter().any(|merge| merge.result == *id);
        let id = |part: &[u8]| {
            let unknown = || TrainErrorKind::SeedPartUnknown { index, part: lossy(part) };
            merged.inventory.id(part).filter(made).ok_or_else(unknown)
        };
        let (left_id, right_id) = (id(left)?, id(right)?);
        let token = [left.as_slice(), right].concat();
        if merged.inventory.id(&token).is_some_and(|id| made(&id)) {
            return Err(TrainErrorKind::SeedKnown { index, token: lossy(&token) }.into());
        }
        let result = merged.inventory.id_or_insert(&token);
        merged.merges.push(Merge { left: left_id, right: right_id, result });
    }
    Ok(())
}

/// Whether each byte is in the alphabet.
fn alphabet_of(alphabet: &Alphabet, words: &dyn WordSource) -> Result<[bool; 256], TrainError> {
    let mut has = [false; 256];
    alphabet.initial.iter().for_each(|&byte| has[byte as usize] = true);
    if has.iter().all(|&has| has) && alphabet.limit.is_none() {
        return Ok(has);
    }
    let mut counts = [0u64; 256];
    words.for_each(&mut |word, count| {
        for &byte in word {
            counts[byte as usize] = counts[byte as usize].saturating_add(count);
        }
        Ok(())
    })?;
    alphabet.initial.iter().for_each(|&byte| counts[byte as usize] = u64::MAX);
    let mut bytes: Vec<u8> = byte_order().filter(|&byte| counts[byte as usize] > 0).collect();
    bytes.sort_by_key(|&byte| std::cmp::Reverse(counts[byte as usize]));
    bytes.truncate(alphabet.limit.unwrap_or(256));
    Ok(std::array::from_fn(|byte| bytes.contains(&(byte as u8))))
}

/// The state in which a training was stopped.
pub(super) fn restore(
    start: &Start<'_>,
    mut merged: Merged,
    done: Done,
    n_stages: usize,
) -> Result<Merged, TrainError> {
    let wrong = |what| TrainErrorKind::WrongState { what };
    if done.stage >= n_stages {
        return Err(wrong("it has more stages").into());
    }
    if done.stage == 0 && !done.merges.starts_with(&merged.merges) {
        return Err(wrong("the seed merges differ").into());
    }
    // Without the seed merges, of which a later stage may have dropped some.
    merged.inventory = emptied(start, &merged.inventory)?;
    merged.merges.clear();
    redo(&mut merged, done)?;
    Ok(merged)
}

/// Makes the merges again that were made when a training was stopped.
pub(super) fn redo(merged: &mut Merged, done: Done) -> Result<(), TrainError> {
    let wrong = |what| TrainErrorKind::WrongState { what };
    for merge in done.merges {
        let n_ids = merged.inventory.len() as TokenId;
        if merge.left >= n_ids || merge.right >= n_ids {
            return Err(wrong("a merge joins an unknown id").into());
        }
        let token = [merged.inventory.bytes(merge.left), merged.inventory.bytes(merge.right)].concat();
        if merged.inventory.id_or_insert(&token) != merge.result {
            return Err(wrong("a merge makes another id").into());
        }
        merged.merges.push(merge);
    }
    if done.counts.len() > merged.merges.len() {
        return Err(wrong("it has more counts than merges").into());
    }
    merged.counts = done.counts;
    Ok(())
}

/// The tokens before any merge.
pub(super) fn emptied(start: &Start<'_>, inventory: &Inventory) -> Result<Inventory, TrainError> {
    match start.tokenizer {
        Some(tokenizer) => Ok(Inventory::extending(tokenizer)),
        None => {
            let has_byte = |byte: u8| inventory.byte_ids()[byte as usize] != BOUNDARY;
            Inventory::new(&start.special_tokens, has_byte)
        }
    }
}

/// One stage at work.
pub(super) struct Run<'a> {
    pub(super) start: &'a Start<'a>,
    pub(super) words: &'a dyn WordSource,
    pub(super) options: &'a StageOptions,
    pub(super) stage: usize,
    pub(super) resources: Resources,
}

pub(super) type Report<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

impl Run<'_> {
    pub(super) fn train(
        &self,
        merged: &mut Merged,
        inherits: bool,
        progress: Report<'_>,
    ) -> Result<(), TrainError> {
        if let Some(limit) = self.options.max_inherited.filter(|_| inherits) {
            merged.merges.truncate(limit);
        }
        let options = self.options;
        let min_count = i64::try_from(options.min_frequency).unwrap_or(i64::MAX).max(1);
        // Where a tokenizer is extended a pair may begin again, and then none is known to stay rare.
        let stays_rare = self.start.tokenizer.is_none();
        let floor = if stays_rare { min_count } else { 1 };
        let rule = Rule {
            stage: self.stage,
            vocab_size: options.vocab_size,
            max_token_length: options.max_token_length,
            veto: &options.veto,
            min_count,
            is_new_only: false,
            ends_at_known: !stays_rare,
        };
        let n_left = options.vocab_size.saturating_sub(merged.inventory.len());
        let guess = |nth_word: &dyn Fn(usize) -> Option<i64>, sketch: &Sketch| {
            nth_word(n_left).unwrap_or(1).max(sketch.nth(n_left) / 4)
        };
        let mut inherits = inherits;
        let mut encode = |merged: &mut Merged, intake: &mut Intake, progress: Report<'_>| {
            self.encode(merged, std::mem::take(&mut inherits), intake, progress)
        };
        merge_down(&guess, floor, merged, &rule, self.resources.n_bytes, &mut encode, progress)
    }

    /// The symbols of the words after the merges so far, of which those that no word uses may be dropped; then ids change.
    fn encode(
        &self,
        merged: &mut Merged,
        inherits: bool,
        intake: &mut Intake,
        progress: Report<'_>,
    ) -> Result<bool, TrainError> {
        let encoder = Encoder::new(self.start.tokenizer, &merged.inventory, &merged.merges)?;
        let n_ids = merged.inventory.len();
        let report = |n_done| {
            let (kind, stage, n_total, n_pairs) = (Stage::Replay, self.stage, 0, 0);
            let Merged { merges, counts, .. } = &*merged;
            let now = Progress { kind, stage, n_done, n_total, n_pairs, merges, counts };
            if progress(now).is_break() { Err(TrainErrorKind::Interrupted.into()) } else { Ok(()) }
        };
        let n_threads = self.resources.n_threads;
        let mut is_used = encoder.encode_all(self.words, n_ids, n_threads, intake, report)?;
        drop(encoder);
        let is_shortened = self.options.max_inherited.is_some();
        if !inherits || !(self.options.drops_unused || is_shortened) || self.start.tokenizer.is_some() {
            return Ok(false);
        }
        for merge in merged.merges.iter().rev().filter(|_| self.options.drops_unused) {
            if is_used[merge.result as usize] {
                is_used[merge.left as usize] = true;
                is_used[merge.right as usize] = true;
            }
        }
        if !self.options.drops_unused {
            is_used.fill(true);
        }
        let new_ids = self.renumber(merged, &is_used)?;
        intake.renumber(&new_ids);
        Ok(true)
    }

    /// Keeps the used merges with ids without gaps; the new id of each old one.
    fn renumber(&self, merged: &mut Merged, is_used: &[bool]) -> Result<Vec<TokenId>, TrainError> {
        let old = &merged.inventory;
        let mut inventory = emptied(self.start, old)?;
        // Special tokens and bytes come first in both; tokens of dropped merges are named nowhere.
        let mut new_ids: Vec<TokenId> = (0..old.len() as TokenId).collect();
        merged.merges.retain(|merge| is_used[merge.result as usize]);
        for merge in &mut merged.merges {
            new_ids[merge.result as usize] = inventory.id_or_insert(old.bytes(merge.result));
            for id in [&mut merge.left, &mut merge.right, &mut merge.result] {
                *id = new_ids[*id as usize];
            }
        }
        merged.inventory = inventory;
        Ok(new_ids)
    }
}

/// Gives all words after the merges so far to an intake, and answers whether ids changed.
pub(super) type Encode<'a> =
    &'a mut dyn FnMut(&mut Merged, &mut Intake, Report<'_>) -> Result<bool, TrainError>;

/// Merges pairs down to a count of `floor`, first those above a guessed bound, then, if the vocabulary is not full, those
/// above lower ones. Memory of `n_bytes` may ask for higher ones.
pub(super) fn merge_down(
    guess: Guess<'_>,
    floor: i64,
    merged: &mut Merged,
    rule: &Rule<'_>,
    n_bytes: usize,
    encode: Encode<'_>,
    progress: Report<'_>,
) -> Result<(), TrainError> {
    let (mut lowered, mut ceiling) = (None, MAX_COUNT);
    loop {
        let mut fill = |intake: &mut Intake| encode(merged, intake, progress);
        let taken = take(guess, lowered, floor, ceiling, n_bytes, &mut fill)?;
        let bound = taken.bound;
        let rule = Rule { ends_at_known: rule.ends_at_known && bound > floor, ..*rule };
        let lower = match merge_pairs(taken.symbols, taken.pairs, merged, &rule, progress)? {
            Outcome::BoundReached if bound > floor => bound / 8,
            Outcome::KnownReached => floor,
            Outcome::Full | Outcome::BoundReached => return Ok(()),
        };
        (lowered, ceiling) = (Some(lower), (bound / 2).max(floor));
    }
}

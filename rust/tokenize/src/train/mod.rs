//! Which tokens does a corpus ask for?
//!
//! BPE as the Hugging Face trainer makes it, merge for merge, and SuperBPE in two stages. A corpus is first reduced to
//! [`WordCounts`] (its distinct pieces with 64-bit counts); then pairs are merged in `queue` on arrays that no merge
//! ever scans (`symbols`, `pairs`, `step`). Training is O(n log n) and O(n) in the bytes n of the distinct
//! pieces for every input, one megabyte-long word included. The result depends neither on the order of the corpus nor
//! on the number of threads.
//!
//! Everything is held in memory; nothing is resumed.

mod counter;
mod error;
mod inventory;
mod pairs;
mod queue;
mod replay;
mod step;
mod superbpe;
mod symbols;
#[cfg(test)]
mod tests;
mod words;

use std::ops::ControlFlow;

use tokenloom_vocab::{AddedToken, TokenId};

pub use counter::{WordCounter, pretokenizers_of};
pub use error::{TrainError, TrainErrorKind};
use inventory::{Inventory, check_vocab_size};
use queue::Rule;
pub use superbpe::{SuperOptions, train_superbpe};
use symbols::Symbols;
pub use words::WordCounts;

use crate::spec::{Merge, Pretokenizer, TokenizerSpec};

/// What is trained.
#[derive(Clone, Debug)]
pub struct BpeOptions {
    /// Tokens in the end: special tokens, the 256 bytes and merged tokens. Fewer if no pair is left.
    pub vocab_size: usize,
    /// Texts that get the first ids.
    pub special_tokens: Vec<String>,
    /// Pairs below this count are not merged.
    pub min_frequency: u64,
    /// A merged token of more than two bytes is shorter than this.
    pub max_token_length: usize,
}

impl Default for BpeOptions {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            special_tokens: Vec::new(),
            min_frequency: 0,
            max_token_length: usize::MAX,
        }
    }
}

impl BpeOptions {
    fn rule(&self) -> Rule<'static> {
        Rule {
            vocab_size: self.vocab_size,
            min_frequency: self.min_frequency,
            max_token_length: self.max_token_length,
            is_refused: &|_| false,
        }
    }
}

/// What a training is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Applying the merges of stage 1 to the chunks of stage 2; counted in bytes.
    Replay,
    /// Merging pairs; counted in tokens.
    Merge,
}

/// How far a training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is done now.
    pub stage: Stage,
    /// How much of it is done.
    pub n_done: u64,
    /// How much of it there is.
    pub n_total: u64,
}

/// The tokens and merges that a training found.
#[derive(Clone, Debug)]
pub struct Trained {
    special_tokens: Vec<String>,
    tokens: Vec<(TokenId, Box<[u8]>)>,
    merges: Vec<Merge>,
}

/// Trains BPE on counted words.
///
/// `progress` is called every few thousandths of a second to every second and may stop the training.
///
/// # Errors
/// Options that contradict each other, a corpus beyond the limits, or an interruption: see [`TrainErrorKind`].
pub fn train_bpe(
    words: &WordCounts,
    options: &BpeOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    let (inventory, merges) = stage_one(words, options, progress)?;
    Ok(Trained::new(inventory, merges))
}

fn stage_one(
    words: &WordCounts,
    options: &BpeOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Inventory, Vec<Merge>), TrainError> {
    check_vocab_size(options.vocab_size, options.special_tokens.len())?;
    let mut inventory = Inventory::new(&options.special_tokens)?;
    let mut symbols = Symbols::new();
    let mut ids = Vec::new();
    for (word, count) in words.iter() {
        ids.clear();
        ids.extend(word.iter().map(|&byte| inventory.byte_ids()[byte as usize]));
        symbols.push(&ids, count)?;
    }
    let mut merges = Vec::new();
    queue::merge_pairs(symbols, &mut inventory, &mut merges, &options.rule(), progress)?;
    Ok((inventory, merges))
}

/// A pool of this call's own; none for one thread. The global pool would hang after a fork.
fn pool(n_threads: usize) -> Option<rayon::ThreadPool> {
    // Threads that cannot be started are done without: the result is the same.
    (n_threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().ok()).flatten()
}

impl Trained {
    fn new(inventory: Inventory, merges: Vec<Merge>) -> Self {
        let n_special = inventory.n_special() as TokenId;
        // A special token is a token of the model only where a merge makes its string.
        let is_made: Vec<bool> = merges.iter().fold(vec![false; n_special as usize], |mut made, merge| {
            if let Some(made) = made.get_mut(merge.result as usize) {
                *made = true;
            }
            made
        });
        let tokens = (0..inventory.len() as TokenId)
            .filter(|&id| id >= n_special || is_made[id as usize])
            .map(|id| (id, inventory.bytes(id).into()))
            .collect();
        Self { special_tokens: inventory.special_tokens().to_vec(), tokens, merges }
    }

    /// The tokens of the model: the bytes and everything that was merged.
    pub fn tokens(&self) -> &[(TokenId, Box<[u8]>)] {
        &self.tokens
    }

    /// The merges in rank order.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The tokenizer that cuts text by `pretokenizers` and applies these merges.
    pub fn into_spec(self, pretokenizers: Vec<Pretokenizer>) -> TokenizerSpec {
        let added = |(id, content): (usize, String)| AddedToken {
            id: id as TokenId,
            content,
            special: true,
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        TokenizerSpec {
            tokens: self.tokens.into_iter().collect(),
            merges: self.merges,
            added_tokens: self.special_tokens.into_iter().enumerate().map(added).collect(),
            pretokenizers,
            ..TokenizerSpec::default()
        }
    }
}

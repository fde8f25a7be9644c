//! Which tokens does a corpus ask for?
//!
//! BPE as the Hugging Face trainer makes it, merge for merge, in stages: SuperBPE is two of them. A corpus is first
//! reduced to [`WordCounts`] (its distinct pieces with 64-bit counts); then pairs are merged in `queue` on arrays that
//! no merge ever scans (`symbols`, `pairs`, `step`). Training is O(n log n) and O(n) in the bytes n of the distinct
//! pieces for every input, one megabyte-long word included. The result depends neither on the order of the corpus nor
//! on the number of threads.

mod boundless;
mod characters;
mod counter;
mod dynamic;
mod encoder;
mod error;
mod events;
mod intake;
mod inventory;
mod lengths;
mod less;
mod occurrences;
mod pairs;
mod parity;
mod picky;
mod queue;
mod replay;
mod runs;
mod sketch;
mod source;
mod stages;
mod step;
mod symbols;
#[cfg(test)]
mod tests;
mod unigram;
mod union;
mod veto;
mod words;

use rustc_hash::FxHashSet;
use tokenloom_vocab::{AddedToken, TokenId};

pub use boundless::{Transition, train_boundless};
pub use characters::{CharacterOptions, CharacterTokens, train_characters};
pub use counter::{RUN_SEPARATOR, WordCounter, pretokenizers_of};
pub use dynamic::{Boundary, Dynamic, DynamicOptions, merge_batch};
pub use error::{TrainError, TrainErrorKind};
pub use events::Events;
pub use lengths::{LengthRange, count_random_pieces};
pub use less::{LessIsBetter, Lexicon, train_less_is_better};
pub use parity::{ParityOptions, train_parity};
pub use picky::{Event, MERGES_PER_TOKEN, Picky, train_picky};
use queue::Merged;
pub use runs::{RunReader, RunWriter, merge_runs};
pub use source::{Visit, WordSource};
pub use stages::{Done, StageOptions, train};
pub use unigram::{UnigramOptions, UnigramPieces, train_unigram};
pub use union::{MAX_BRIDGED_BYTES, Union, union};
pub use veto::Veto;
pub use words::WordCounts;

use crate::Tokenizer;
use crate::spec::{Merge, Pretokenizer, Ranks, TokenizerSpec};

/// What a training starts from.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// Texts that get the first ids.
    pub special_tokens: Vec<String>,
    /// The bytes that have ids.
    pub alphabet: Alphabet,
    /// Parts of merges that come before all others.
    pub seed_merges: Vec<(Vec<u8>, Vec<u8>)>,
    /// A tokenizer that keeps its ids and merges; all else is its own, too.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// Which bytes have ids. A byte outside the alphabet is left out of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alphabet {
    /// Bytes that have one whether they occur or not.
    pub initial: Vec<u8>,
    /// The most bytes; the rarest that occur are left out, of equally rare ones the later in the order of ids.
    pub limit: Option<usize>,
}

impl Default for Alphabet {
    fn default() -> Self {
        Self { initial: (0..=u8::MAX).collect(), limit: None }
    }
}

/// What a training is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Encoding the words of a stage by the merges before it; counted in bytes.
    Replay,
    /// Merging pairs; counted in tokens.
    Merge,
}

/// How far a training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// What is done now.
    pub kind: Stage,
    /// In which stage.
    pub stage: usize,
    /// How much of it is done.
    pub n_done: u64,
    /// How much of it there is; 0 if that is not known.
    pub n_total: u64,
    /// Pairs that may still be merged.
    pub n_pairs: u64,
    /// The merges so far.
    pub merges: &'a [Merge],
    /// How often the pairs of the last of them occurred.
    pub counts: &'a [i64],
}

/// What a training may use. Neither changes what it finds.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Threads that encode words.
    pub n_threads: usize,
    /// Memory for the arrays of merging.
    pub n_bytes: usize,
}

/// The tokens and merges that a training found.
#[derive(Clone, Debug)]
pub struct Trained {
    special_tokens: Vec<String>,
    tokens: Vec<(TokenId, Box<[u8]>)>,
    merges: Vec<Merge>,
    /// What the tokenizer that was extended was built from.
    extended: Option<std::sync::Arc<TokenizerSpec>>,
}

/// A pool of this call's own; none for one thread. The global pool would hang after a fork.
fn pool(n_threads: usize) -> Option<rayon::ThreadPool> {
    // Threads that cannot be started are done without: the result is the same.
    (n_threads > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().ok()).flatten()
}

impl Progress<'_> {
    /// What [`Done::from_bytes`] reads: how many merges there are, three numbers of each, and the counts, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let n_merges = self.merges.len() as u32;
        let numbers = self.merges.iter().flat_map(|m| [m.left, m.right, m.result]);
        let mut bytes: Vec<u8> =
            std::iter::once(n_merges).chain(numbers).flat_map(u32::to_le_bytes).collect();
        bytes.extend(self.counts.iter().copied().flat_map(i64::to_le_bytes));
        bytes
    }
}

impl Done {
    /// The state of `stage` that [`Progress::to_bytes`] wrote. Of other bytes, one that is refused later or other merges.
    pub fn from_bytes(stage: usize, bytes: &[u8]) -> Self {
        let (n_merges, rest) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let (merges, counts) = rest.split_at(rest.len().min(u32::from_le_bytes(*n_merges) as usize * 12));
        let (numbers, _) = merges.as_chunks::<4>();
        let (triples, _) = numbers.as_chunks::<3>();
        let merge = |[left, right, result]: [TokenId; 3]| Merge { left, right, result };
        let merges = triples.iter().map(|triple| merge(triple.map(TokenId::from_le_bytes))).collect();
        let counts = counts.as_chunks::<8>().0.iter().copied().map(i64::from_le_bytes).collect();
        Self { stage, merges, counts }
    }
}

impl Trained {
    fn new(start: &Start<'_>, merged: Merged) -> Self {
        let Merged { inventory, mut merges, .. } = merged;
        let mut known = FxHashSet::default();
        let is_old: Box<dyn Fn(TokenId) -> bool> = match start.tokenizer {
            Some(tokenizer) => {
                known.extend(tokenizer.bpe().merges().iter().map(|(pair, _)| pair));
                let n_old = tokenizer.id_bound() as TokenId;
                Box::new(move |id| id < n_old)
            }
            None => {
                let n_special = inventory.n_special() as TokenId;
                // A special token is a token of the model only where a merge makes its string.
                let made: FxHashSet<TokenId> = merges.iter().map(|merge| merge.result).collect();
                Box::new(move |id| id < n_special && !made.contains(&id))
            }
        };
        merges.retain(|merge| known.insert((merge.left, merge.right)));
        let ids = (0..inventory.len() as TokenId).filter(|&id| !is_old(id));
        let tokens = ids.map(|id| (id, inventory.bytes(id).into())).collect();
        let extended = start.tokenizer.map(|tokenizer| tokenizer.spec().clone());
        Self { special_tokens: inventory.special_tokens().to_vec(), tokens, merges, extended }
    }

    /// The tokens of the model: the bytes and everything that was merged. Of a tokenizer that was extended, new ones.
    pub fn tokens(&self) -> &[(TokenId, Box<[u8]>)] {
        &self.tokens
    }

    /// The merges in rank order. Of a tokenizer that was extended, new ones.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The tokenizer that cuts text by `pretokenizers` and applies these merges. One that was extended cuts text as it
    /// did where there are none.
    pub fn into_spec(self, pretokenizers: Option<Vec<Pretokenizer>>) -> TokenizerSpec {
        let added = |(id, content): (usize, String)| AddedToken {
            id: id as TokenId,
            content,
            special: true,
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        let Some(extended) = self.extended else {
            return TokenizerSpec {
                tokens: self.tokens.into_iter().collect(),
                merges: self.merges,
                added_tokens: self.special_tokens.into_iter().enumerate().map(added).collect(),
                pretokenizers: pretokenizers.unwrap_or_default(),
                ..TokenizerSpec::default()
            };
        };
        let mut spec = TokenizerSpec::clone(&extended).listed();
        if let Ranks::Given(ranks) = &mut spec.ranks {
            let first = ranks.last().map_or(0, |last| last + 1);
            ranks.extend((first..).take(self.merges.len()));
        }
        spec.tokens.extend(self.tokens);
        spec.merges.extend(self.merges);
        spec.pretokenizers = pretokenizers.unwrap_or(spec.pretokenizers);
        spec
    }
}

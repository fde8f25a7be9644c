//! Which symbols does a word consist of before the next merge?
//!
//! Bytes before the first merge. After merges of this training, what encoding by them gives: they apply in their order,
//! each to all its occurrences, and no pair begins after its turn (see [`queue`](super::queue)), so the linear engine of
//! encoding may do it. Where an older tokenizer is extended, its own encoding, then the new merges turn by turn
//! ([`Replay`]).

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use tokenloom_vocab::{TokenId, TokenTable};

use super::intake::Intake;
use super::inventory::Inventory;
use super::replay::{Applied, Replay};
use super::source::WordSource;
use super::symbols::BOUNDARY;
use super::{Merge, TrainError, TrainErrorKind};
use crate::Tokenizer;
use crate::bpe::{Bpe, BpeScratch, Engine};
use crate::spec::{self, Ranks};

/// Bytes of words encoded by one thread at a time.
const BYTES_PER_BLOCK: usize = 1 << 20;

/// Makes symbols of words.
pub(super) enum Encoder<'a> {
    /// Of bytes; those outside the alphabet are left out.
    Bytes(&'a [TokenId; 256]),
    /// By merges of this training.
    Engine(Box<Bpe>),
    /// By a tokenizer and new merges.
    Extended { tokenizer: &'a Tokenizer, fallbacks: FxHashSet<TokenId>, replay: Replay<'a> },
}

/// The memory of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bpe: BpeScratch,
    ids: Vec<TokenId>,
    applied: Applied,
}

/// The symbols of consecutive words.
#[derive(Debug, Default)]
struct Block {
    symbols: Vec<TokenId>,
    ends: Vec<usize>,
    counts: Vec<u64>,
}

impl<'a> Encoder<'a> {
    /// The linear engine looks ahead as far as the longest token; with longer ones the heap is on the safe side.
    const MAX_SEARCHED_BYTES: usize = 512;

    /// `merges` on top of the alphabet of `inventory`, or of `tokenizer`, if that is extended.
    pub(super) fn new(
        tokenizer: Option<&'a Tokenizer>,
        inventory: &'a Inventory,
        merges: &'a [Merge],
    ) -> Result<Self, TrainError> {
        if let Some(tokenizer) = tokenizer {
            let bytes = 0..=u8::MAX;
            let fallbacks = bytes.filter_map(|byte| tokenizer.bpe().fallback_id(byte)).collect();
            return Ok(Self::Extended { tokenizer, fallbacks, replay: Replay::new(merges) });
        }
        if merges.is_empty() {
            return Ok(Self::Bytes(inventory.byte_ids()));
        }
        let bytes = inventory.byte_ids().iter().copied().filter(|&id| id != BOUNDARY);
        let ids = bytes.chain(merges.iter().map(|merge| merge.result));
        let no_tokens = |message: String| TrainErrorKind::Tokens { message };
        let table = TokenTable::new(ids.map(|id| (id, inventory.bytes(id))))
            .map_err(|error| no_tokens(error.to_string()))?;
        let is_long = table.max_token_bytes() > Self::MAX_SEARCHED_BYTES;
        let bpe = Bpe::new(table, &spec::Symbols::Bytes, merges, &Ranks::ByPlace, false)
            .map_err(|error| no_tokens(error.to_string()))?;
        Ok(Self::Engine(Box::new(if is_long { bpe.with_engine(Engine::Heap) } else { bpe })))
    }

    /// Gives the symbols of all words to `intake`; of each id below `n_ids`, whether it is one of them.
    pub(super) fn encode_all(
        &self,
        words: &dyn WordSource,
        n_ids: usize,
        n_threads: usize,
        intake: &mut Intake,
        mut report: impl FnMut(u64) -> Result<(), TrainError>,
    ) -> Result<Vec<bool>, TrainError> {
        let pool = super::pool(n_threads);
        let mut is_seen = vec![false; n_ids];
        let mut blocks: Vec<(Vec<u8>, Block)> = Vec::new();
        blocks.resize_with(n_threads.max(1), Default::default);
        let (mut n_filled, mut n_bytes) = (0, 0);
        let mut flush = |blocks: &mut [(Vec<u8>, Block)]| {
            let work = |(bytes, block): &mut (Vec<u8>, Block)| self.encode_block(bytes, block);
            match &pool {
                Some(pool) => pool.install(|| blocks.par_iter_mut().for_each(work)),
                None => blocks.iter_mut().for_each(work),
            }
            for (bytes, block) in blocks {
                let mut start = 0;
                for (&end, &count) in block.ends.iter().zip(&block.counts) {
                    let word = &block.symbols[start..end];
                    word.iter().filter(|&&id| id != BOUNDARY).for_each(|&id| is_seen[id as usize] = true);
                    for part in word.split(|&id| id == BOUNDARY) {
                        intake.push(part, count)?;
                    }
                    start = end;
                }
                bytes.clear();
                *block = Block::default();
            }
            Ok::<_, TrainError>(())
        };
        words.for_each(&mut |word, count| {
            let (bytes, block) = &mut blocks[n_filled];
            bytes.extend_from_slice(word);
            block.ends.push(bytes.len());
            block.counts.push(count);
            if bytes.len() >= BYTES_PER_BLOCK || block.ends.len() >= BYTES_PER_BLOCK / 4 {
                n_bytes += bytes.len() as u64;
                n_filled += 1;
                if n_filled == blocks.len() {
                    report(n_bytes)?;
                    flush(&mut blocks)?;
                    n_filled = 0;
                }
            }
            Ok(())
        })?;
        flush(&mut blocks)?;
        Ok(is_seen)
    }

    /// Turns the ends of words in `bytes` into those of their symbols.
    fn encode_block(&self, bytes: &[u8], block: &mut Block) {
        let mut scratch = Scratch::default();
        let mut start = 0;
        block.symbols.reserve(bytes.len() / 3);
        for end in &mut block.ends {
            let word_end = std::mem::replace(end, 0);
            self.encode(&bytes[start..word_end], &mut scratch, &mut block.symbols);
            *end = block.symbols.len();
            start = word_end;
        }
    }

    /// Appends the symbols of one word.
    pub(super) fn encode(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<TokenId>) {
        match self {
            Self::Bytes(ids) => {
                out.extend(word.iter().map(|&byte| ids[byte as usize]).filter(|&id| id != BOUNDARY));
            }
            Self::Engine(bpe) => bpe.encode_piece(word, out, &mut scratch.bpe),
            Self::Extended { tokenizer, fallbacks, replay } => {
                scratch.ids.clear();
                tokenizer.bpe().encode_piece(word, &mut scratch.ids, &mut scratch.bpe);
                for (at, part) in scratch.ids.split(|id| fallbacks.contains(id)).enumerate() {
                    if at > 0 {
                        out.push(BOUNDARY);
                    }
                    replay.apply(part, &mut scratch.applied, out);
                }
            }
        }
    }
}

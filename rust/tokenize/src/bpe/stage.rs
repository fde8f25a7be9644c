//! What do the merges below some rank make of a pretoken?
//!
//! The merges of all ranks are a stage, too. What long pretokens need takes longer to make than a few of them to merge without: it
//! is made once that stops being so.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokenloom_vocab::TokenId;

use super::chunks::{ChunkMerger, Chunks, Guided};
use super::linear::{LinearScratch, NoGuesses};
use super::merges::MergesBelow;
use super::pair_memo::PairMemo;
use super::pairs::{Derivations, Verdict};
use super::prefixes::Prefixes;
use super::rows::{BytePairs, MAX_RANK_BOUND, MAX_ROW_BYTES, MAX_ROWS, Rows};
use super::scan::{self, Row};
use super::{Bpe, Engine, HeapScratch, heap, linear};
use crate::Text;
use crate::cache::Missed;
use crate::prefetch::prefetch;

/// The merges of ranks below a limit, and what follows from them.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    limit: u32,
    /// By id: whether the token is what the merges of the stage make of its bytes, once somebody asked or `long` is there.
    produced: Arc<[AtomicU8]>,
    byte_pairs: OnceLock<BytePairs>,
    long: OnceLock<Arc<Long>>,
    without_long: WithoutLong,
}

/// What was done before there was what long pretokens need.
#[derive(Debug, Default)]
struct WithoutLong {
    /// How many bytes were merged.
    n_bytes: AtomicUsize,
    /// Whether a thread went to make it: the others need not wait.
    is_being_made: AtomicBool,
}

impl Clone for WithoutLong {
    /// Nothing: a clone of a stage makes its own.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What long pretokens need.
#[derive(Debug)]
pub(crate) struct Long {
    pub(crate) derivations: Derivations,
    prefixes: Prefixes,
    pub(crate) engine: Engine,
}

/// Reusable memory of merging in one stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageScratch {
    pub(crate) heap: HeapScratch,
    linear: LinearScratch,
    pairs: PairMemo,
    rows: Rows,
    chunks: Chunks,
}

/// Whether a token is what its bytes become.
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

impl Stage {
    /// The limit of the stage that has all merges.
    pub(crate) const ALL: u32 = u32::MAX;
    /// A pretoken of more bytes is worth what is quicker,
    const MAX_HEAPED_BYTES: usize = if cfg!(test) { 1 << 6 } else { 1 << 14 };
    /// and so are shorter ones once so many bytes a token of the vocabulary were merged: text that has so many soon has the ten
    /// or twenty times as many on which is lost what it takes to make it. Most code and English has as many in 30 MB.
    const HEAPED_BYTES_A_TOKEN: usize = if cfg!(test) { 0 } else { 1 };

    /// Of the merges of ranks below `limit`; ids are below `id_bound`.
    pub(crate) fn new(limit: u32, id_bound: usize) -> Self {
        let produced = (0..id_bound).map(|_| AtomicU8::new(UNKNOWN)).collect();
        let (byte_pairs, long) = (OnceLock::new(), OnceLock::new());
        Self { limit, produced, byte_pairs, long, without_long: WithoutLong::default() }
    }

    /// Whether to merge so many bytes more by the heap costs less than to make what long pretokens need, or to wait for it.
    fn prefers_heap(&self, n_bytes: usize) -> bool {
        if self.long.get().is_some() || n_bytes > Self::MAX_HEAPED_BYTES {
            return false;
        }
        let limit = Self::MAX_HEAPED_BYTES.max(Self::HEAPED_BYTES_A_TOKEN * self.produced.len());
        let WithoutLong { n_bytes: n_before, is_being_made } = &self.without_long;
        n_before.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes <= limit
            || is_being_made.swap(true, Ordering::Relaxed)
    }

    /// Whether it is known that the token is what its own bytes become.
    #[inline]
    fn knows_to_be_produced(&self, id: TokenId) -> bool {
        self.produced[id as usize].load(Ordering::Relaxed) == YES
    }
}

impl Bpe {
    /// With more tokens than this starting at one position, the linear engine's bound is worse than the heap's.
    const MAX_CANDIDATES: usize = 256;
    /// Longer pieces are quicker in the engine of long ones, once that is made.
    const MAX_SCANNED_BYTES: usize = 12;

    #[inline]
    fn merges_of(&self, stage: &Stage) -> MergesBelow<'_> {
        self.merges().below(stage.limit)
    }

    pub(crate) fn long<'a>(&self, stage: &'a Stage) -> &'a Long {
        stage.long.get_or_init(|| {
            let mut derivations = Derivations::new(
                &self.table,
                self.merges_of(stage),
                self.symbols.all(&self.table),
                |bytes| match self.by_definition(stage, &[bytes]) {
                    (ids, last) if ids.len() == 1 => last,
                    _ => None,
                },
            );
            let mut shorter = Vec::new();
            let is_reachable = |id| derivations.is_reachable(id);
            let prefixes = Prefixes::new(&self.table, is_reachable, |id, other| shorter.push((id, other)));
            shorter.into_iter().for_each(|(id, other)| derivations.set_shorter(id, other));
            let fits = prefixes.max_candidates() <= Self::MAX_CANDIDATES;
            let engine = if fits { Engine::Linear } else { Engine::Heap };
            for (id, produced) in (0..).zip(&*stage.produced) {
                produced.store(if derivations.is_reachable(id) { YES } else { NO }, Ordering::Relaxed);
            }
            Arc::new(Long { derivations, prefixes, engine })
        })
    }

    /// Whether merging leaves reachable tokens as they are where they are adjacent.
    #[inline]
    pub(crate) fn are_neighbours(
        &self,
        stage: &Stage,
        derivations: &Derivations,
        left: TokenId,
        right: TokenId,
    ) -> bool {
        let merges = self.merges_of(stage);
        merges.get(left, right).is_none()
            && match derivations.spines_agree(left, right, merges) {
                Verdict::Valid => true,
                Verdict::Invalid => false,
                Verdict::Open => self.are_neighbours_by_definition(stage, left, right),
            }
    }

    #[cold]
    fn are_neighbours_by_definition(&self, stage: &Stage, left: TokenId, right: TokenId) -> bool {
        let bytes = |id| self.table.bytes(id).unwrap_or_default();
        self.by_definition(stage, &[bytes(left), bytes(right)]).0 == [left, right]
    }

    /// What the joined parts, which are whole symbols each, become, and the last merge.
    fn by_definition(&self, stage: &Stage, parts: &[&[u8]]) -> (Vec<TokenId>, Option<(TokenId, TokenId)>) {
        let merges = self.merges_of(stage);
        if parts.iter().map(|part| part.len()).sum::<usize>() <= scan::MAX_SYMBOLS {
            let mut row = Row::new();
            parts.iter().for_each(|part| self.symbols.for_each(part, |id| row.push(id)));
            let (ids, last) = row.merge_all(merges);
            return (ids.to_vec(), last);
        }
        let (mut ids, mut heap) = (Vec::new(), HeapScratch::default());
        parts.iter().for_each(|part| self.symbols.for_each(part, |id| heap.push(id)));
        let last = heap::merge_all(merges, &mut heap, |id| ids.push(id));
        (ids, last)
    }

    /// Whether the token is what its own bytes become. Asked once, remembered for ever.
    #[inline]
    pub(crate) fn is_produced(&self, stage: &Stage, id: TokenId) -> bool {
        match stage.produced[id as usize].load(Ordering::Relaxed) {
            UNKNOWN => self.find_out_produced(stage, id),
            known => known == YES,
        }
    }

    #[cold]
    fn find_out_produced(&self, stage: &Stage, id: TokenId) -> bool {
        let is_produced = self.by_definition(stage, &[self.table.bytes(id).unwrap_or_default()]).0 == [id];
        // Whoever asks at the same time finds the same.
        stage.produced[id as usize].store(if is_produced { YES } else { NO }, Ordering::Relaxed);
        is_produced
    }

    /// Encodes those of `missed` of which nothing is known, of at most [`MAX_ROW_BYTES`] symbols, and calls `done` with each and its
    /// ids. Those whose symbols are not all tokens are passed over, and all where there are too many ranks. With `whole_first` a short one that is a token becomes
    /// that, whatever merging does.
    pub(crate) fn merge_side_by_side(
        &self,
        stage: &Stage,
        text: Text<'_>,
        missed: &mut [Missed],
        whole_first: bool,
        scratch: &mut StageScratch,
        mut done: impl FnMut(&mut Missed, &[TokenId]),
    ) {
        let (ids, are_all_bytes) = (self.symbols.of_bytes(), self.symbols.are_all_bytes());
        let id_of_byte = |byte| ids[usize::from(byte)];
        let merges = self.merges_of(stage);
        if merges.rank_bound() > MAX_RANK_BOUND {
            return;
        }
        for missed in missed.chunks_mut(MAX_ROWS) {
            let pairs = stage.byte_pairs.get_or_init(|| BytePairs::new(&self.table, merges, id_of_byte));
            scratch.rows.clear();
            let mut wholes = [None; MAX_ROWS];
            for (whole, word) in wholes.iter_mut().zip(&*missed).filter(|(_, word)| word.slot.is_unknown()) {
                *whole = self.whole().of_key(word.slot.key());
                if let Some(id) = *whole {
                    prefetch(&stage.produced, id as usize);
                }
            }
            let unknown = |(_, (word, _)): &(usize, (&mut Missed, &Option<TokenId>))| word.slot.is_unknown();
            for (at, (word, whole)) in missed.iter_mut().zip(&wholes).enumerate().filter(unknown) {
                let bytes = &text.as_bytes()[word.start..word.end];
                match *whole {
                    Some(id) if whole_first || stage.knows_to_be_produced(id) => done(word, &[id]),
                    _ if are_all_bytes || bytes.iter().all(|&byte| id_of_byte(byte).is_some()) => {
                        scratch.rows.push(at, bytes, pairs, merges, id_of_byte);
                    }
                    _ => {
                        let mut symbols = [0; MAX_ROW_BYTES];
                        let characters = text.characters(word.start..word.end);
                        if let Some(symbols) =
                            characters.and_then(|text| self.symbols.of_text(text, &mut symbols))
                        {
                            scratch.rows.push_symbols(at, symbols, merges);
                        }
                    }
                }
            }
            // What a merge makes, its bytes become wherever they are: none before it reached beyond them.
            let made = |id: TokenId| stage.produced[id as usize].store(YES, Ordering::Relaxed);
            scratch.rows.merge_all(merges, made, |at, ids| done(&mut missed[at], ids));
        }
    }

    /// What the merges of the stage make of a piece, without the look-up of the whole. Bytes without a token are left out.
    /// `scratch` is that of the stage.
    pub(crate) fn merge_within(
        &self,
        stage: &Stage,
        piece: &[u8],
        out: &mut Vec<TokenId>,
        scratch: &mut StageScratch,
    ) {
        let whole = 0..piece.len();
        self.prepare_words(stage, std::iter::once(whole.clone()), scratch);
        self.merge_word(stage, piece, whole, out, scratch);
    }

    /// Says which words of a text [`Bpe::merge_word`] will be asked for, in order; it may be asked for others as well.
    pub(crate) fn prepare_words(
        &self,
        stage: &Stage,
        words: impl Iterator<Item = Range<usize>>,
        scratch: &mut StageScratch,
    ) {
        scratch.chunks.clear();
        let is_linear = || stage.long.get().is_none_or(|long| long.engine == Engine::Linear);
        let has_rows = || self.merges_of(stage).rank_bound() <= MAX_RANK_BOUND;
        if self.engine.is_none() && self.symbols.are_all_bytes() && is_linear() && has_rows() {
            words.for_each(|word| scratch.chunks.push(word));
        }
    }

    /// The same as [`Bpe::merge_within`] for a word of a text.
    pub(crate) fn merge_word(
        &self,
        stage: &Stage,
        text: &[u8],
        word: Range<usize>,
        out: &mut Vec<TokenId>,
        scratch: &mut StageScratch,
    ) {
        let has_token = |&byte: &u8| self.byte_id(byte).is_some();
        if self.symbols.leaves_out_bytes() && !text[word.clone()].iter().all(has_token) {
            let kept: Vec<u8> = text[word].iter().copied().filter(has_token).collect();
            self.merge_known(stage, &kept, 0..kept.len(), out, scratch);
        } else {
            self.merge_known(stage, text, word, out, scratch);
        }
    }

    /// The same for bytes that all have a token.
    fn merge_known(
        &self,
        stage: &Stage,
        text: &[u8],
        word: Range<usize>,
        out: &mut Vec<TokenId>,
        scratch: &mut StageScratch,
    ) {
        let merges = self.merges_of(stage);
        let StageScratch { heap, linear, pairs, rows, chunks } = scratch;
        let ids = self.symbols.of_bytes();
        let mut merger = (!chunks.is_empty()).then(|| {
            let id_of_byte = |byte: u8| ids[usize::from(byte)];
            let pairs = stage.byte_pairs.get_or_init(|| BytePairs::new(&self.table, merges, id_of_byte));
            ChunkMerger { text, rows, pairs, merges, ids }
        });
        if let Some(merger) = &mut merger
            && let Some(tokens) = chunks.whole(&word, merger)
        {
            return out.extend_from_slice(tokens);
        }
        let piece = &text[word.clone()];
        let scans = match self.engine {
            None if stage.long.get().is_some() => piece.len() <= Self::MAX_SCANNED_BYTES,
            None | Some(Engine::Scan) => piece.len() <= scan::MAX_SYMBOLS,
            Some(_) => false,
        };
        if scans {
            let mut row = Row::new();
            self.symbols.for_each(piece, |id| row.push(id));
            out.extend_from_slice(row.merge_all(merges).0);
            return;
        }
        let engine = match self.engine {
            Some(engine) => engine,
            None if stage.prefers_heap(piece.len()) => Engine::Heap,
            None => self.long(stage).engine,
        };
        // Positions in the heap are 32 bits.
        if engine == Engine::Linear || piece.len() >= u32::MAX as usize {
            let Long { derivations, prefixes, .. } = self.long(stage);
            let is_valid = |left, right| {
                pairs.look_up(left, right, || self.are_neighbours(stage, derivations, left, right))
            };
            let fallback = |byte| self.symbols.fallback(byte);
            let tables = (prefixes, derivations);
            match merger {
                Some(merger) => {
                    let guesses = Guided { chunks, merger, word, derivations };
                    linear::encode(tables, piece, linear, out, guesses, is_valid, fallback);
                }
                None => linear::encode(tables, piece, linear, out, NoGuesses, is_valid, fallback),
            }
        } else {
            self.symbols.for_each(piece, |id| heap.push(id));
            heap::merge_all(merges, heap, |id| out.push(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::BpeScratch;
    use super::super::merges::from_all_cuts;
    use super::*;
    use crate::cache::{MAX_KEY_BYTES, Slot, pack};
    use crate::spec::{Ranks, Symbols};

    #[test]
    fn one_thread_makes_what_long_pretokens_need_and_the_others_go_on() {
        let stage = Stage::new(Stage::ALL, 300);
        assert!(stage.prefers_heap(Stage::MAX_HEAPED_BYTES - 1));
        assert!(stage.prefers_heap(1));
        let answers: Vec<bool> = (0..4).map(|_| stage.prefers_heap(1)).collect();
        assert_eq!(answers, [false, true, true, true]);
        assert!(stage.clone().prefers_heap(1), "it has merged nothing yet");
        assert!(!stage.prefers_heap(Stage::MAX_HEAPED_BYTES + 1), "it may wait");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_is_known_to_be_produced_is_what_its_bytes_become(
            tokens in prop::collection::vec(prop::collection::vec(97_u8..100, 2..6), 0..30),
            words in prop::collection::vec(prop::collection::vec(97_u8..100, 1..=MAX_KEY_BYTES), 1..60),
        ) {
            let (table, merges) = from_all_cuts(&tokens);
            let bpe = Bpe::new(table, &Symbols::Bytes, &merges, &Ranks::ByPlace, false).unwrap();
            let text = words.concat();
            let mut end = 0;
            let mut missed: Vec<Missed> = words
                .iter()
                .map(|word| {
                    let start = end;
                    end += word.len();
                    Missed { at: 0, start, end, slot: Slot::unknown(pack(word)) }
                })
                .collect();
            let mut n_done = 0;
            bpe.encode_side_by_side((&*text).into(), &mut missed, &mut BpeScratch::default(), |_, _| n_done += 1);
            prop_assert_eq!(n_done, words.len());
            for (id, bytes) in bpe.table.iter_answering().filter(|&(id, _)| bpe.all.knows_to_be_produced(id)) {
                prop_assert_eq!(bpe.by_definition(&bpe.all, &[bytes]).0, [id]);
            }
        }
    }
}

//! What did the finished streams say?
//!
//! Two generations of one suffix automaton each. Finished streams go into the young one; before it would pass half of
//! the byte budget, the old generation is dropped, the young one becomes old, and a new one begins. So the newest half
//! of the budget is always there, eviction is O(1), and the memory is bounded however long the process runs. A
//! document is written in slices, so that no reader waits for a long one; slices of several documents may interleave.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tokenloom_vocab::TokenId;

use super::automaton::{Automaton, DocumentEnd, END_OF_DOCUMENT, Match};

/// The tokens written under one lock: about ten microseconds.
const SLICE_TOKENS: usize = 32;

/// Finished streams, shared by all streams of one drafter.
#[derive(Debug)]
pub(crate) struct History {
    max_depth: usize,
    max_bytes: usize,
    generations: RwLock<Generations>,
}

#[derive(Debug)]
pub(crate) struct Generations {
    pub(crate) young: Generation,
    pub(crate) old: Generation,
    /// How often a generation was dropped.
    epoch: u64,
    n_documents: u64,
}

#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) automaton: Automaton,
    /// `(document, start)` of each run of tokens that belong to one document.
    runs: Vec<(u64, u32)>,
}

/// A document on its way into the history.
#[derive(Debug)]
pub(crate) struct HistoryWriter {
    tokens: Vec<TokenId>,
    n_written: usize,
    document: u64,
    epoch: u64,
    end: DocumentEnd,
}

/// What a stream matches in both generations, and for which state of them and of the stream that is true.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistoryCursor {
    version: (u64, usize),
    n_seen: usize,
    pub(crate) young: Match,
    pub(crate) old: Match,
}

impl Generation {
    fn new(max_depth: usize) -> Self {
        Self { automaton: Automaton::new(max_depth), runs: Vec::new() }
    }

    fn n_bytes(&self) -> usize {
        self.automaton.n_bytes() + self.runs.capacity() * size_of::<(u64, u32)>()
    }

    /// The documents in the order in which they were begun.
    fn documents(&self) -> Vec<Vec<TokenId>> {
        let text = self.automaton.text();
        let mut documents: BTreeMap<u64, Vec<TokenId>> = BTreeMap::new();
        for (i, &(document, start)) in self.runs.iter().enumerate() {
            let end = self.runs.get(i + 1).map_or(text.len(), |&(_, next)| next as usize);
            let tokens = text[start as usize..end].iter().filter(|&&token| token != END_OF_DOCUMENT);
            documents.entry(document).or_default().extend(tokens);
        }
        documents.into_values().collect()
    }
}

impl History {
    pub(crate) fn new(max_depth: usize, max_bytes: usize) -> Self {
        let [young, old] = std::array::from_fn(|_| Generation::new(max_depth));
        let generations = RwLock::new(Generations { young, old, epoch: 0, n_documents: 0 });
        Self { max_depth, max_bytes, generations }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a document; nothing is written yet.
    pub(crate) fn writer(&self, tokens: Vec<TokenId>) -> HistoryWriter {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        generations.n_documents += 1;
        let (document, epoch) = (generations.n_documents, generations.epoch);
        HistoryWriter { tokens, n_written: 0, document, epoch, end: DocumentEnd::default() }
    }

    /// Writes the next slice; false when the document is complete.
    pub(crate) fn write_slice(&self, writer: &mut HistoryWriter) -> bool {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let rest = &writer.tokens[writer.n_written..];
        let slice = &rest[..rest.len().min(SLICE_TOKENS)];
        if !generations.make_room(slice.len() + 1, self.max_depth, self.max_bytes / 2) {
            return false;
        }
        if generations.epoch != writer.epoch {
            (writer.epoch, writer.end) = (generations.epoch, DocumentEnd::default());
        }
        let Generation { automaton, runs } = &mut generations.young;
        if runs.last().is_none_or(|&(document, _)| document != writer.document) {
            runs.push((writer.document, automaton.n_tokens() as u32));
        }
        for &token in slice {
            automaton.push(&mut writer.end, token);
        }
        writer.n_written += slice.len();
        let is_complete = writer.n_written == writer.tokens.len();
        if is_complete {
            automaton.push(&mut writer.end, END_OF_DOCUMENT);
        }
        !is_complete
    }

    /// All documents, oldest generation first.
    pub(crate) fn documents(&self) -> Vec<Vec<TokenId>> {
        let generations = self.read();
        let mut documents = generations.old.documents();
        documents.extend(generations.young.documents());
        documents
    }
}

impl Generations {
    pub(crate) fn n_bytes(&self) -> usize {
        self.young.n_bytes() + self.old.n_bytes()
    }

    pub(crate) fn n_tokens(&self) -> usize {
        self.young.automaton.n_tokens() + self.old.automaton.n_tokens()
    }

    /// Makes sure that the young generation can take `n_tokens` more; false if even an empty one cannot.
    fn make_room(&mut self, n_tokens: usize, max_depth: usize, max_bytes: usize) -> bool {
        let fits = |generation: &Generation| {
            let n_run_bytes = 2 * (generation.runs.len() + 1) * size_of::<(u64, u32)>();
            let automaton = &generation.automaton;
            automaton.n_bytes_with(n_tokens) + n_run_bytes <= max_bytes
                && automaton.n_tokens() + n_tokens <= Automaton::MAX_TOKENS
        };
        if fits(&self.young) {
            return true;
        }
        let empty = Generation::new(max_depth);
        if !fits(&empty) {
            return false;
        }
        self.old = std::mem::replace(&mut self.young, empty);
        self.epoch += 1;
        true
    }

    /// Brings a stream's matches up to date: steps over its new tokens, or searches the longest suffix again where the
    /// generations changed.
    pub(crate) fn follow(&self, cursor: &mut HistoryCursor, text: &[TokenId]) {
        let (young, old) = (&self.young.automaton, &self.old.automaton);
        let version = (self.epoch, young.n_tokens());
        let n_new = text.len() - cursor.n_seen;
        if cursor.version == version && n_new < young.max_depth() {
            for &token in &text[cursor.n_seen..] {
                cursor.young = young.advance(cursor.young, token);
                cursor.old = old.advance(cursor.old, token);
            }
        } else {
            (cursor.young, cursor.old) = (young.find(text), old.find(text));
        }
        (cursor.version, cursor.n_seen) = (version, text.len());
    }
}

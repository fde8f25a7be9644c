//! How does a long pretoken fall into words?
//!
//! Cut it where no merge crosses: its parts are words, which text repeats, so what they become is remembered. Where merges
//! reach across words only from some rank on (SuperBPE and its kin), cut where no merge *below that rank* crosses. Those
//! merges run first, so they make of the text what they make of each word by itself, which is remembered; then the
//! tokens of the words are what the other merges start from. These meet few of the places between tokens; runs of
//! tokens in which they may are merged by the definition. A text of whose words nothing is left to merge has them as
//! pretokens. The proof is in `docs/concepts/tokenizer.md`; it holds for any
//! table and any rank. O(n) but for words without cuts and long runs, which take what their engines take.

use std::ops::Range;
use std::sync::OnceLock;

use tokenloom_vocab::TokenId;

use super::contexts::Contexts;
use super::cuts::{Cuts, FirstRanks};
use super::heap::{self, HeapScratch};
use super::scan::{self, Row};
use super::seams::Seams;
use super::stage::{Stage, StageScratch};
use super::{Bpe, BpeScratch};
use crate::cache::{self, Missed, PretokenCache, Slot};
use crate::pretokenize::Ends;

/// Where words end, and what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    cuts: Cuts,
    /// The merges within words and the places that others cross, where there are others.
    across: Option<(Stage, Seams)>,
    /// Where long words may be cut as well, once there is one.
    contexts: OnceLock<Contexts>,
}

/// Reusable memory, and what words became the last time.
#[derive(Clone, Debug, Default)]
pub(crate) struct WordsScratch {
    cache: PretokenCache,
    stage: StageScratch,
    words: Vec<Word>,
    places: Vec<cache::Place>,
    found: Vec<Slot>,
    missed: Vec<Missed>,
    ready: Vec<TokenId>,
    tokens: Vec<TokenId>,
    /// How many of the tokens are left from the words before.
    n_seen: usize,
    /// After how many tokens a piece ends.
    piece_ends: Vec<usize>,
    /// By token: whether a merge may cross before it.
    crossed: Vec<bool>,
    /// Where it may.
    crossings: Vec<usize>,
}

/// A word of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) ends_piece: bool,
}

/// Where the next word begins: in which piece, and at which byte of the text.
pub(crate) struct Place {
    pub(crate) piece: usize,
    pub(crate) start: usize,
}

/// So many words are looked up at once.
const MAX_WORDS: usize = 256;

impl Words {
    fn new(cuts: Cuts, across: Option<(Stage, Seams)>) -> Self {
        Self { cuts, across, contexts: OnceLock::new() }
    }

    /// Whether the piece need not be merged as a whole.
    pub(crate) fn can_cut(&self, piece: &[u8]) -> bool {
        self.across.is_some() || self.cuts.has_any(piece)
    }
}

impl Bpe {
    /// A transition below this part of all ranks leaves little to the words.
    const MIN_TRANSITION: usize = 16;

    pub(crate) fn words(&self) -> &Words {
        self.words.get_or_init(|| {
            let ranks = FirstRanks::new(&self.table, self.merges(), &self.symbols);
            let is_late = |&rank: &u32| rank as usize >= self.merges().len() / Self::MIN_TRANSITION;
            self.words_of(&ranks, ranks.transition().filter(is_late).unwrap_or(Stage::ALL)).into()
        })
    }

    pub(crate) fn words_below(&self, limit: u32) -> Words {
        self.words_of(&FirstRanks::new(&self.table, self.merges(), &self.symbols), limit)
    }

    fn words_of(&self, ranks: &FirstRanks, limit: u32) -> Words {
        let has_more = limit < Stage::ALL;
        match has_more.then(|| Seams::new(&self.table, self.merges(), limit)).flatten() {
            Some(seams) => {
                let stage = Stage::new(limit, self.table.id_bound());
                Words::new(Cuts::new(ranks, limit), Some((stage, seams)))
            }
            None => Words::new(Cuts::new(ranks, Stage::ALL), None),
        }
    }

    /// Whether merges reach from one word into the next, so that pretokens are encoded best by [`Bpe::encode_joined`].
    pub(crate) fn joins_words(&self) -> bool {
        self.engine.is_none() && !self.ignore_merges && self.words().across.is_some()
    }

    /// Appends the ids of pretokens of `text` that follow each other, none of them empty.
    pub(crate) fn encode_joined(
        &self,
        text: &[u8],
        pieces: &[Range<usize>],
        out: &mut Vec<TokenId>,
        scratch: &mut BpeScratch,
    ) {
        self.merge_words(self.words(), text, pieces, out, scratch);
    }

    /// Whether what merging makes of a text is what it makes of the words that [`Bpe::word_ends`] finds.
    pub(crate) fn falls_into_words(&self) -> bool {
        self.engine.is_none()
            && !self.ignore_merges
            && !self.merges_by_bytes()
            && self.words().across.is_none()
    }

    /// Appends the ends of words of `text` from byte `start` on, where one starts: some, or all that are left.
    pub(crate) fn word_ends(&self, text: &str, start: usize, ends: &mut Ends) {
        let Words { cuts, contexts, .. } = self.words();
        let starts_from_chars = self.symbols.are_characters();
        cuts.ends(text.as_bytes(), start, ends, |span, ends| {
            if starts_from_chars {
                contexts.get_or_init(|| Contexts::new(&self.table, self.merges())).cuts(text, span, ends);
            }
        });
    }

    /// Whether [`Bpe::encode_together`] makes of a long piece what [`Bpe::encode_piece`] makes of it.
    pub(crate) fn can_encode_together(&self, piece: &[u8]) -> bool {
        self.engine.is_none()
            && !self.merges_by_bytes()
            && !self.is_whole_first(piece)
            && self.words().across.is_none()
            && self.words().can_cut(piece)
    }

    /// Appends the ids of long pieces for which that holds, and after how many ids each ends.
    pub(crate) fn encode_together(
        &self,
        text: &[u8],
        pieces: &[Range<usize>],
        out: &mut Vec<TokenId>,
        ends: &mut Vec<usize>,
        scratch: &mut BpeScratch,
    ) {
        let mut place = Place { piece: 0, start: pieces.first().map_or(0, |piece| piece.start) };
        while place.piece < pieces.len() {
            let memory = &mut **scratch.words.get_or_insert_default();
            self.find_words(self.words(), text, pieces, &mut place, memory);
            self.recall_words(&self.all, text, memory, out);
            ends.extend_from_slice(&memory.piece_ends);
        }
    }

    /// What merging makes of pieces, by their words.
    pub(crate) fn merge_words(
        &self,
        words: &Words,
        text: &[u8],
        pieces: &[Range<usize>],
        out: &mut Vec<TokenId>,
        scratch: &mut BpeScratch,
    ) {
        let memory = &mut **scratch.words.get_or_insert_default();
        let mut tokens = std::mem::take(&mut memory.tokens);
        let mut place = Place { piece: 0, start: pieces.first().map_or(0, |piece| piece.start) };
        while place.piece < pieces.len() {
            self.find_words(words, text, pieces, &mut place, memory);
            match &words.across {
                None => self.recall_words(&self.all, text, memory, out),
                Some((stage, seams)) => {
                    self.recall_words(stage, text, memory, &mut tokens);
                    self.join(seams, &mut tokens, memory, out, &mut scratch.all.heap);
                }
            }
        }
        memory.tokens = tokens;
    }

    /// Finds some words from `place` on and asks for what is remembered of them.
    fn find_words(
        &self,
        words: &Words,
        text: &[u8],
        pieces: &[Range<usize>],
        place: &mut Place,
        memory: &mut WordsScratch,
    ) {
        memory.words.clear();
        while place.piece < pieces.len() && memory.words.len() < MAX_WORDS {
            words.cuts.words(text, pieces, place, MAX_WORDS, &mut memory.words);
        }
        let WordsScratch { cache, words, places, found, missed, .. } = memory;
        let spans = words.iter().map(|word| (word.start, word.end));
        cache.find_places(text, words.len(), spans, places);
        found.clear();
        missed.clear();
        for ((at, &Word { start, end, .. }), &place) in words.iter().enumerate().zip(&*places) {
            let slot = *cache.at(place);
            if place.key == [0; 2] {
                cache.prefetch_long(&text[start..end]);
            } else if slot.is_unknown() {
                self.whole().prefetch(place.key);
                missed.push(Missed { at, start, end, slot: Slot::unknown(place.key) });
            }
            found.push(slot);
        }
    }

    /// Appends what the stage makes of the words that were found. Notes after how many tokens a piece ends.
    fn recall_words(&self, stage: &Stage, text: &[u8], memory: &mut WordsScratch, out: &mut Vec<TokenId>) {
        let WordsScratch { cache, words, found, missed, ready, piece_ends, .. } = memory;
        self.merge_side_by_side(stage, text.into(), missed, false, &mut memory.stage, |missed, ids| {
            found[missed.at] = cache.keep(missed.slot.key(), ids);
        });
        let is_merged = |(word, slot): &(&Word, &Slot)| {
            slot.key() == [0; 2] && cache.long(&text[word.start..word.end]).is_none()
        };
        let merged = words.iter().zip(&*found).filter(is_merged);
        self.prepare_words(stage, merged.map(|(word, _)| word.start..word.end), &mut memory.stage);
        ready.resize(4 * MAX_WORDS, 0);
        piece_ends.clear();
        let mut n_ready = 0;
        for (word, slot) in words.iter().zip(&*found) {
            if let Some(n_ids) = slot.n_ids()
                && let Some(place) = ready.get_mut(n_ready..).and_then(<[_]>::first_chunk_mut)
            {
                // All four, whatever counts: a copy of fixed size.
                *place = slot.ids;
                n_ready += n_ids;
            } else {
                out.extend_from_slice(&ready[..n_ready]);
                n_ready = 0;
                let bytes = &text[word.start..word.end];
                if !cache.recall(bytes, out) {
                    let n_before = out.len();
                    match self.whole().get(bytes) {
                        Ok(Some(id)) if self.is_produced(stage, id) => out.push(id),
                        _ => self.merge_word(stage, text, word.start..word.end, out, &mut memory.stage),
                    }
                    cache.insert(bytes, &out[n_before..]);
                }
            }
            if word.ends_piece {
                piece_ends.push(out.len() + n_ready);
            }
        }
        out.extend_from_slice(&ready[..n_ready]);
    }

    /// Merges the runs of `tokens` that are complete, appends the result to `out` and takes them away.
    fn join(
        &self,
        seams: &Seams,
        tokens: &mut Vec<TokenId>,
        memory: &mut WordsScratch,
        out: &mut Vec<TokenId>,
        scratch: &mut HeapScratch,
    ) {
        let WordsScratch { n_seen, piece_ends, crossed, crossings, .. } = memory;
        // No jumps where a guess is as often wrong as right: flags first, then the places where they are set.
        let first = (*n_seen).max(1);
        crossed.resize(tokens.len() + 1, false);
        for (flag, pair) in crossed[first..].iter_mut().zip(tokens[first - 1..].windows(2)) {
            *flag = seams.may_cross(pair[0], pair[1]);
        }
        piece_ends.iter().for_each(|&end| crossed[end] = false);
        crossings.resize(tokens.len() + 1, 0);
        let mut n_crossings = 0;
        for (at, &is_crossed) in crossed[..tokens.len()].iter().enumerate().skip(first) {
            crossings[n_crossings] = at;
            n_crossings += usize::from(is_crossed);
        }
        for &at in &crossings[..n_crossings] {
            self.merges().prefetch(tokens[at - 1], tokens[at]);
        }
        // What was left from before is one run.
        let mut run = 0..*n_seen;
        let mut done = 0;
        for &at in &crossings[..n_crossings] {
            if at != run.end {
                if run.len() > 1 {
                    out.extend_from_slice(&tokens[done..run.start]);
                    self.merge_run(&tokens[run.clone()], out, scratch);
                    done = run.end;
                }
                run.start = at - 1;
            }
            run.end = at + 1;
        }
        let has_ended = piece_ends.last() == Some(&tokens.len());
        if run.len() > 1 && (has_ended || run.end < tokens.len()) {
            out.extend_from_slice(&tokens[done..run.start]);
            self.merge_run(&tokens[run.clone()], out, scratch);
            done = run.end;
        }
        // The last run may go on in the words to come.
        let open = match has_ended {
            true => tokens.len(),
            false if run.end == tokens.len() && run.len() > 1 => run.start,
            false => tokens.len().saturating_sub(1),
        };
        out.extend_from_slice(&tokens[done..open]);
        tokens.drain(..open);
        *n_seen = tokens.len();
    }

    /// What all merges make of tokens.
    #[inline]
    fn merge_run(&self, tokens: &[TokenId], out: &mut Vec<TokenId>, scratch: &mut HeapScratch) {
        match *tokens {
            [id] => out.push(id),
            [left, right] => match self.merges().get(left, right) {
                Some((_, id)) => out.push(id),
                None => out.extend_from_slice(tokens),
            },
            _ if tokens.len() <= scan::MAX_SYMBOLS => {
                let mut row = Row::new();
                tokens.iter().for_each(|&id| row.push(id));
                out.extend_from_slice(row.merge_all(self.merges().below(Stage::ALL)).0);
            }
            _ => {
                tokens.iter().for_each(|&id| scratch.push(id));
                heap::merge_all(self.merges().below(Stage::ALL), scratch, |id| out.push(id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Engine;
    use super::super::merges::from_all_cuts;
    use super::*;
    use crate::spec::{Merge, Ranks, Symbols};
    use tokenloom_vocab::TokenTable;

    /// Bytes, and words that may be merged from each of their cuts, in this order.
    fn model(words: &[Vec<u8>]) -> Bpe {
        let (table, merges) = from_all_cuts(words);
        Bpe::new(table, &Symbols::Bytes, &merges, &Ranks::ByPlace, false).unwrap()
    }

    /// Characters, and words of them that may be merged from one of their cuts, in this order. One character is no token.
    fn model_of_chars(words: &[(Vec<usize>, usize)]) -> Bpe {
        let mut tokens: Vec<Vec<usize>> = (0..CHARS.len() - 1).map(|c| vec![c]).collect();
        for (word, _) in words {
            if !tokens.contains(word) {
                tokens.push(word.clone());
            }
        }
        let id = |word: &[usize]| tokens.iter().position(|token| token == word).map(|id| id as TokenId);
        let merges: Vec<Merge> = words
            .iter()
            .filter_map(|(word, cut)| {
                let (left, right) = word.split_at(1 + cut % (word.len() - 1));
                Some(Merge { left: id(left)?, right: id(right)?, result: id(word)? })
            })
            .collect();
        let byte_tokens: Vec<TokenId> = (1000..1256).collect();
        let bytes = byte_tokens.iter().map(|&id| (id, vec![(id - 1000) as u8]));
        let spelled = tokens.iter().map(|token| spell(token).into_bytes());
        let table = TokenTable::with_hidden((0..).zip(spelled).chain(bytes), &byte_tokens).unwrap();
        Bpe::new(table, &Symbols::Characters { byte_tokens }, &merges, &Ranks::ByPlace, false).unwrap()
    }

    const CHARS: [&str; 5] = ["a", " ", "é", "あ", "い"];

    fn spell(word: &[usize]) -> String {
        word.iter().map(|&at| CHARS[at]).collect()
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![4 => Just(b'a'), 4 => Just(b'b'), 3 => Just(b' '), 1 => Just(b'c')]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn words_of_a_text_become_what_they_become_together(
            words in prop::collection::vec((prop::collection::vec(0..CHARS.len() - 1, 2..5), 0_usize..4), 0..60),
            text in prop::collection::vec(prop_oneof![60 => 0..CHARS.len() - 1, 1 => Just(CHARS.len() - 1)], 1..900),
        ) {
            let bpe = model_of_chars(&words);
            let heap = bpe.clone().with_engine(Engine::Heap);
            let text = spell(&text);
            let (mut ids, mut expected) = (Vec::new(), Vec::new());
            heap.encode_piece(text.as_bytes(), &mut expected, &mut BpeScratch::default());
            let (mut start, mut ends) = (0, Ends::default());
            while start < text.len() {
                ends.clear();
                bpe.word_ends(&text, start, &mut ends);
                for &end in ends.iter() {
                    prop_assert!(start < end);
                    heap.encode_piece(&text.as_bytes()[start..end], &mut ids, &mut BpeScratch::default());
                    start = end;
                }
            }
            prop_assert_eq!(start, text.len());
            prop_assert_eq!(ids, expected);
        }

        #[test]
        fn pieces_joined_become_what_each_becomes_alone(
            words in prop::collection::vec(prop::collection::vec(byte(), 2..6), 0..30),
            pieces in prop::collection::vec(prop::collection::vec(byte(), 1..60), 0..40),
            transition in 0_u32..40,
        ) {
            let bpe = model(&words);
            let heap = bpe.clone().with_engine(Engine::Heap);
            let by_words = bpe.with_transition(transition);
            let (mut text, mut spans, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for piece in &pieces {
                spans.push(text.len()..text.len() + piece.len());
                text.extend_from_slice(piece);
                heap.encode_piece(piece, &mut expected, &mut BpeScratch::default());
            }
            let mut scratch = BpeScratch::default();
            for _ in 0..2 {
                let mut ids = Vec::new();
                by_words.encode_joined(&text, &spans, &mut ids, &mut scratch);
                prop_assert_eq!(&ids, &expected);
            }
        }
    }
}

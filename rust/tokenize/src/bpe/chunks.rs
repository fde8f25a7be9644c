//! What are the tokens of long words, most likely?
//!
//! The linear engine goes from token to token and waits for memory at each. Merging side by side waits less, but takes short
//! words only. So long words are cut into chunks, between bytes that few merges cross; the chunks of all of them are merged
//! side by side, and what becomes of them is what the linear engine tries first. Inside a chunk every pair is valid, as it
//! was merged by the definition: one pair a chunk is left to check. Where that one is not valid the search goes its own
//! way until it meets the tokens of a chunk again. Guesses change the order in which it tries, never what it finds.
//!
//! Runs that have no such bytes, as those of one character, have no guesses for a while. O(1) a byte, whatever the guesses
//! are worth.

use std::ops::Range;

use tokenloom_vocab::TokenId;

use super::linear::{Guess, Guesses};
use super::merges::MergesBelow;
use super::pairs::Derivations;
use super::rows::{BytePairs, MAX_ROW_BYTES, MAX_ROWS, Rows};

/// Where a word is longer than a row, its chunks end within these bytes,
const CHUNK_ENDS: Range<usize> = 18..32;
/// where it has the merges of the latest ranks only: of so many parts of all ranks all but the first.
const RANK_PARTS: usize = 16;
/// Where a run has no such place, so many bytes go without guesses.
const UNKNOWN_BYTES: usize = 256;

/// Words of a text, and the chunks of some of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    words: Vec<Range<usize>>,
    /// The first of the words that goes on behind the chunks.
    n_words_done: usize,
    chunks: Vec<Chunk>,
    /// Where the chunks end.
    end: usize,
    /// The chunk that was asked for last.
    last: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    span: Range<usize>,
    n_ids: usize,
    ids: [TokenId; MAX_ROW_BYTES],
}

impl Chunk {
    fn ids(&self) -> &[TokenId] {
        &self.ids[..self.n_ids]
    }
}

/// What merging chunks takes.
pub(crate) struct ChunkMerger<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) rows: &'a mut Rows,
    pub(crate) pairs: &'a BytePairs,
    pub(crate) merges: MergesBelow<'a>,
    /// By byte: its token. All have one.
    pub(crate) ids: &'a [Option<TokenId>; 256],
}

impl Chunks {
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.chunks.clear();
        (self.n_words_done, self.end, self.last) = (0, 0, 0);
    }

    /// Whether no word was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Adds a word of the text, behind the others.
    pub(crate) fn push(&mut self, word: Range<usize>) {
        self.words.push(word);
    }

    /// The tokens of a word, if it is one chunk.
    pub(crate) fn whole(&mut self, word: &Range<usize>, merger: &mut ChunkMerger<'_>) -> Option<&[TokenId]> {
        let chunk = self.at(word.start, merger)?;
        (chunk.span == *word).then(|| chunk.ids())
    }

    /// The chunk in which a byte is. The bytes that are asked for grow, or lie a little before.
    #[inline]
    fn at(&mut self, at: usize, merger: &mut ChunkMerger<'_>) -> Option<&Chunk> {
        if at >= self.end {
            self.merge_from(at, merger);
        }
        while self.chunks.get(self.last + 1).is_some_and(|next| next.span.start <= at) {
            self.last += 1;
        }
        while self.last > 0 && self.chunks[self.last].span.start > at {
            self.last -= 1;
        }
        self.chunks.get(self.last).filter(|chunk| chunk.span.contains(&at))
    }

    /// Makes the chunks from a byte on, as many as are merged at once.
    fn merge_from(&mut self, at: usize, merger: &mut ChunkMerger<'_>) {
        let Self { words, n_words_done, chunks, end, last } = self;
        let ChunkMerger { text, rows, pairs, merges, ids } = merger;
        chunks.clear();
        rows.clear();
        (*end, *last) = (usize::MAX, 0);
        let min_rank = (merges.rank_bound() / RANK_PARTS) as u32;
        for word in &words[*n_words_done..] {
            let mut start = at.max(word.start);
            while start < word.end {
                if chunks.len() == MAX_ROWS {
                    *end = start;
                    return merge_rows(chunks, rows, *merges);
                }
                let Some(end) = chunk_end(text, start..word.end, pairs, min_rank) else {
                    start += UNKNOWN_BYTES;
                    continue;
                };
                let span = start..end;
                rows.push(chunks.len(), &text[span.clone()], pairs, *merges, |byte| ids[usize::from(byte)]);
                chunks.push(Chunk { span, n_ids: 0, ids: [0; MAX_ROW_BYTES] });
                start = end;
            }
            *n_words_done += 1;
        }
        merge_rows(chunks, rows, *merges);
    }
}

fn merge_rows(chunks: &mut [Chunk], rows: &mut Rows, merges: MergesBelow<'_>) {
    let done = |at: usize, tokens: &[TokenId]| {
        let Chunk { n_ids, ids, .. } = &mut chunks[at];
        ids[..tokens.len()].copy_from_slice(tokens);
        *n_ids = tokens.len();
    };
    rows.merge_all(merges, |_| (), done);
}

/// Where a chunk ends that begins with the span: at its end, or where merges cross only late.
fn chunk_end(text: &[u8], span: Range<usize>, pairs: &BytePairs, min_rank: u32) -> Option<usize> {
    if span.len() <= MAX_ROW_BYTES {
        return Some(span.end);
    }
    let ends = CHUNK_ENDS.map(|n_bytes| span.start + n_bytes);
    let (rank, end) = ends.map(|end| (pairs.first_rank(text[end - 1], text[end]), end)).max()?;
    (rank >= min_rank).then_some(end)
}

/// The guesses for a word.
pub(crate) struct Guided<'a, 'b> {
    pub(crate) chunks: &'a mut Chunks,
    pub(crate) merger: ChunkMerger<'b>,
    pub(crate) word: Range<usize>,
    pub(crate) derivations: &'a Derivations,
}

impl Guesses for Guided<'_, '_> {
    #[inline]
    fn from(&mut self, at: usize) -> Option<Guess<'_>> {
        let (start, at) = (self.word.start, self.word.start + at);
        let chunk = self.chunks.at(at, &mut self.merger)?;
        let (mut n_ids, mut reached) = (0, chunk.span.start);
        while reached < at {
            reached += self.derivations.n_bytes(chunk.ids[n_ids]);
            n_ids += 1;
        }
        (reached == at).then(|| Guess { tokens: &chunk.ids()[n_ids..], end: chunk.span.end - start })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merges::from_all_cuts;
    use super::super::{Bpe, BpeScratch, Engine};
    use super::*;
    use crate::spec::{Ranks, Symbols};

    fn letters(lengths: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"abcd"[..]), lengths)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn long_words_become_what_the_definition_makes_of_them(
            words in prop::collection::vec(letters(2..7), 0..40),
            texts in prop::collection::vec(letters(1..700), 1..4),
        ) {
            let (table, merges) = from_all_cuts(&words);
            let bpe = Bpe::new(table, &Symbols::Bytes, &merges, &Ranks::ByPlace, false).unwrap();
            let heap = bpe.clone().with_engine(Engine::Heap);
            let mut scratch = BpeScratch::default();
            for text in &texts {
                let (mut ids, mut expected) = (Vec::new(), Vec::new());
                bpe.encode_piece(text, &mut ids, &mut scratch);
                heap.encode_piece(text, &mut expected, &mut scratch);
                prop_assert_eq!(&ids, &expected);
            }
        }
    }
}

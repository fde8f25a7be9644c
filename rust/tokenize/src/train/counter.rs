//! How is a corpus cut into words and counted?
//!
//! Each *unit* (a document, or a line with its ending) is pretokenized by itself, once for every cut: SuperBPE
//! asks for two cuts of one corpus, and a corpus may be a stream that is read once. Bytes that are not UTF-8 are words
//! of their own, one for each maximal run, as in encoding. Where a tokenizer is extended, its added tokens cut the unit
//! first and its normalizers apply. The units of a call are shared out to threads by size; every thread has its own
//! counts, which are added up at the end, so the sums do not depend on the threads.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use unicode_categories::UnicodeCategories;

use super::{WordCounts, pool};
use crate::encode::{Part, Run, Utf8Runs};
use crate::pretokenize::{Ends, Pretokenizers};
use crate::spec::{Pretokenizer, SplitBehavior, SplitPattern};
use crate::{AllowedSpecial, BuildError, EncodeError, Text, Tokenizer};

/// Counts the words of a corpus that is given piece by piece.
#[derive(Debug)]
pub struct WordCounter {
    cuts: Cuts,
    /// The counts of each thread, one for each cut.
    shards: Vec<Vec<WordCounts>>,
    pool: Option<rayon::ThreadPool>,
}

/// Between the words of a run; no byte of UTF-8.
pub const RUN_SEPARATOR: u8 = 0xFF;

#[derive(Debug)]
struct Cuts {
    cuts: Vec<Pretokenizers>,
    /// The runs of words with letters of the first cut are counted, too, behind all cuts.
    counts_runs: bool,
    /// The one that is extended.
    tokenizer: Option<Arc<Tokenizer>>,
}

/// The pretokenizers of a tokenizer that was trained with `patterns`: one after the other, each isolates its matches.
pub fn pretokenizers_of<P: AsRef<str>>(patterns: &[P]) -> Vec<Pretokenizer> {
    let split = |pattern: &P| Pretokenizer::Split {
        pattern: SplitPattern::Regex(pattern.as_ref().to_owned()),
        behavior: SplitBehavior::Isolated,
        invert: false,
    };
    let byte_level = Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: false };
    patterns.iter().map(split).chain([byte_level]).collect()
}

impl WordCounter {
    /// Makes each of `cuts` (see [`pretokenizers_of`]) of the texts that `tokenizer`, if there is one, would cut. A cut
    /// that is none is that of the tokenizer. Counts on `n_threads` threads of its own. With `counts_runs` there is one
    /// more table, of the maximal runs of two or more words of the first cut that hold letters, joined by
    /// [`RUN_SEPARATOR`].
    ///
    /// # Errors
    /// [`BuildErrorKind::Pattern`](crate::BuildErrorKind::Pattern) if a pattern does not compile.
    pub fn new<P: AsRef<str>>(
        cuts: &[Option<Vec<P>>],
        tokenizer: Option<Arc<Tokenizer>>,
        counts_runs: bool,
        n_threads: usize,
    ) -> Result<Self, BuildError> {
        let n_shards = n_threads.max(1);
        let compile = |cut: &Option<Vec<P>>| match (cut, &tokenizer) {
            (Some(patterns), _) => Pretokenizers::new(&pretokenizers_of(patterns)),
            (None, Some(tokenizer)) => Ok(tokenizer.pretokenizers.clone()),
            (None, None) => Pretokenizers::new(&[]),
        };
        let compiled = cuts.iter().map(compile).collect::<Result<_, _>>()?;
        let n_tables = cuts.len() + usize::from(counts_runs);
        Ok(Self {
            cuts: Cuts { cuts: compiled, counts_runs, tokenizer },
            shards: vec![vec![WordCounts::new(); n_tables]; n_shards],
            pool: pool(n_shards),
        })
    }

    /// Counts the words of each unit as if it stood there `weight` times.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern) if a pattern gives up on a unit.
    pub fn add(&mut self, units: &[&[u8]], weight: u64) -> Result<(), EncodeError> {
        let Self { cuts, shards, pool } = self;
        let n_bytes: usize = units.iter().map(|unit| unit.len() + 1).sum();
        let per_shard = n_bytes.div_ceil(shards.len()).max(1);
        let mut rest = units;
        let mut jobs: Vec<(&mut Vec<WordCounts>, &[&[u8]])> = Vec::new();
        for counts in shards {
            let mut n_taken_bytes = 0;
            let is_taken = |unit: &&&[u8]| {
                let is_taken = n_taken_bytes < per_shard;
                n_taken_bytes += unit.len() + 1;
                is_taken
            };
            let (taken, left) = rest.split_at(rest.iter().take_while(is_taken).count());
            rest = left;
            jobs.push((counts, taken));
        }
        let work = |(counts, units): (&mut Vec<WordCounts>, &[&[u8]])| {
            let mut ends = Ends::default();
            units.iter().try_for_each(|unit| cuts.count(unit, weight, &mut ends, counts))
        };
        match pool {
            Some(pool) => pool.install(|| jobs.into_par_iter().map(work).collect()),
            None => jobs.into_iter().try_for_each(work),
        }
    }

    /// The lines of `text`, each with its ending, as units.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern) if a pattern gives up on a line.
    pub fn add_lines(&mut self, text: &[u8], weight: u64) -> Result<(), EncodeError> {
        let mut lines = Vec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text).map(|at| at + 1).chain([text.len()]) {
            lines.push(&text[start..end]);
            start = end;
        }
        self.add(&lines, weight)
    }

    /// The memory of the counts.
    pub fn n_bytes(&self) -> usize {
        self.shards.iter().flatten().map(WordCounts::n_bytes_held).sum()
    }

    /// Takes out the counts of each cut; the counter starts anew.
    pub fn finish(&mut self) -> Vec<WordCounts> {
        let n_tables = self.shards.first().map_or(0, Vec::len);
        let mut all = vec![WordCounts::new(); n_tables];
        for shard in &mut self.shards {
            for (sum, counts) in all.iter_mut().zip(shard) {
                let mut counts = std::mem::take(counts);
                counts.rest();
                if sum.is_empty() {
                    *sum = counts;
                } else {
                    sum.merge(&counts, 1);
                }
            }
        }
        all
    }
}

impl Cuts {
    fn count(
        &self,
        unit: &[u8],
        weight: u64,
        ends: &mut Ends,
        counts: &mut [WordCounts],
    ) -> Result<(), EncodeError> {
        let Some(tokenizer) = &self.tokenizer else {
            return Utf8Runs(unit).try_for_each(|run| match run {
                Run::Text(text) => self.count_text(text, true, weight, ends, counts),
                Run::Raw(raw) => {
                    counts.iter_mut().take(self.cuts.len()).for_each(|counts| counts.add(raw, weight));
                    Ok(())
                }
            });
        };
        let flow = tokenizer.walk::<false>(Text::Bytes(unit), &AllowedSpecial::All, |part| {
            match part {
                Part::Inside { text, at_start, .. } => {
                    self.count_text(text, at_start, weight, ends, counts)?
                }
                Part::Raw { bytes } => {
                    counts.iter_mut().take(self.cuts.len()).for_each(|counts| counts.add(bytes, weight));
                }
                Part::Run { .. } | Part::Added { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        });
        flow.map(|_| ())
    }

    fn count_text(
        &self,
        text: &str,
        at_start: bool,
        weight: u64,
        ends: &mut Ends,
        counts: &mut [WordCounts],
    ) -> Result<(), EncodeError> {
        let mut buffer = String::new();
        for (cut, counts) in self.cuts.iter().zip(&mut *counts) {
            if cut.has_ends() {
                let mut start = 0;
                while start < text.len() {
                    ends.clear();
                    cut.ends(text, start, ends);
                    for &end in ends.iter() {
                        counts.add_piece(text.as_bytes(), start, end, weight);
                        start = end;
                    }
                }
                continue;
            }
            cut.for_each(text, at_start, |piece| {
                if piece.prefix_space {
                    counts.add(piece.bytes(text, &mut buffer), weight);
                } else {
                    counts.add_piece(text.as_bytes(), piece.start, piece.end, weight);
                }
            })?;
        }
        let (Some(cut), Some(counts), true) = (self.cuts.first(), counts.last_mut(), self.counts_runs) else {
            return Ok(());
        };
        let (mut run, mut n_words) = (Vec::new(), 0);
        let mut end_run = |run: &mut Vec<u8>, n_words: &mut usize| {
            if *n_words > 1 {
                counts.add(&run[..run.len() - 1], weight);
            }
            run.clear();
            *n_words = 0;
        };
        cut.for_each(text, at_start, |piece| {
            let word = piece.bytes(text, &mut buffer);
            if holds_letter(word) {
                run.extend_from_slice(word);
                run.push(RUN_SEPARATOR);
                n_words += 1;
            } else {
                end_run(&mut run, &mut n_words);
            }
        })?;
        end_run(&mut run, &mut n_words);
        Ok(())
    }
}

fn holds_letter(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_alphabetic)
        || std::str::from_utf8(word).is_ok_and(|text| text.chars().any(UnicodeCategories::is_letter))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sorted(counts: &WordCounts) -> BTreeMap<&[u8], u64> {
        counts.iter().collect()
    }

    fn counter(cuts: &[&[&str]], n_threads: usize) -> WordCounter {
        let cuts: Vec<Option<Vec<&str>>> = cuts.iter().map(|cut| Some(cut.to_vec())).collect();
        WordCounter::new(&cuts, None, false, n_threads).unwrap()
    }

    #[test]
    fn units_are_cut_in_every_way() {
        let mut counter = counter(&[&[r"\w+"], &["b"], &[" ", "b+"]], 1);
        counter.add(&[b"ab ab\xFF\xFE\xC3", b"", b"b"], 1).unwrap();
        let [words, letters, both]: [WordCounts; 3] = counter.finish().try_into().unwrap();
        let all: [(&[u8], u64); 4] = [(b" ", 1), (b"ab", 2), (b"b", 1), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&words), all.into_iter().collect());
        let all: [(&[u8], u64); 4] = [(b" a", 1), (b"a", 1), (b"b", 3), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&letters), all.into_iter().collect());
        let all: [(&[u8], u64); 4] = [(b" ", 1), (b"a", 2), (b"b", 3), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&both), all.into_iter().collect());
    }

    #[test]
    fn runs_are_of_words_with_letters() {
        let mut counter = WordCounter::new(&[Some(vec![r" ?\w+"])], None, true, 1).unwrap();
        counter.add(&["ab cd, é 1 f g".as_bytes(), b"x \xFF y z", b"ab"], 2).unwrap();
        let [_, runs]: [WordCounts; 2] = counter.finish().try_into().unwrap();
        let all: [(&[u8], u64); 3] = [(b" f\xFF g", 2), (b" y\xFF z", 2), (b"ab\xFF cd", 2)];
        assert_eq!(sorted(&runs), all.into_iter().collect());
    }

    #[test]
    fn lines_keep_their_endings() {
        let mut counter = counter(&[&["x"]], 1);
        counter.add_lines(b"a\r\n\nb", 1).unwrap();
        counter.add_lines(b"b\n", 3).unwrap();
        let all: [(&[u8], u64); 4] = [(b"\n", 1), (b"a\r\n", 1), (b"b", 1), (b"b\n", 3)];
        assert_eq!(sorted(&counter.finish()[0]), all.into_iter().collect());
    }

    #[test]
    fn threads_do_not_matter() {
        let units: Vec<Vec<u8>> = (0..500).map(|i| vec![b'a' + (i * i % 7) as u8; i % 13]).collect();
        let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
        let count = |n_threads| {
            let mut counter = counter(&[&["a+"]], n_threads);
            counter.add(&units[..100], 1).unwrap();
            counter.add(&units[100..], 1).unwrap();
            counter.finish().remove(0)
        };
        assert_eq!(sorted(&count(1)), sorted(&count(3)));
    }

    #[test]
    fn a_pattern_that_does_not_compile() {
        assert!(WordCounter::new(&[Some(vec!["a", "("])], None, false, 1).is_err());
    }
}

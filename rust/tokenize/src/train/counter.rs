//! How is a corpus cut into words and counted?
//!
//! Each *unit* (a document, or a line with its ending) is pretokenized by itself, once for every cut: SuperBPE
//! asks for two cuts of one corpus, and a corpus may be a stream that is read once. Bytes that are not UTF-8 are words
//! of their own, one for each maximal run, as in encoding. The units of a call are shared out to threads by size;
//! every thread has its own counts, which are added up at the end, so the sums do not depend on the threads.

use rayon::prelude::*;

use super::{WordCounts, pool};
use crate::encode::{Run, Utf8Runs};
use crate::pretokenize::Pretokenizers;
use crate::spec::{Pretokenizer, SplitBehavior, SplitPattern};
use crate::{BuildError, EncodeError};

/// Counts the words of a corpus that is given piece by piece.
#[derive(Debug)]
pub struct WordCounter {
    cuts: Vec<Pretokenizers>,
    /// The counts of each thread, one for each cut.
    shards: Vec<Vec<WordCounts>>,
    pool: Option<rayon::ThreadPool>,
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
    /// Makes each of `cuts` (see [`pretokenizers_of`]), on `n_threads` threads of its own.
    ///
    /// # Errors
    /// [`BuildErrorKind::Pattern`](crate::BuildErrorKind::Pattern) if a pattern does not compile.
    pub fn new<P: AsRef<str>>(cuts: &[Vec<P>], n_threads: usize) -> Result<Self, BuildError> {
        let n_shards = n_threads.max(1);
        let compiled = cuts.iter().map(|patterns| Pretokenizers::new(&pretokenizers_of(patterns)));
        Ok(Self {
            cuts: compiled.collect::<Result<_, _>>()?,
            shards: vec![vec![WordCounts::new(); cuts.len()]; n_shards],
            pool: pool(n_shards),
        })
    }

    /// Counts the words of each unit.
    ///
    /// # Errors
    /// [`EncodeErrorKind::Pattern`](crate::EncodeErrorKind::Pattern) if a pattern gives up on a unit.
    pub fn add(&mut self, units: &[&[u8]]) -> Result<(), EncodeError> {
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
            units.iter().try_for_each(|unit| count(unit, cuts, counts))
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
    pub fn add_lines(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        let mut lines = Vec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text).map(|at| at + 1).chain([text.len()]) {
            lines.push(&text[start..end]);
            start = end;
        }
        self.add(&lines)
    }

    /// Takes out the counts of each cut; the counter starts anew.
    pub fn finish(&mut self) -> Vec<WordCounts> {
        let mut all = vec![WordCounts::new(); self.cuts.len()];
        for shard in &mut self.shards {
            for (sum, counts) in all.iter_mut().zip(shard) {
                let counts = std::mem::take(counts);
                if sum.is_empty() {
                    *sum = counts;
                } else {
                    sum.merge(&counts);
                }
            }
        }
        all
    }
}

fn count(unit: &[u8], cuts: &[Pretokenizers], counts: &mut [WordCounts]) -> Result<(), EncodeError> {
    for run in Utf8Runs(unit) {
        for (cut, counts) in cuts.iter().zip(&mut *counts) {
            match run {
                Run::Text(text) => {
                    cut.for_each(text, true, |piece| {
                        counts.add(&text.as_bytes()[piece.start..piece.end], 1);
                    })?;
                }
                Run::Raw(raw) => counts.add(raw, 1),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sorted(counts: &WordCounts) -> BTreeMap<&[u8], u64> {
        counts.iter().collect()
    }

    #[test]
    fn units_are_cut_in_every_way() {
        let mut counter = WordCounter::new(&[vec![r"\w+"], vec!["b"], vec![" ", "b+"]], 1).unwrap();
        counter.add(&[b"ab ab\xFF\xFE\xC3", b"", b"b"]).unwrap();
        let [words, letters, both]: [WordCounts; 3] = counter.finish().try_into().unwrap();
        let all: [(&[u8], u64); 4] = [(b" ", 1), (b"ab", 2), (b"b", 1), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&words), all.into_iter().collect());
        let all: [(&[u8], u64); 4] = [(b" a", 1), (b"a", 1), (b"b", 3), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&letters), all.into_iter().collect());
        let all: [(&[u8], u64); 4] = [(b" ", 1), (b"a", 2), (b"b", 3), (b"\xFF\xFE\xC3", 1)];
        assert_eq!(sorted(&both), all.into_iter().collect());
    }

    #[test]
    fn lines_keep_their_endings() {
        let mut counter = WordCounter::new(&[vec!["x"]], 1).unwrap();
        counter.add_lines(b"a\r\n\nb").unwrap();
        let all: [(&[u8], u64); 3] = [(b"\n", 1), (b"a\r\n", 1), (b"b", 1)];
        assert_eq!(sorted(&counter.finish()[0]), all.into_iter().collect());
    }

    #[test]
    fn threads_do_not_matter() {
        let units: Vec<Vec<u8>> = (0..500).map(|i| vec![b'a' + (i * i % 7) as u8; i % 13]).collect();
        let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
        let count = |n_threads| {
            let mut counter = WordCounter::new(&[vec!["a+"]], n_threads).unwrap();
            counter.add(&units[..100]).unwrap();
            counter.add(&units[100..]).unwrap();
            counter.finish().remove(0)
        };
        assert_eq!(sorted(&count(1)), sorted(&count(3)));
    }

    #[test]
    fn a_pattern_that_does_not_compile() {
        assert!(WordCounter::new(&[vec!["a", "("]], 1).is_err());
    }
}

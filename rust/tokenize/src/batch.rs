//! How are many texts, or a long one, encoded at once?
//!
//! Threads of this call take runs of texts (see [`crate::workers`]) and write their ids to memory that waits for the next
//! run; the calling thread joins the runs in order, or hands each of them on, while others are still encoded. The result
//! does not depend on the number of threads.
//!
//! A long text between added tokens is cut where every covering scanner cuts, whatever is around: between a newline that
//! follows a visible ASCII character and an ASCII letter. A piece that holds a newline goes on with white space or slashes
//! at most, and what precedes a word is never a newline, so a piece ends there; that newline alone is the end of the white
//! space before the cut, so that it is cut the same way with and without text behind it.

use std::convert::Infallible;
use std::ops::{ControlFlow, Range};

use tokenloom_vocab::TokenId;

use crate::scratch::ScratchPool;
use crate::{EncodeError, EncodeOptions, Text, Tokenizer, large_pages, workers};

/// The ids of a text of so many bytes are many pages of memory.
const LARGE_BYTES: usize = 1 << 22;

/// Id sequences of different lengths in one array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    /// All ids.
    pub values: Vec<TokenId>,
    /// Sequence `i` is `values[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
}

impl Ragged {
    /// None yet, with room for the offsets of some; their values will be written to `values`, which is empty.
    fn with_room(values: Vec<TokenId>, n_sequences: usize) -> Self {
        let mut offsets = Vec::with_capacity(n_sequences + 1);
        offsets.push(0);
        Self { values, offsets }
    }

    /// The sequences.
    pub fn rows(&self) -> impl Iterator<Item = &[TokenId]> {
        self.offsets.windows(2).map(|ends| &self.values[ends[0] as usize..ends[1] as usize])
    }
}

impl Tokenizer {
    /// The ids of every text, on at most `n_threads` threads.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] of the first text on which a split pattern gives up.
    pub fn encode_batch(
        &self,
        texts: &[Text<'_>],
        options: &EncodeOptions,
        n_threads: usize,
    ) -> Result<Ragged, EncodeError> {
        let (runs, first) = (runs(texts, RUN_BYTES), ScratchPool::place_here());
        let Ragged { mut values, mut offsets } = Ragged::with_room(Vec::new(), texts.len());
        let work =
            |worker, index: usize| self.encode_run(&texts[runs[index].clone()], options, first + worker);
        let n_bytes = texts.iter().map(|text| text.as_bytes().len()).sum();
        with_room(&mut values, n_bytes, |values| {
            workers::each_in_order(runs.len(), n_threads, work, |run| {
                let start = values.len() as i64;
                values.extend_from_slice(&run.values);
                offsets.extend(run.offsets[1..].iter().map(|end| start + end));
                self.scratches.keep(run.values);
            })
        })?;
        values.shrink_to_fit();
        Ok(Ragged { values, offsets })
    }

    /// Encodes as [`Tokenizer::encode_batch`] does. Every run of texts is handed to `take` on the calling thread, while
    /// others are still encoded: the index of its first text, and the ids of its texts. Runs come in no order. Once `take`
    /// breaks off, no more are begun.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode_batch`]; other runs may have been taken before.
    pub fn encode_runs(
        &self,
        texts: &[Text<'_>],
        options: &EncodeOptions,
        n_threads: usize,
        mut take: impl FnMut(usize, &Ragged) -> ControlFlow<()>,
    ) -> Result<(), EncodeError> {
        let n_bytes: usize = texts.iter().map(|text| text.as_bytes().len()).sum();
        let run_bytes = if n_threads <= 1 { RUN_BYTES.max(n_bytes / MAX_RUNS_ALONE) } else { RUN_BYTES };
        let (runs, first) = (runs(texts, run_bytes), ScratchPool::place_here());
        let work =
            |worker, index: usize| self.encode_run(&texts[runs[index].clone()], options, first + worker);
        let mut failed = None;
        workers::each(runs.len(), n_threads, work, |index, run| match run {
            Ok(run) => {
                let flow = take(runs[index].start, &run);
                self.scratches.keep(run.values);
                flow
            }
            Err(error) => {
                workers::keep_first(&mut failed, index, error);
                ControlFlow::Break(())
            }
        });
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Appends the ids of one text to `ids`, on at most `n_threads` threads; fewer where its pretokenizers have no place
    /// for a cut.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up; `ids` then has those before it.
    pub fn encode_onto(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        n_threads: usize,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), EncodeError> {
        let n_bytes = text.as_bytes().len();
        with_room(ids, n_bytes, |ids| {
            if n_threads <= 1 || n_bytes < 2 * RUN_BYTES || !self.pretokenizers.has_ends() {
                return self.scratches.with(|scratch| self.encode_into(text, options, scratch, ids));
            }
            let first = ScratchPool::place_here();
            self.encode_by_parts(text, options, ids, |text, ids| {
                let parts = parts(text);
                let work = |worker, index: usize| {
                    let mut part = self.scratches.buffer();
                    self.scratches.with_from(first + worker, |scratch| {
                        self.encode_covered(parts[index], scratch, &mut part);
                    });
                    Ok::<_, Infallible>(part)
                };
                let Ok(()) = workers::each_in_order(parts.len(), n_threads, work, |part| {
                    ids.extend_from_slice(&part);
                    self.scratches.keep(part);
                });
            })
        })
    }

    /// The ids of some texts, with the scratch at a place or behind it.
    fn encode_run(
        &self,
        texts: &[Text<'_>],
        options: &EncodeOptions,
        place: usize,
    ) -> Result<Ragged, EncodeError> {
        let mut run = Ragged::with_room(self.scratches.buffer(), texts.len());
        // The same places at every call: threads of their own would come to places that know no word.
        self.scratches.with_from(place, |scratch| {
            for text in texts {
                self.encode_into(*text, options, scratch, &mut run.values)?;
                run.offsets.push(run.values.len() as i64);
            }
            Ok(run)
        })
    }
}

/// Calls `fill` with room for the ids of so many bytes.
fn with_room<R>(ids: &mut Vec<TokenId>, n_bytes: usize, fill: impl FnOnce(&mut Vec<TokenId>) -> R) -> R {
    // Room that is never written to costs nothing, moving megabytes of ids to more room does.
    let is_large = n_bytes >= LARGE_BYTES && ids.try_reserve(n_bytes).is_ok();
    if is_large {
        large_pages::ask_for_room(ids);
    } else {
        ids.reserve(n_bytes / 4 + 8);
    }
    let done = fill(ids);
    if is_large {
        ids.shrink_to_fit();
    }
    done
}

/// Cuts a text where a piece ends in any case.
fn parts(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut search = RUN_BYTES;
    while let Some(found) = bytes.get(search..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let end = search + found + 1;
        search = end;
        let follows = bytes.get(end).is_some_and(u8::is_ascii_alphabetic);
        if follows && end >= 2 && bytes[end - 2].is_ascii_graphic() {
            parts.push(&text[start..end]);
            start = end;
            search = end + RUN_BYTES;
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// Texts are taken in runs of about so many bytes: small enough to share the work and large enough to be worth it.
const RUN_BYTES: usize = 1 << 16;

/// A thread alone hands on about so many runs at most: who takes one may have to wait for its turn, in a busy interpreter for
/// milliseconds, in which nobody goes on.
const MAX_RUNS_ALONE: usize = 4;

/// Cuts the texts into runs of about so many bytes.
fn runs(texts: &[Text<'_>], run_bytes: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut n_bytes) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        n_bytes += text.as_bytes().len() + 16;
        if n_bytes >= run_bytes {
            runs.push(start..at + 1);
            (start, n_bytes) = (at + 1, 0);
        }
    }
    if start < texts.len() {
        runs.push(start..texts.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};

    /// A tokenizer of bytes whose pattern gives up on long runs of `a`.
    fn tokenizer_that_gives_up() -> Tokenizer {
        let split = Pretokenizer::Split {
            pattern: SplitPattern::Regex(r"(?:(?=a)a|(?=a)aa)+b|.".into()),
            behavior: SplitBehavior::Isolated,
            invert: false,
        };
        let tokens = (0..=255u8).map(|byte| (u32::from(byte), Box::from([byte]))).collect();
        let spec = TokenizerSpec { tokens, pretokenizers: vec![split], ..TokenizerSpec::default() };
        Tokenizer::new(spec).unwrap()
    }

    #[test]
    fn a_batch_is_its_texts_on_any_number_of_threads() {
        let tokenizer = tokenizer_that_gives_up();
        let options = EncodeOptions::default();
        let huge = "some words 中 ".repeat(RUN_BYTES / 4);
        let small = (0..20_000).map(|n| format!("{n:>width$}", width = n % 30));
        let mixed = ["", "b", &huge, "", "", "end"].map(str::to_owned).into_iter().chain(small.clone());
        for texts in
            [Vec::new(), vec![String::new(); 3], small.collect(), vec![huge.clone()], mixed.collect()]
        {
            let expected: Vec<_> =
                texts.iter().map(|text| tokenizer.encode(text, &options).unwrap()).collect();
            let texts: Vec<Text<'_>> = texts.iter().map(|text| text.as_str().into()).collect();
            for n_threads in [0, 1, 2, 3, 8] {
                let ragged = tokenizer.encode_batch(&texts, &options, n_threads).unwrap();
                assert!(ragged.rows().eq(&expected), "{} texts, {n_threads} threads", texts.len());
                let mut rows = vec![None; texts.len()];
                let take = |first: usize, run: &Ragged| {
                    for (row, ids) in rows[first..].iter_mut().zip(run.rows()) {
                        assert!(row.replace(ids.to_vec()).is_none());
                    }
                    ControlFlow::Continue(())
                };
                tokenizer.encode_runs(&texts, &options, n_threads, take).unwrap();
                assert!(rows.into_iter().map(Option::unwrap).eq(expected.iter().cloned()));
            }
        }
    }

    #[test]
    fn the_error_of_a_batch_is_that_of_its_first_text_that_has_one() {
        let tokenizer = tokenizer_that_gives_up();
        let options = EncodeOptions::default();
        let fine = "some words ".repeat(RUN_BYTES / 40);
        let (early, late) = (format!("{fine}{}", "a".repeat(5000)), "a".repeat(5000));
        let error = |texts: &[Text<'_>], n_threads| {
            let take = |_, _: &Ragged| ControlFlow::Continue(());
            let error = tokenizer.encode_batch(texts, &options, n_threads).unwrap_err().to_string();
            assert_eq!(
                tokenizer.encode_runs(texts, &options, n_threads, take).unwrap_err().to_string(),
                error
            );
            error
        };
        let expected = error(&[early.as_str().into()], 1);
        assert_ne!(error(&[late.as_str().into()], 1), expected, "the message says where");
        let mut texts: Vec<Text<'_>> = vec![fine.as_str().into(); 40];
        texts[17] = early.as_str().into();
        texts[18..].fill(late.as_str().into());
        for n_threads in [1, 2, 3, 8] {
            assert_eq!(error(&texts, n_threads), expected, "{n_threads} threads");
        }
    }

    #[test]
    fn no_more_runs_are_begun_after_a_break() {
        let tokenizer = tokenizer_that_gives_up();
        let text = "some words ".repeat(RUN_BYTES / 10);
        let texts: Vec<Text<'_>> = vec![text.as_str().into(); 60];
        for n_threads in [1, 2] {
            let mut n_taken = 0;
            let take = |_, _: &Ragged| {
                n_taken += 1;
                ControlFlow::Break(())
            };
            tokenizer.encode_runs(&texts, &EncodeOptions::default(), n_threads, take).unwrap();
            assert!(n_taken <= 30, "{n_taken}");
        }
    }

    #[test]
    fn a_text_cut_into_parts_has_the_same_pieces() {
        let patterns = crate::pretokenize::covering_patterns();
        let mut state = 5_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let units = ["a", "B", "'s", " ", "\n", "\r\n", "!", "/", "7", "é", "中", "\t"];
        let mut text = String::new();
        while text.len() < 5 * RUN_BYTES {
            text.push_str(units[random(units.len())]);
        }
        assert!(parts(&text).len() >= 4);
        for steps in patterns {
            let split = |pattern: &&str| Pretokenizer::Split {
                pattern: SplitPattern::Regex((*pattern).into()),
                behavior: SplitBehavior::Isolated,
                invert: false,
            };
            let tokens = (0..=255u8).map(|byte| (u32::from(byte), Box::from([byte]))).collect();
            let spec = TokenizerSpec {
                tokens,
                pretokenizers: steps.iter().map(split).collect(),
                ..TokenizerSpec::default()
            };
            let tokenizer = Tokenizer::new(spec).unwrap();
            assert!(tokenizer.pretokenizers.has_ends(), "{steps:?}");
            let mut start = 0;
            let mut joined = Vec::new();
            for part in parts(&text) {
                let pieces = tokenizer.pretokenize(part).unwrap();
                joined.extend(pieces.into_iter().map(|piece| piece.start + start..piece.end + start));
                start += part.len();
            }
            assert_eq!(joined, tokenizer.pretokenize(&text).unwrap(), "{steps:?}");
            let options = EncodeOptions::default();
            let mut parallel = Vec::new();
            tokenizer.encode_onto(text.as_str().into(), &options, 3, &mut parallel).unwrap();
            assert_eq!(parallel, tokenizer.encode(&text, &options).unwrap());
        }
    }
}

//! How are many texts, or a long one, encoded at once?
//!
//! Threads of this call alone (no pool that would survive, so `fork` is safe) take runs of texts from a shared
//! counter and keep their ids; the parts are then joined in order. The result does not depend on the number of
//! threads.
//!
//! A long text between added tokens is cut where every covering scanner cuts, whatever is around: between a newline that
//! follows a visible ASCII character and an ASCII letter. A piece that holds a newline goes on with white space or slashes
//! at most, and what precedes a word is never a newline, so a piece ends there; that newline alone is the end of the white
//! space before the cut, so that it is cut the same way with and without text behind it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokenloom_vocab::TokenId;

use crate::scratch::Scratch;
use crate::{EncodeError, EncodeOptions, Text, Tokenizer};

/// Id sequences of different lengths in one array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    /// All ids.
    pub values: Vec<TokenId>,
    /// Sequence `i` is `values[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
}

/// The ids of one run of texts, and the number of ids of each.
type Encoded = (Vec<TokenId>, Vec<usize>);

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
        let runs = runs(texts);
        let parts = self
            .in_order(runs.len(), n_threads, |index, scratch| self.encode_run(runs[index], options, scratch));
        let mut ragged = Ragged { values: Vec::new(), offsets: Vec::with_capacity(texts.len() + 1) };
        ragged.offsets.push(0);
        let mut end = 0;
        for part in parts {
            let (values, lengths) = part?;
            if ragged.values.is_empty() {
                ragged.values = values;
            } else {
                ragged.values.extend_from_slice(&values);
            }
            ragged.offsets.extend(lengths.into_iter().map(|length| {
                end += length as i64;
                end
            }));
        }
        Ok(ragged)
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
        ids.reserve(n_bytes / 4 + 8);
        if n_threads <= 1 || n_bytes < 2 * RUN_BYTES || !self.pretokenizers.has_ends() {
            return self.scratches.with(|scratch| self.encode_into(text, options, scratch, ids));
        }
        self.encode_by_parts(text, options, ids, |text, ids| {
            let parts = parts(text);
            let encoded = self.in_order(parts.len(), n_threads, |index, scratch| {
                let mut ids = Vec::with_capacity(parts[index].len() / 4 + 8);
                self.encode_covered(parts[index], scratch, &mut ids);
                ids
            });
            encoded.iter().for_each(|part| ids.extend_from_slice(part));
        })
    }

    /// What `work` makes of every index below `n_parts`, on at most `n_threads` threads, in order.
    fn in_order<R: Send>(
        &self,
        n_parts: usize,
        n_threads: usize,
        work: impl Fn(usize, &mut Scratch) -> R + Sync,
    ) -> Vec<R> {
        let n_threads = n_threads.clamp(1, n_parts.max(1));
        let next = AtomicUsize::new(0);
        let run = || {
            self.scratches.with(|scratch| {
                let mut done = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= n_parts {
                        return done;
                    }
                    done.push((index, work(index, scratch)));
                }
            })
        };
        let mut parts = std::thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(run)).collect();
            let mut parts = run();
            for other in others {
                match other.join() {
                    Ok(more) => parts.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            parts
        });
        parts.sort_unstable_by_key(|part| part.0);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn encode_run(
        &self,
        texts: &[Text<'_>],
        options: &EncodeOptions,
        scratch: &mut Scratch,
    ) -> Result<Encoded, EncodeError> {
        let n_bytes: usize = texts.iter().map(|text| text.as_bytes().len()).sum();
        let mut values = Vec::with_capacity(n_bytes / 4 + 8);
        let mut lengths = Vec::with_capacity(texts.len());
        for text in texts {
            let before = values.len();
            self.encode_into(*text, options, scratch, &mut values)?;
            lengths.push(values.len() - before);
        }
        Ok((values, lengths))
    }
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
const RUN_BYTES: usize = 1 << 18;

/// Cuts the texts into runs of about equal bytes.
fn runs<'a, 'b>(texts: &'a [Text<'b>]) -> Vec<&'a [Text<'b>]> {
    let mut runs = Vec::new();
    let (mut start, mut n_bytes) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        n_bytes += text.as_bytes().len() + 16;
        if n_bytes >= RUN_BYTES {
            runs.push(&texts[start..=at]);
            (start, n_bytes) = (at + 1, 0);
        }
    }
    if start < texts.len() {
        runs.push(&texts[start..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};

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
        for pattern in patterns {
            let split = Pretokenizer::Split {
                pattern: SplitPattern::Regex(pattern.into()),
                behavior: SplitBehavior::Isolated,
                invert: false,
            };
            let tokens = (0..=255u8).map(|byte| (u32::from(byte), Box::from([byte]))).collect();
            let spec = TokenizerSpec { tokens, pretokenizers: vec![split], ..TokenizerSpec::default() };
            let tokenizer = Tokenizer::new(spec).unwrap();
            let mut start = 0;
            let mut joined = Vec::new();
            for part in parts(&text) {
                let pieces = tokenizer.pretokenize(part).unwrap();
                joined.extend(pieces.into_iter().map(|piece| piece.start + start..piece.end + start));
                start += part.len();
            }
            assert_eq!(joined, tokenizer.pretokenize(&text).unwrap(), "{pattern}");
            let options = EncodeOptions::default();
            let mut parallel = Vec::new();
            tokenizer.encode_onto(text.as_str().into(), &options, 3, &mut parallel).unwrap();
            assert_eq!(parallel, tokenizer.encode(&text, &options).unwrap());
        }
    }
}

//! How are many texts, or a long one, encoded at once?
//!
//! Threads of this call alone (no pool that would survive, so `fork` is safe) take runs of texts from a shared
//! counter and keep their ids, in memory that waits for the next call; the parts are then joined in order. The result does not depend on the number of
//! threads.
//!
//! A long text between added tokens is cut where every covering scanner cuts, whatever is around: between a newline that
//! follows a visible ASCII character and an ASCII letter. A piece that holds a newline goes on with white space or slashes
//! at most, and what precedes a word is never a newline, so a piece ends there; that newline alone is the end of the white
//! space before the cut, so that it is cut the same way with and without text behind it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokenloom_vocab::TokenId;

use crate::large_pages;
use crate::scratch::{Scratch, ScratchPool};
use crate::{EncodeError, EncodeOptions, Text, Tokenizer};

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

/// Ids of what one worker did, in the order in which it did it, and for every part: its index, the end of its ids and what
/// else is known of it.
struct Done<R> {
    ids: Vec<TokenId>,
    parts: Vec<(usize, usize, R)>,
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
        let runs = runs(texts);
        let mut ragged = Ragged { values: Vec::new(), offsets: Vec::with_capacity(texts.len() + 1) };
        ragged.offsets.push(0);
        let lengths = self.in_order(runs.len(), n_threads, &mut ragged.values, |index, scratch, ids| {
            self.encode_run(runs[index], options, scratch, ids)
        });
        let mut end = 0;
        for lengths in lengths {
            ragged.offsets.extend(lengths?.into_iter().map(|length| {
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
        if n_threads <= 1 || n_bytes < 2 * RUN_BYTES || !self.pretokenizers.has_ends() {
            // Room that is never written to costs nothing, moving megabytes of ids to more room does.
            let is_large = n_bytes >= LARGE_BYTES && ids.try_reserve(n_bytes).is_ok();
            if is_large {
                large_pages::ask_for_room(ids);
            } else {
                ids.reserve(n_bytes / 4 + 8);
            }
            let done = self.scratches.with(|scratch| self.encode_into(text, options, scratch, ids));
            if is_large {
                ids.shrink_to_fit();
            }
            return done;
        }
        self.encode_by_parts(text, options, ids, |text, ids| {
            let parts = parts(text);
            self.in_order(parts.len(), n_threads, ids, |index, scratch, ids| {
                self.encode_covered(parts[index], scratch, ids);
            });
        })
    }

    /// Appends to `out` the ids that `work` makes of every index below `n_parts`, on at most `n_threads` threads, in order.
    /// What else it makes of them, in order.
    fn in_order<R: Send>(
        &self,
        n_parts: usize,
        n_threads: usize,
        out: &mut Vec<TokenId>,
        work: impl Fn(usize, &mut Scratch, &mut Vec<TokenId>) -> R + Sync,
    ) -> Vec<R> {
        let n_threads = n_threads.clamp(1, n_parts.max(1));
        let next = AtomicUsize::new(0);
        let first = ScratchPool::place_here();
        let run = |worker: usize| {
            // The same places at every call: threads of their own would come to places that know no word.
            self.scratches.with_from(first + worker, |scratch| {
                let mut done = Done { ids: self.scratches.buffer(), parts: Vec::new() };
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= n_parts {
                        return done;
                    }
                    let more = work(index, scratch, &mut done.ids);
                    done.parts.push((index, done.ids.len(), more));
                }
            })
        };
        let run = &run;
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|worker| scope.spawn(move || run(worker))).collect();
            let mut done = vec![run(0)];
            for other in others {
                match other.join() {
                    Ok(more) => done.push(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        self.joined(done, out)
    }

    /// Appends the ids of all parts in order; the workers' memory waits for the next call.
    fn joined<R>(&self, done: Vec<Done<R>>, out: &mut Vec<TokenId>) -> Vec<R> {
        out.reserve_exact(done.iter().map(|done| done.ids.len()).sum());
        large_pages::ask_for_room(out);
        let mut parts = Vec::new();
        let mut buffers = Vec::with_capacity(done.len());
        for (worker, Done { ids, parts: more }) in done.into_iter().enumerate() {
            let mut start = 0;
            parts
                .extend(more.into_iter().map(|(index, end, more)| {
                    (index, worker, std::mem::replace(&mut start, end)..end, more)
                }));
            buffers.push(ids);
        }
        parts.sort_unstable_by_key(|part| part.0);
        for (_, worker, range, _) in &parts {
            out.extend_from_slice(&buffers[*worker][range.clone()]);
        }
        buffers.into_iter().for_each(|buffer| self.scratches.keep(buffer));
        parts.into_iter().map(|(.., more)| more).collect()
    }

    /// Appends the ids of some texts; how many each has.
    fn encode_run(
        &self,
        texts: &[Text<'_>],
        options: &EncodeOptions,
        scratch: &mut Scratch,
        ids: &mut Vec<TokenId>,
    ) -> Result<Vec<usize>, EncodeError> {
        let mut lengths = Vec::with_capacity(texts.len());
        for text in texts {
            let before = ids.len();
            self.encode_into(*text, options, scratch, ids)?;
            lengths.push(ids.len() - before);
        }
        Ok(lengths)
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

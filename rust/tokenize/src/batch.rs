//! How are many texts encoded at once?
//!
//! Threads of this call alone (no pool that would survive, so `fork` is safe) take runs of texts from a shared
//! counter and keep their ids; the parts are then joined in order. The result does not depend on the number of
//! threads.

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
        let n_threads = n_threads.clamp(1, runs.len().max(1));
        let next = AtomicUsize::new(0);
        let work = || {
            self.scratches.with(|scratch| {
                let mut done = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(at) else { return done };
                    done.push((at, self.encode_run(run, options, scratch)));
                }
            })
        };
        let mut parts = std::thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
            let mut parts = work();
            for other in others {
                match other.join() {
                    Ok(more) => parts.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            parts
        });
        parts.sort_unstable_by_key(|part| part.0);
        let mut ragged = Ragged { values: Vec::new(), offsets: Vec::with_capacity(texts.len() + 1) };
        ragged.offsets.push(0);
        let mut end = 0;
        for (_, part) in parts {
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

/// Cuts the texts into runs of about equal bytes, small enough to share the work and large enough to be worth it.
fn runs<'a, 'b>(texts: &'a [Text<'b>]) -> Vec<&'a [Text<'b>]> {
    const RUN_BYTES: usize = 1 << 18;
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

//! How is a whole batch drawn?
//!
//! Row by row, on as many threads as are asked for: a row's token depends on its own logits, mask, rules, text, seed and
//! position and on nothing else. Threads are started and ended inside the call.

use super::{Draw, History, Logits, MAX_VOCAB, Params, Report, Sampler, Source, Status, Wanted};
use crate::rng::{Purpose, Rng};

/// The texts of a batch: tokens one after the other, row `b` at `offsets[b]..offsets[b + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The tokens of all rows.
    pub tokens: &'a [u32],
    /// One more than rows, not falling.
    pub offsets: &'a [i64],
    /// Tokens of each row that are its prompt.
    pub n_prompts: &'a [i64],
}

/// A batch of rows with their masks and rules.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    logits: Logits<'a>,
    n_vocab: usize,
    masks: Option<&'a [u32]>,
    params: &'a [Params],
    texts: Option<Texts<'a>>,
    mus: Option<&'a [f32]>,
}

/// Arrays that do not make a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct RowsError {
    kind: RowsErrorKind,
}

/// The reasons behind a [`RowsError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsErrorKind {
    /// A row without tokens, or with more than the sums can take.
    #[error("expected logits with 1 to {limit} columns, found {found}")]
    Width {
        /// Columns found.
        found: usize,
        /// Columns allowed.
        limit: usize,
    },
    /// An array does not fit the others.
    #[error("expected {argument} with {expected} elements, found {found}")]
    Length {
        /// Which array.
        argument: &'static str,
        /// Elements needed.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// Offsets that fall, or do not end with the tokens.
    #[error("expected history offsets that rise from 0 to {n_tokens}, found {found} at row {row}")]
    Offsets {
        /// Tokens there are.
        n_tokens: usize,
        /// The row.
        row: usize,
        /// The offset.
        found: i64,
    },
}

impl RowsError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &RowsErrorKind {
        &self.kind
    }

    fn check(argument: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found {
            Ok(())
        } else {
            Err(Self { kind: RowsErrorKind::Length { argument, expected, found } })
        }
    }
}

impl<'a> Rows<'a> {
    /// `logits` and `masks` row after row, one `params` for all rows or one each.
    ///
    /// # Errors
    /// [`RowsError`] if the lengths do not agree.
    pub fn new(
        logits: Logits<'a>,
        n_vocab: usize,
        masks: Option<&'a [u32]>,
        params: &'a [Params],
    ) -> Result<Self, RowsError> {
        if n_vocab == 0 || n_vocab > MAX_VOCAB {
            return Err(RowsError { kind: RowsErrorKind::Width { found: n_vocab, limit: MAX_VOCAB } });
        }
        let n_rows = logits.len() / n_vocab;
        RowsError::check("logits", n_rows * n_vocab, logits.len())?;
        if let Some(words) = masks {
            RowsError::check("mask", n_rows * n_vocab.div_ceil(32), words.len())?;
        }
        if params.len() != 1 {
            RowsError::check("params", n_rows, params.len())?;
        }
        Ok(Self { logits, n_vocab, masks, params, texts: None, mus: None })
    }

    /// With the texts so far.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one a row.
    pub fn with_texts(mut self, texts: Texts<'a>) -> Result<Self, RowsError> {
        RowsError::check("history offsets", self.n_rows() + 1, texts.offsets.len())?;
        RowsError::check("prompt lengths", self.n_rows(), texts.n_prompts.len())?;
        let n_tokens = texts.tokens.len();
        let mut before = 0;
        for (row, &found) in texts.offsets.iter().enumerate() {
            let is_end = row + 1 == texts.offsets.len();
            let fits =
                if is_end { found == n_tokens as i64 } else { found >= before && found <= n_tokens as i64 };
            if !fits || found < before || (row == 0 && found != 0) {
                return Err(RowsError { kind: RowsErrorKind::Offsets { n_tokens, row, found } });
            }
            before = found;
        }
        self.texts = Some(texts);
        Ok(self)
    }

    /// With the states of mirostat; NaN begins anew.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one a row.
    pub fn with_mus(mut self, mus: &'a [f32]) -> Result<Self, RowsError> {
        RowsError::check("mirostat states", self.n_rows(), mus.len())?;
        self.mus = Some(mus);
        Ok(self)
    }

    /// Rows in the batch.
    pub fn n_rows(&self) -> usize {
        self.logits.len() / self.n_vocab
    }

    fn row(&self, n_row: usize) -> Source<'a> {
        let n_words = self.n_vocab.div_ceil(32);
        Source {
            logits: self.logits.row(n_row, self.n_vocab),
            mask: self.masks.map(|words| &words[n_row * n_words..(n_row + 1) * n_words]),
            params: &self.params[if self.params.len() == 1 { 0 } else { n_row }],
            history: self.texts.map_or_else(History::default, |texts| History {
                tokens: &texts.tokens[texts.offsets[n_row] as usize..texts.offsets[n_row + 1] as usize],
                n_prompt: usize::try_from(texts.n_prompts[n_row]).unwrap_or(0),
            }),
            mu: self.mus.map_or(f32::NAN, |mus| mus[n_row]),
        }
    }

    /// Draw one token a row, row `b` with the numbers of `rngs[b]`, on at most `n_threads` threads.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one `rng` a row.
    pub fn draw(
        &self,
        rngs: &[Rng],
        purpose: Purpose,
        n_threads: usize,
    ) -> Result<Vec<Result<Draw, Status>>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        Ok(self.on_threads(n_threads, |sampler, n_row| sampler.draw(self.row(n_row), rngs[n_row], purpose)))
    }

    /// Draw one token a row, and tell what each row looks like.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one `rng` a row.
    pub fn report(
        &self,
        rngs: &[Rng],
        purpose: Purpose,
        wanted: Wanted,
        n_threads: usize,
    ) -> Result<Vec<Result<Report, Status>>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        let report = |sampler: &mut Sampler, n_row: usize| {
            sampler.report(self.row(n_row), rngs[n_row], purpose, wanted)
        };
        Ok(self.on_threads(n_threads, report))
    }

    fn on_threads<R: Send>(
        &self,
        n_threads: usize,
        draw: impl Fn(&mut Sampler, usize) -> R + Sync,
    ) -> Vec<R> {
        let n_rows = self.n_rows();
        let n_threads = n_threads.clamp(1, n_rows.max(1));
        let run = |start: usize, end: usize| -> Vec<R> {
            let mut sampler = Sampler::default();
            (start..end).map(|n_row| draw(&mut sampler, n_row)).collect()
        };
        if n_threads == 1 {
            return run(0, n_rows);
        }
        std::thread::scope(|scope| {
            let run = &run;
            let share = |n_thread: usize| n_rows * n_thread / n_threads;
            let others: Vec<_> = (1..n_threads)
                .map(|n_thread| scope.spawn(move || run(share(n_thread), share(n_thread + 1))))
                .collect();
            let mut drawn = run(0, share(1));
            for other in others {
                match other.join() {
                    Ok(more) => drawn.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            drawn
        })
    }

    /// The tokens each row keeps, in order of id.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one `rng` a row.
    pub fn keep_sets(&self, rngs: &[Rng]) -> Result<Vec<Result<Vec<u32>, Status>>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        Ok(self.on_threads(1, |sampler, n_row| sampler.keep_set(self.row(n_row), rngs[n_row])))
    }

    /// The distribution each row is drawn from, `probs` row after row; `exact` are the logits before rounding to f32.
    ///
    /// # Errors
    /// [`RowsError`] if `exact` or `probs` is not as long as the logits, or if there is not one `rng` a row.
    pub fn fill_probs<T: Copy + Into<f64>>(
        &self,
        rngs: &[Rng],
        exact: &[T],
        probs: &mut [f64],
    ) -> Result<Vec<Status>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        RowsError::check("exact logits", self.logits.len(), exact.len())?;
        RowsError::check("probs", self.logits.len(), probs.len())?;
        let mut sampler = Sampler::default();
        let rows = exact.chunks(self.n_vocab).zip(probs.chunks_mut(self.n_vocab)).enumerate();
        let statuses = rows.map(|(n_row, (exact, probs))| {
            sampler.fill_probs(self.row(n_row), rngs[n_row], exact, probs).err().unwrap_or(Status::Ok)
        });
        Ok(statuses.collect())
    }

    /// The logits that the rules leave of each row, row after row: see [`Sampler::fill_processed`].
    ///
    /// # Errors
    /// [`RowsError`] if `processed` is not as long as the logits, or if there is not one `rng` a row.
    pub fn fill_processed(&self, rngs: &[Rng], processed: &mut [f32]) -> Result<Vec<Status>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        RowsError::check("processed logits", self.logits.len(), processed.len())?;
        let mut sampler = Sampler::default();
        let rows = processed.chunks_mut(self.n_vocab).enumerate();
        let statuses = rows.map(|(n_row, processed)| {
            sampler.fill_processed(self.row(n_row), rngs[n_row], processed).err().unwrap_or(Status::Ok)
        });
        Ok(statuses.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_that_do_not_fit_are_named() {
        let params = [Params::default()];
        let logits = [0.0; 80];
        let rows = |masks, params| Rows::new(Logits::F32(&logits), 40, masks, params);
        let error = |masks, params| rows(masks, params).err().map(|error| error.to_string());
        assert_eq!(error(Some(&[0; 4]), &params), None);
        assert_eq!(error(Some(&[0; 3]), &params).unwrap(), "expected mask with 4 elements, found 3");
        let three = [params[0].clone(), params[0].clone(), params[0].clone()];
        assert_eq!(error(None, &three).unwrap(), "expected params with 2 elements, found 3");
        assert!(Rows::new(Logits::F32(&logits), 0, None, &params).is_err());
        assert!(Rows::new(Logits::F32(&logits), 50, None, &params).is_err());
        let texts = |offsets| Texts { tokens: &[1, 2, 3], offsets, n_prompts: &[0, 0] };
        let with =
            |offsets| rows(None, &params).unwrap().with_texts(texts(offsets)).err().map(|e| e.to_string());
        assert_eq!(with(&[0, 2, 3]), None);
        assert_eq!(
            with(&[0, 4, 3]).unwrap(),
            "expected history offsets that rise from 0 to 3, found 4 at row 1"
        );
        assert!(with(&[0, 2, 2]).is_some() && with(&[1, 2, 3]).is_some() && with(&[0, 3]).is_some());
    }

    #[test]
    fn a_bad_row_leaves_the_others_alone() {
        let logits = [0.0, 1.0, f32::NAN, 0.0, 2.0, 5.0];
        let params = [Params { temperature: 0.0, ..Params::default() }];
        let rows = Rows::new(Logits::F32(&logits), 2, None, &params).unwrap();
        let rngs = [Rng::new(0, 0); 3];
        for n_threads in [1, 2, 5] {
            let draws = rows.draw(&rngs, Purpose::SAMPLE, n_threads).unwrap();
            assert_eq!(draws[1], Err(Status::NotFinite));
            assert_eq!(draws[0], Ok(Draw { token: 1, log_prob: 0.0, margin: 1.0, mu: 10.0 }));
            assert_eq!(draws[2], Ok(Draw { token: 1, log_prob: 0.0, margin: 3.0, mu: 10.0 }));
        }
    }
}

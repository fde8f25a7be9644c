//! How is a whole batch drawn?
//!
//! Row by row: a row's token depends on its own logits, mask, rules, seed and position and on nothing else.

use super::{Draw, MAX_VOCAB, Params, Sampler, Status};
use crate::rng::{Purpose, Rng};

/// A batch of rows with their masks and rules.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    logits: &'a [f32],
    n_vocab: usize,
    masks: Option<&'a [u32]>,
    params: &'a [Params],
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
        logits: &'a [f32],
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
        Ok(Self { logits, n_vocab, masks, params })
    }

    /// Rows in the batch.
    pub fn n_rows(&self) -> usize {
        self.logits.len() / self.n_vocab
    }

    fn row(&self, n_row: usize) -> (&'a [f32], Option<&'a [u32]>, &'a Params) {
        let n_words = self.n_vocab.div_ceil(32);
        let mask = self.masks.map(|words| &words[n_row * n_words..(n_row + 1) * n_words]);
        let params = &self.params[if self.params.len() == 1 { 0 } else { n_row }];
        (&self.logits[n_row * self.n_vocab..(n_row + 1) * self.n_vocab], mask, params)
    }

    /// Draw one token a row, row `b` with the numbers of `rngs[b]`.
    ///
    /// # Errors
    /// [`RowsError`] if there is not one `rng` a row.
    pub fn draw(&self, rngs: &[Rng], purpose: Purpose) -> Result<Vec<Result<Draw, Status>>, RowsError> {
        RowsError::check("rngs", self.n_rows(), rngs.len())?;
        let mut sampler = Sampler::default();
        let draws = rngs.iter().enumerate().map(|(n_row, &rng)| {
            let (logits, mask, params) = self.row(n_row);
            sampler.draw(logits, mask, params, rng, purpose)
        });
        Ok(draws.collect())
    }

    /// The tokens each row keeps, in order of id.
    pub fn keep_sets(&self) -> Vec<Result<Vec<u32>, Status>> {
        let mut sampler = Sampler::default();
        let sets = (0..self.n_rows()).map(|n_row| {
            let (logits, mask, params) = self.row(n_row);
            sampler.keep_set(logits, mask, params)
        });
        sets.collect()
    }

    /// The distribution each row is drawn from, `probs` row after row; `exact` are the logits before rounding to f32.
    ///
    /// # Errors
    /// [`RowsError`] if `exact` or `probs` is not as long as the logits.
    pub fn fill_probs<T: Copy + Into<f64>>(
        &self,
        exact: &[T],
        probs: &mut [f64],
    ) -> Result<Vec<Status>, RowsError> {
        RowsError::check("exact logits", self.logits.len(), exact.len())?;
        RowsError::check("probs", self.logits.len(), probs.len())?;
        let mut sampler = Sampler::default();
        let rows = exact.chunks(self.n_vocab).zip(probs.chunks_mut(self.n_vocab)).enumerate();
        let statuses = rows.map(|(n_row, (exact, probs))| {
            let (logits, mask, params) = self.row(n_row);
            sampler.fill_probs(logits, exact, mask, params, probs).err().unwrap_or(Status::Ok)
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
        let error =
            |masks, params| Rows::new(&logits, 40, masks, params).err().map(|error| error.to_string());
        assert_eq!(error(Some(&[0; 4]), &params), None);
        assert_eq!(error(Some(&[0; 3]), &params).unwrap(), "expected mask with 4 elements, found 3");
        assert_eq!(error(None, &[Params::default(); 3]).unwrap(), "expected params with 2 elements, found 3");
        assert!(Rows::new(&logits, 0, None, &params).is_err());
        assert!(Rows::new(&logits, 50, None, &params).is_err());
    }

    #[test]
    fn a_bad_row_leaves_the_others_alone() {
        let logits = [0.0, 1.0, f32::NAN, 0.0, 2.0, 5.0];
        let params = [Params { temperature: 0.0, ..Params::default() }];
        let rows = Rows::new(&logits, 2, None, &params).unwrap();
        let rngs = [Rng::new(0, 0); 3];
        let draws = rows.draw(&rngs, Purpose::SAMPLE).unwrap();
        assert_eq!(draws[1], Err(Status::NotFinite));
        assert_eq!(draws[0], Ok(Draw { token: 1, log_prob: 0.0, margin: 1.0 }));
        assert_eq!(draws[2], Ok(Draw { token: 1, log_prob: 0.0, margin: 3.0 }));
    }
}

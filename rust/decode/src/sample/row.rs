//! What is in a row of logits, read once?
//!
//! One pass finds the best token and the maximum of every block of [`BLOCK`] tokens, and whether the row can be drawn
//! from at all. The block maxima answer "where can a token above t be?" without reading the row again: a bound for the
//! k-th best is the k-th best block maximum, and few blocks reach it.

use crate::wide::wide;

/// Tokens that share a maximum.
pub(super) const BLOCK: usize = 64;

/// Can a token be drawn from a row?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Yes.
    Ok = 0,
    /// An allowed logit is NaN or +inf.
    NotFinite = 1,
    /// No token is allowed, or every allowed logit is -inf.
    Empty = 2,
}

/// A row that can be drawn from.
pub(super) struct Row<'a> {
    /// Logits; tokens that are not allowed are `-inf`.
    pub(super) logits: &'a [f32],
    /// The maximum of each block.
    pub(super) maxima: &'a [f32],
    /// The best logit.
    pub(super) max: f32,
}

impl Row<'_> {
    /// Call `visit` with every token whose logit is at least `bound` and above `-inf`, in order of id.
    #[inline(always)]
    pub(super) fn for_each_from(&self, bound: f32, mut visit: impl FnMut(u32, f32)) {
        for (n_block, _) in self.maxima.iter().enumerate().filter(|(_, max)| **max >= bound) {
            let first = n_block * BLOCK;
            for (offset, &logit) in
                self.logits[first..self.logits.len().min(first + BLOCK)].iter().enumerate()
            {
                if logit >= bound && logit > f32::NEG_INFINITY {
                    visit((first + offset) as u32, logit);
                }
            }
        }
    }

    /// The best token, ties to the smallest id.
    pub(super) fn best(&self) -> u32 {
        let n_block = self.maxima.iter().position(|&max| max == self.max).unwrap_or(0);
        let offset = self.logits[n_block * BLOCK..].iter().position(|&logit| logit == self.max).unwrap_or(0);
        (n_block * BLOCK + offset) as u32
    }

    /// The best logit of the other tokens.
    pub(super) fn runner_up(&self, best: u32) -> f32 {
        let own_block = best as usize / BLOCK;
        let others =
            self.maxima.iter().enumerate().filter(|(n_block, _)| *n_block != own_block).map(|(_, &max)| max);
        let first = own_block * BLOCK;
        let own = self.logits[first..self.logits.len().min(first + BLOCK)].iter().enumerate();
        let own = own.filter(|(offset, _)| first + offset != best as usize).map(|(_, &logit)| logit);
        others.chain(own).fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Memory that the rows of a batch share.
#[derive(Default)]
pub(super) struct RowBuffers {
    masked: Vec<f32>,
    maxima: Vec<f32>,
}

impl RowBuffers {
    /// Read a row. Bit `t % 32` of `mask[t / 32]` allows token `t`; tokens that are not allowed are not looked at.
    pub(super) fn read<'a>(&'a mut self, logits: &'a [f32], mask: Option<&[u32]>) -> Result<Row<'a>, Status> {
        let logits = match mask {
            None => logits,
            Some(words) => {
                apply_mask(logits, words, &mut self.masked);
                &self.masked
            }
        };
        self.maxima.clear();
        self.maxima.resize(logits.len().div_ceil(BLOCK), 0.0);
        let (max, has_nan) = fill_maxima(logits, &mut self.maxima);
        if has_nan || max == f32::INFINITY {
            Err(Status::NotFinite)
        } else if max == f32::NEG_INFINITY {
            Err(Status::Empty)
        } else {
            Ok(Row { logits, maxima: &self.maxima, max })
        }
    }
}

fn apply_mask(logits: &[f32], words: &[u32], masked: &mut Vec<f32>) {
    masked.clear();
    for (chunk, &word) in logits.chunks(32).zip(words) {
        if word == 0 {
            masked.resize(masked.len() + chunk.len(), f32::NEG_INFINITY);
        } else {
            masked.extend(
                chunk.iter().enumerate().map(
                    |(bit, &logit)| {
                        if word >> bit & 1 == 1 { logit } else { f32::NEG_INFINITY }
                    },
                ),
            );
        }
    }
}

wide! {
    /// The maximum of each block and of all, and whether a NaN was seen.
    fn fill_maxima(logits: &[f32], maxima: &mut [f32]) -> (f32, bool) {
        let mut nan_bits = 0u32;
        let mut best = f32::NEG_INFINITY;
        let (blocks, tail) = logits.as_chunks::<BLOCK>();
        for (block, max) in blocks.iter().zip(maxima.iter_mut()) {
            let mut lanes = [f32::NEG_INFINITY; 16];
            let mut nans = [0u32; 16];
            for quarter in block.as_chunks::<16>().0 {
                for lane in 0..16 {
                    let logit = quarter[lane];
                    lanes[lane] = if logit > lanes[lane] { logit } else { lanes[lane] };
                    nans[lane] |= u32::from(logit.is_nan());
                }
            }
            *max = lanes.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
            nan_bits |= nans.iter().fold(0, |a, &b| a | b);
            best = if *max > best { *max } else { best };
        }
        if !tail.is_empty() && let Some(max) = maxima.last_mut() {
            *max = tail.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
            nan_bits |= u32::from(tail.iter().any(|logit| logit.is_nan()));
            best = if *max > best { *max } else { best };
        }
        (best, nan_bits != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn status(logits: &[f32], mask: Option<&[u32]>) -> Option<Status> {
        RowBuffers::default().read(logits, mask).err()
    }

    #[test]
    fn unusable_rows_have_a_status() {
        assert_eq!(status(&[0.0, f32::NAN], None), Some(Status::NotFinite));
        assert_eq!(status(&[0.0, f32::INFINITY], None), Some(Status::NotFinite));
        assert_eq!(status(&[NONE; 70], None), Some(Status::Empty));
        assert_eq!(status(&[], None), Some(Status::Empty));
        assert_eq!(status(&[f32::NAN, 1.0], Some(&[0b10])), None);
        assert_eq!(status(&[f32::NAN, 1.0], Some(&[0b00])), Some(Status::Empty));
        let mut row = vec![0.0; 200];
        for n_nan in [0, 63, 64, 191, 192, 199] {
            row[n_nan] = f32::NAN;
            assert_eq!(status(&row, None), Some(Status::NotFinite), "{n_nan}");
            row[n_nan] = 0.0;
        }
    }

    #[test]
    fn the_best_token_is_the_first_of_its_equals() {
        let mut logits = vec![0.0; 300];
        (logits[65], logits[70], logits[299]) = (2.0, 2.0, 2.0);
        let mut buffers = RowBuffers::default();
        let row = buffers.read(&logits, None).unwrap();
        assert_eq!((row.best(), row.max), (65, 2.0));
        let mut seen = vec![];
        row.for_each_from(1.0, |token, _| seen.push(token));
        assert_eq!(seen, [65, 70, 299]);
    }
}

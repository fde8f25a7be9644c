//! How many nodes pay?
//!
//! A step that verifies n nodes takes T(n) and yields one token and the nodes that are accepted, E(n) expected. Tokens a
//! second are (1 + E(n)) / T(n), so the best n is where that is largest; n = 0 where no draft pays. E(n) is the sum of the
//! n largest path probabilities, T a curve measured once for a model and a device: usually flat over a tile of rows, then
//! a step, which is why the whole range is looked at and not only the next node.

use super::error::{DraftError, DraftErrorKind};

/// Seconds of a forward pass by the number of its rows, linear between measured points.
#[derive(Clone, Debug, PartialEq)]
pub struct CostCurve {
    rows: Vec<u32>,
    seconds: Vec<f64>,
}

impl CostCurve {
    /// Measured points, `rows` ascending from 1; behind the last the curve goes on as its last piece.
    ///
    /// # Errors
    /// [`DraftErrorKind::Cost`].
    pub fn new(rows: Vec<u32>, seconds: Vec<f64>) -> Result<Self, DraftError> {
        let is_right = rows.len() == seconds.len()
            && rows.first() == Some(&1)
            && rows.is_sorted_by(|a, b| a < b)
            && seconds.iter().all(|&seconds| seconds.is_finite() && seconds > 0.0);
        if is_right { Ok(Self { rows, seconds }) } else { Err(DraftErrorKind::Cost.into()) }
    }

    /// Seconds of a pass over `n_rows`.
    pub fn at(&self, n_rows: usize) -> f64 {
        if self.rows.len() == 1 {
            return self.seconds[0];
        }
        let behind = self.rows.partition_point(|&rows| (rows as usize) < n_rows);
        let right = behind.clamp(1, self.rows.len() - 1);
        let (x0, x1) = (f64::from(self.rows[right - 1]), f64::from(self.rows[right]));
        let (y0, y1) = (self.seconds[right - 1], self.seconds[right]);
        // A noisy last piece may fall; a pass never gets cheaper than the cheapest that was measured.
        let at = y0 + (y1 - y0) * (n_rows as f64 - x0) / (x1 - x0);
        at.max(self.seconds.iter().copied().fold(f64::INFINITY, f64::min))
    }

    /// How many of the nodes pay, given the path probabilities of the best ones, the largest first.
    pub fn n_paying(&self, path_probs: impl IntoIterator<Item = f32>) -> usize {
        let (mut best, mut highest, mut expected) = (0, 1.0 / self.at(1), 1.0);
        for (i, path_prob) in path_probs.into_iter().enumerate() {
            expected += f64::from(path_prob);
            let rate = expected / self.at(i + 2);
            if rate > highest {
                (best, highest) = (i + 1, rate);
            }
        }
        best
    }

    /// Rows and seconds of the measured points.
    pub fn points(&self) -> (&[u32], &[f64]) {
        (&self.rows, &self.seconds)
    }
}

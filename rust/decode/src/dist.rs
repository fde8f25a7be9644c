//! Is this row a distribution?
//!
//! A row is checked once, where it enters: finite, not negative, some mass. What follows may then rely on it. Sums run
//! left to right in f64. Linear in the row; there is no worst input.
//!
//! Not here: truncation rules (`sample`), renormalising what a caller did not ask to be renormalised.

/// A row that is no distribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct DistError {
    kind: DistErrorKind,
}

/// The reasons behind a [`DistError`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DistErrorKind {
    /// NaN or infinite.
    #[error("expected a finite probability, found {value} at row {row}, token {token}")]
    NotFinite {
        /// The row of the batch.
        row: usize,
        /// The column.
        token: usize,
        /// What was found.
        value: f64,
    },
    /// Below zero.
    #[error("expected a probability of at least 0, found {value} at row {row}, token {token}")]
    Negative {
        /// The row of the batch.
        row: usize,
        /// The column.
        token: usize,
        /// What was found.
        value: f64,
    },
    /// Nothing to draw from.
    #[error("expected a row with mass, found {n_tokens} probabilities that sum to 0 at row {row}")]
    NoMass {
        /// The row of the batch.
        row: usize,
        /// Columns seen.
        n_tokens: usize,
    },
    /// So much or so little that shares of it have no digits left.
    #[error("expected a row whose sum is a normal number, found {mass:e} at row {row}")]
    Mass {
        /// The row of the batch.
        row: usize,
        /// The sum.
        mass: f64,
    },
}

impl DistError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &DistErrorKind {
        &self.kind
    }

    /// The row of the batch that is no distribution.
    pub fn row(&self) -> usize {
        match self.kind {
            DistErrorKind::NotFinite { row, .. }
            | DistErrorKind::Negative { row, .. }
            | DistErrorKind::NoMass { row, .. }
            | DistErrorKind::Mass { row, .. } => row,
        }
    }
}

impl From<DistErrorKind> for DistError {
    fn from(kind: DistErrorKind) -> Self {
        Self { kind }
    }
}

/// The sum of a row of non-negative weights, after checking it. `row` only names the row in errors.
///
/// # Errors
/// [`DistError`] for NaN, infinite or negative entries and for a row without mass.
pub fn checked_mass<T: Copy + Into<f64>>(weights: &[T], row: usize) -> Result<f64, DistError> {
    let mut mass = 0.0;
    for (token, &weight) in weights.iter().enumerate() {
        let value: f64 = weight.into();
        if !value.is_finite() {
            return Err(DistErrorKind::NotFinite { row, token, value }.into());
        }
        if value < 0.0 {
            return Err(DistErrorKind::Negative { row, token, value }.into());
        }
        mass += value;
    }
    if mass > 0.0 { Ok(mass) } else { Err(DistErrorKind::NoMass { row, n_tokens: weights.len() }.into()) }
}

/// Natural log-probabilities or logits to probabilities, in f64. `-inf` is a token that cannot occur.
///
/// # Errors
/// [`DistError`] for NaN or `+inf` entries and for a row that is `-inf` throughout.
pub fn softmax<T: Copy + Into<f64>>(logits: &[T], row: usize) -> Result<Vec<f64>, DistError> {
    let mut max = f64::NEG_INFINITY;
    for (token, &logit) in logits.iter().enumerate() {
        let value: f64 = logit.into();
        if value.is_nan() || value == f64::INFINITY {
            return Err(DistErrorKind::NotFinite { row, token, value }.into());
        }
        max = max.max(value);
    }
    if max == f64::NEG_INFINITY {
        return Err(DistErrorKind::NoMass { row, n_tokens: logits.len() }.into());
    }
    let mut probs: Vec<f64> = logits.iter().map(|&logit| (logit.into() - max).exp()).collect();
    let mass: f64 = probs.iter().sum();
    probs.iter_mut().for_each(|p| *p /= mass);
    Ok(probs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_are_named() {
        assert_eq!(checked_mass(&[0.25, 0.75], 0).unwrap(), 1.0);
        let error = checked_mass(&[0.5, f64::NAN], 3).unwrap_err();
        assert_eq!(error.row(), 3);
        assert_eq!(error.to_string(), "expected a finite probability, found NaN at row 3, token 1");
        assert!(matches!(
            checked_mass(&[0.5, -0.1], 0).unwrap_err().kind(),
            DistErrorKind::Negative { token: 1, .. }
        ));
        assert!(matches!(
            checked_mass(&[0.0f32; 4], 0).unwrap_err().kind(),
            DistErrorKind::NoMass { n_tokens: 4, .. }
        ));
        assert!(softmax(&[f64::NEG_INFINITY; 2], 0).is_err());
        assert!(softmax::<f64>(&[], 0).is_err());
    }

    #[test]
    fn softmax_survives_large_logits() {
        let probs = softmax(&[1e30f32, 1e30, f32::NEG_INFINITY], 0).unwrap();
        assert_eq!(probs, [0.5, 0.5, 0.0]);
    }
}

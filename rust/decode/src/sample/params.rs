//! Which rules does a request ask for?

/// The sampling rules of one row. The neutral value of each field switches its rule off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Logits are divided by it; 0 takes the best token and ignores the other rules.
    pub temperature: f64,
    /// Keep this many of the best tokens; 0 keeps all.
    pub top_k: i64,
    /// Keep the shortest prefix, best first, with at least this mass; 1 keeps all.
    pub top_p: f64,
    /// Keep tokens with at least this share of the best token's probability; 0 keeps all.
    pub min_p: f64,
    /// Keep the tokens whose surprise is closest to the entropy, up to this mass; 1 keeps all.
    pub typical_p: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, typical_p: 1.0 }
    }
}

/// A rule with a value outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected {field} {range}, found {value}")]
pub struct ParamsError {
    field: &'static str,
    range: &'static str,
    value: f64,
}

impl ParamsError {
    /// The field that is out of range.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// What was found.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl Params {
    /// These rules, once every field is known to be in its range.
    ///
    /// # Errors
    /// [`ParamsError`] names the first field that is not.
    pub fn checked(self) -> Result<Self, ParamsError> {
        let unit = 0.0..=1.0;
        let checks = [
            (
                "temperature",
                "between 0 and 3.4e38",
                self.temperature,
                (0.0..=f64::from(f32::MAX)).contains(&self.temperature),
            ),
            ("top_k", "of at least 0", self.top_k as f64, self.top_k >= 0),
            ("top_p", "between 0 and 1", self.top_p, unit.contains(&self.top_p)),
            ("min_p", "between 0 and 1", self.min_p, unit.contains(&self.min_p)),
            (
                "typical_p",
                "above 0 and at most 1",
                self.typical_p,
                self.typical_p > 0.0 && self.typical_p <= 1.0,
            ),
        ];
        match checks.into_iter().find(|(_, _, _, holds)| !holds) {
            Some((field, range, value, _)) => Err(ParamsError { field, range, value }),
            None => Ok(self),
        }
    }

    /// The `k` of top-k, where it removes anything from a row this wide.
    pub(super) fn n_best(&self, n_vocab: usize) -> Option<usize> {
        usize::try_from(self.top_k).ok().filter(|k| (1..n_vocab).contains(k))
    }

    /// Is the best token taken without a draw? So it is where the temperature is no normal f32.
    #[inline]
    pub fn is_greedy(&self) -> bool {
        (self.temperature as f32) < f32::MIN_POSITIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_fields_are_named() {
        let neutral = Params::default();
        assert!(neutral.checked().is_ok());
        for (params, message) in [
            (
                Params { temperature: f64::NAN, ..neutral },
                "expected temperature between 0 and 3.4e38, found NaN",
            ),
            (Params { temperature: -1.0, ..neutral }, "expected temperature between 0 and 3.4e38, found -1"),
            (Params { top_p: 1.5, ..neutral }, "expected top_p between 0 and 1, found 1.5"),
            (Params { top_k: -1, ..neutral }, "expected top_k of at least 0, found -1"),
            (Params { min_p: -0.5, ..neutral }, "expected min_p between 0 and 1, found -0.5"),
            (Params { typical_p: 0.0, ..neutral }, "expected typical_p above 0 and at most 1, found 0"),
        ] {
            assert_eq!(params.checked().unwrap_err().to_string(), message);
        }
        assert!(Params { temperature: 1e-39, ..neutral }.is_greedy());
    }
}

//! The Python face of the `control` domain: extract, detach, one core call, wrap.

use std::sync::MutexGuard;

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tokenloom_decode::control::{self as core, Check, CheckedError, ConstraintState, ControlError};
use tokenloom_decode::rng::Purpose;
use tokenloom_decode::sample::{Sampler, Status};

use crate::array::elements;
use crate::constraint::PyState;
use crate::error::{DistributionError, array_error};
use crate::sample::RngArg;

/// See `tokenloom.control`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod control {
    #[pymodule_export]
    use super::draw_checked;
    #[pymodule_export]
    use crate::awrs::{awrs, awrs_batch, resample};
    #[pymodule_export]
    use crate::constraint::{PyConstraint, PyState, cap_probs, fill_masks, walk_mask};
}

/// A Python object that answers which token ids are allowed. The interpreter is attached for each call only.
pub(crate) struct PyCheck {
    one: Py<PyAny>,
    many: Option<Py<PyAny>>,
    mask: Option<Py<PyAny>>,
    /// Verdicts that need no asking.
    pub(crate) known: Vec<(u32, bool)>,
}

impl PyCheck {
    /// `check_many` of the object, or the object itself, or its `check`.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let many = object.getattr_opt("check_many")?;
        let one = if object.is_callable() { Some(object.clone()) } else { object.getattr_opt("check")? };
        let mask = object.getattr_opt("mask")?.map(Bound::unbind);
        match one.or_else(|| many.clone()) {
            Some(one) => Ok(Self { one: one.unbind(), many: many.map(Bound::unbind), mask, known: vec![] }),
            None => Err(PyTypeError::new_err(format!(
                "expected check to be callable or to have check_many, found {}",
                object.get_type()
            ))),
        }
    }
}

impl Check for PyCheck {
    type Error = PyErr;

    fn check(&mut self, token: u32) -> PyResult<bool> {
        Python::attach(|py| self.one.bind(py).call1((token,))?.is_truthy())
    }

    fn check_many(&mut self, tokens: &[u32]) -> PyResult<Vec<bool>> {
        let Some(many) = &self.many else {
            return tokens.iter().map(|&token| self.check(token)).collect();
        };
        Python::attach(|py| {
            let verdicts = many.bind(py).call1((tokens.to_vec().into_pyarray(py),))?;
            let verdicts: Vec<bool> = match verdicts.extract::<PyReadonlyArray1<'_, bool>>() {
                Ok(array) => array.as_array().iter().copied().collect(),
                Err(_) => {
                    verdicts.try_iter()?.map(|verdict| verdict?.is_truthy()).collect::<PyResult<_>>()?
                }
            };
            if verdicts.len() == tokens.len() {
                return Ok(verdicts);
            }
            let (expected, found) = (format!("{} verdicts", tokens.len()), verdicts.len().to_string());
            Err(array_error(py, "the result of check_many", &expected, &found))
        })
    }

    fn fill_mask(&mut self, words: &mut [u32]) -> PyResult<bool> {
        let Some(mask) = &self.mask else { return Ok(false) };
        Python::attach(|py| {
            let Some(mask) = mask.bind(py).call0()?.extract::<Option<PyReadonlyArray1<'_, i32>>>()? else {
                return Ok(false);
            };
            words.iter_mut().zip(mask.as_array()).for_each(|(word, bits)| *word = bits.cast_unsigned());
            Ok(true)
        })
    }

    fn known(&self) -> &[(u32, bool)] {
        &self.known
    }

    fn is_batched(&self) -> bool {
        self.many.is_some()
    }
}

/// A state of the core and the tokens that end the text where it accepts. An error waits to be placed in the text.
struct CoreCheck<'a> {
    state: MutexGuard<'a, Box<dyn ConstraintState>>,
    ends: Vec<u32>,
}

impl Check for CoreCheck<'_> {
    type Error = ControlError;

    fn check(&mut self, token: u32) -> Result<bool, ControlError> {
        if self.ends.contains(&token) { self.state.is_accepting() } else { self.state.check(token) }
    }

    fn fill_mask(&mut self, words: &mut [u32]) -> Result<bool, ControlError> {
        self.state.fill_mask(words)?;
        let accepting = self.state.is_accepting()?;
        for &end in &self.ends {
            if let Some(word) = words.get_mut(end as usize / 32) {
                let bit = 1 << (end % 32);
                *word = if accepting { *word | bit } else { *word & !bit };
            }
        }
        Ok(true)
    }
}

/// Token (-1 where all are forbidden), log-probability without the constraint, checks, and whether a mask was filled.
#[pyfunction]
fn draw_checked(
    py: Python<'_>,
    logits: PyReadonlyArray1<'_, f32>,
    temperature: f64,
    check: &Bound<'_, PyAny>,
    rng: RngArg,
    ends: Vec<u32>,
) -> PyResult<(i64, f32, usize, bool)> {
    let row = elements(&logits, "logits")?;
    let purpose = Purpose::SAMPLE;
    let drawn = if let Ok(state) = check.cast::<PyState>() {
        let own = state.get();
        let drawn = py.detach(|| {
            let mut check = CoreCheck { state: own.state(), ends };
            core::draw_checked(&mut Sampler::default(), row, temperature, &mut check, rng.0, purpose)
        });
        drawn.map_err(|error| match error {
            CheckedError::Row(status) => CheckedError::Row(status),
            CheckedError::Check(error) => CheckedError::Check(own.place(py, &error)),
        })
    } else {
        let mut check = PyCheck::new(check)?;
        py.detach(|| {
            core::draw_checked(&mut Sampler::default(), row, temperature, &mut check, rng.0, purpose)
        })
    };
    match drawn {
        Ok(draw) => Ok((draw.token.map_or(-1, i64::from), draw.log_prob, draw.n_checks, draw.has_masked)),
        Err(CheckedError::Check(error)) => Err(error),
        Err(CheckedError::Row(Status::Empty)) => Ok((-1, f32::NEG_INFINITY, 0, false)),
        Err(CheckedError::Row(_)) => Err(not_finite()),
    }
}

fn not_finite() -> PyErr {
    DistributionError::new_err("expected logits that are numbers, found NaN or +inf")
}

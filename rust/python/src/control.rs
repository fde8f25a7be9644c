//! The Python face of the `control` domain: extract, detach, one core call, wrap.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tokenloom_decode::control::{self as core, AwrsError, Check, WeightedToken};

use crate::array::Floats;
use crate::error::{array_error, raise};
use crate::sample::RngArg;

/// See `tokenloom.control`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod control {
    #[pymodule_export]
    use super::awrs;
    #[pymodule_export]
    use crate::constraint::{PyConstraint, PyState, cap_probs, fill_masks, walk_mask};
}

/// A Python object that answers which token ids are allowed. The interpreter is attached for each call only.
struct PyCheck {
    one: Py<PyAny>,
    many: Option<Py<PyAny>>,
}

impl PyCheck {
    /// `check_many` of the object, or the object itself, or its `check`.
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let many = object.getattr_opt("check_many")?;
        let one = if object.is_callable() { Some(object.clone()) } else { object.getattr_opt("check")? };
        match one.or_else(|| many.clone()) {
            Some(one) => Ok(Self { one: one.unbind(), many: many.map(Bound::unbind) }),
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

    fn is_batched(&self) -> bool {
        self.many.is_some()
    }
}

#[pyfunction]
fn awrs(
    py: Python<'_>,
    logprobs: Floats<'_>,
    check: &Bound<'_, PyAny>,
    rng: RngArg,
) -> PyResult<(i64, f64, usize)> {
    let check = PyCheck::new(check)?;
    if logprobs.shape().len() != 1 {
        let found = format!("shape {:?}", logprobs.shape());
        return Err(array_error(py, "logprobs", "one row", &found));
    }
    let drawn = match &logprobs {
        Floats::F32(row) => {
            let row = row.as_slice()?;
            py.detach(|| core::awrs(row, check, rng.0))
        }
        Floats::F64(row) => {
            let row = row.as_slice()?;
            py.detach(|| core::awrs(row, check, rng.0))
        }
    };
    match drawn {
        Ok(WeightedToken { token, log_weight, n_checks }) => {
            Ok((token.map_or(-1, i64::from), log_weight, n_checks))
        }
        Err(AwrsError::Dist(error)) => Err(raise(error)),
        Err(AwrsError::Check(error)) => Err(error),
    }
}

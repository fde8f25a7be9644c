//! The Python face of the machine that interprets definitions: the methods of `Tokenizer` that do not need bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use tokenloom_formats::write;
use tokenloom_tokenize::pipeline::PipelineStream;
use tokenloom_tokenize::{AllowedSpecial, DecodeErrorKind, EncodeOptions, Interpreted, Ragged};

use crate::error::{UnsupportedFeatureError, raise, unknown_token};
use crate::formats::PyDefinition;
use crate::text::{Text, texts_of};
use crate::tokenizer::{Ids, pairs, to_array};

/// A tokenizer of any parts.
#[pyclass(frozen, name = "Interpreted", module = "tokenloom._core.tokenizer")]
pub(crate) struct PyInterpreted {
    inner: Arc<Interpreted>,
    reason: Option<String>,
}

/// The text of `str` or `bytes`, which must be UTF-8 here.
fn utf8<'a>(input: &'a Text<'_>) -> PyResult<&'a str> {
    std::str::from_utf8(input.as_bytes()?).map_err(|bad| {
        UnsupportedFeatureError::new_err(format!(
            "bytes that are not UTF-8 (at byte {}) need a tokenizer over bytes: byte-level BPE, or BPE with a token for \
             every byte",
            bad.valid_up_to()
        ))
    })
}

impl PyInterpreted {
    fn options(&self, add_special_tokens: bool, allowed: &Bound<'_, PyAny>) -> PyResult<EncodeOptions> {
        let allowed_special = match allowed.cast::<PyString>() {
            Ok(text) if text.to_str()? == "all" => AllowedSpecial::All,
            Ok(text) => {
                return Err(PyTypeError::new_err(format!(
                    "expected allowed_special to be \"all\" or a set of special tokens, found {}",
                    text.repr()?
                )));
            }
            Err(_) => {
                let names: Vec<String> =
                    allowed.try_iter()?.map(|name| name?.extract()).collect::<PyResult<_>>()?;
                self.inner.allow_only(names.iter().map(String::as_str)).map_err(raise)?
            }
        };
        Ok(EncodeOptions { add_special_tokens, allowed_special })
    }

    fn ids_of(&self, text: &Bound<'_, PyAny>, add: bool, allowed: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        let (options, input) = (self.options(add, allowed)?, Text::from_any(text)?);
        let utf8 = utf8(&input)?;
        text.py().detach(|| self.inner.encode(utf8, &options)).map_err(raise)
    }

    fn ragged(
        &self,
        texts: &Bound<'_, PyAny>,
        threads: usize,
        add: bool,
        allowed: &Bound<'_, PyAny>,
    ) -> PyResult<Ragged> {
        let options = self.options(add, allowed)?;
        let inputs = texts_of(texts)?;
        let inputs = inputs.iter().map(utf8).collect::<PyResult<Vec<_>>>()?;
        texts.py().detach(|| self.inner.encode_batch(&inputs, &options, threads)).map_err(raise)
    }
}

#[pymethods]
impl PyInterpreted {
    #[new]
    fn new(py: Python<'_>, definition: &PyDefinition) -> PyResult<Self> {
        let shared = Arc::clone(&definition.definition);
        let inner = py.detach(|| Interpreted::new(shared)).map_err(raise)?;
        Ok(Self { inner: Arc::new(inner), reason: definition.reason.clone() })
    }

    #[getter]
    fn definition(&self) -> PyDefinition {
        PyDefinition { definition: Arc::clone(self.inner.definition()), reason: self.reason.clone() }
    }

    #[staticmethod]
    fn from_state(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let definition = py.detach(|| write::definition_of_state(state)).map_err(raise)?;
        let inner = py.detach(|| Interpreted::new(Arc::new(definition))).map_err(raise)?;
        Ok(Self { inner: Arc::new(inner), reason: None })
    }

    fn to_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let state = py.detach(|| write::state(self.inner.definition())).map_err(raise)?;
        Ok(PyBytes::new(py, &state))
    }

    pub(crate) fn encode<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        Ok(to_array(text.py(), self.ids_of(text, add_special_tokens, allowed_special)?))
    }

    pub(crate) fn encode_list<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        PyList::new(text.py(), self.ids_of(text, add_special_tokens, allowed_special)?)
    }

    #[allow(clippy::type_complexity)]
    fn encode_batch<'py>(
        &self,
        texts: &Bound<'py, PyAny>,
        threads: usize,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>)> {
        let py = texts.py();
        let ragged = self.ragged(texts, threads, add_special_tokens, allowed_special)?;
        Ok((ragged.values.into_pyarray(py), ragged.offsets.into_pyarray(py)))
    }

    fn encode_batch_list<'py>(
        &self,
        texts: &Bound<'py, PyAny>,
        threads: usize,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let ragged = self.ragged(texts, threads, add_special_tokens, allowed_special)?;
        let rows = ragged.offsets.windows(2).map(|ends| &ragged.values[ends[0] as usize..ends[1] as usize]);
        PyList::new(texts.py(), rows.collect::<Vec<_>>())
    }

    #[allow(clippy::type_complexity)]
    fn encode_with_offsets<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyArray1<u32>>, Bound<'py, PyArray2<i64>>, Bound<'py, PyArray2<i64>>)> {
        let py = text.py();
        let (options, input) = (self.options(add_special_tokens, allowed_special)?, Text::from_any(text)?);
        let utf8 = utf8(&input)?;
        let encoding = py.detach(|| self.inner.encode_with_offsets(utf8, &options)).map_err(raise)?;
        Ok((
            encoding.ids.into_pyarray(py),
            pairs(py, encoding.byte_offsets)?,
            pairs(py, encoding.char_offsets)?,
        ))
    }

    fn count_until(
        &self,
        text: &Bound<'_, PyAny>,
        limit: usize,
        add_special_tokens: bool,
        allowed_special: &Bound<'_, PyAny>,
    ) -> PyResult<Option<usize>> {
        let n_ids = self.ids_of(text, add_special_tokens, allowed_special)?.len();
        Ok(Some(n_ids).filter(|&n_ids| n_ids <= limit))
    }

    pub(crate) fn decode(
        &self,
        ids: &Bound<'_, PyAny>,
        skip_special_tokens: bool,
        errors: &str,
    ) -> PyResult<String> {
        let py = ids.py();
        // The decoder's steps have replaced what is no text.
        let _ = errors;
        let Ids(ids) = &Ids::from_any(ids)?;
        py.detach(|| self.inner.decode(ids, skip_special_tokens)).map_err(raise)
    }

    fn decode_bytes<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(ids.py(), self.decode(ids, false, "replace")?.as_bytes()))
    }

    fn token_id(&self, token: &Bound<'_, PyBytes>) -> PyResult<u32> {
        let text = std::str::from_utf8(token.as_bytes()).ok();
        text.and_then(|text| self.inner.pipeline().token_to_id(text))
            .ok_or_else(|| unknown_token(token.py(), &format!("{} is no token", token.as_any()), token))
    }

    /// The string of an id, as the file has it.
    fn token_text(&self, py: Python<'_>, id: i64) -> PyResult<&str> {
        let text = u32::try_from(id).ok().and_then(|id| self.inner.pipeline().id_to_token(id));
        text.ok_or_else(|| unknown_token(py, &format!("id {id} is no token"), id))
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.id_bound()
    }

    #[getter]
    fn n_tokens(&self) -> usize {
        self.inner.n_tokens()
    }

    /// Part, action and engine of every step, for people.
    fn stages(&self) -> Vec<(&'static str, String, String)> {
        self.inner.stages().into_iter().map(|stage| (stage.part, stage.action, stage.engine)).collect()
    }

    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        self.inner.special_tokens().try_for_each(|(content, id)| tokens.set_item(content, id))?;
        Ok(tokens)
    }
}

/// A decoding stream over an interpreted tokenizer. Calls from several threads take turns.
#[pyclass(frozen, name = "InterpretedStream", module = "tokenloom._core.tokenizer")]
pub(crate) struct PyInterpretedStream {
    tokenizer: Arc<Interpreted>,
    state: Mutex<PipelineStream>,
}

impl PyInterpretedStream {
    /// The state is whole after every step, so a poisoned lock is as good as another.
    fn state(&self) -> MutexGuard<'_, PipelineStream> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyInterpretedStream {
    #[new]
    fn new(tokenizer: &Bound<'_, PyInterpreted>, skip_special_tokens: bool) -> Self {
        let tokenizer = Arc::clone(&tokenizer.get().inner);
        let state = Mutex::new(PipelineStream::new(tokenizer.pipeline(), skip_special_tokens));
        Self { tokenizer, state }
    }

    fn push(&self, py: Python<'_>, id: i64) -> PyResult<String> {
        let missing = || unknown_token(py, &format!("id {id} is no token"), id);
        let id = u32::try_from(id).map_err(|_| missing())?;
        self.state().push(self.tokenizer.pipeline(), id).map_err(|error| match error.kind() {
            DecodeErrorKind::UnknownToken { .. } => missing(),
            _ => raise(error),
        })
    }

    fn flush(&self) -> PyResult<String> {
        self.state().flush(self.tokenizer.pipeline()).map_err(raise)
    }
}

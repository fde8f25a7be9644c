//! The Python face of the `tokenizer` domain: extract, detach, one core call, wrap.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use tokenloom_decode::control::GrammarVocabulary;
use tokenloom_tokenize::spec::TokenizerSpec;
use tokenloom_tokenize::{
    self as core, AllowedSpecial, DecodeErrorKind, DecodeStream, Dropout, EncodeOptions, Tokenizer,
};

use crate::array::{Spares, TokenIds};
use crate::error::raise;
use crate::formats::PySpec;
use crate::ints::Ints;
use crate::text::{Text, is_long, texts_of, utf8_of};

/// See `tokenloom.tokenizer`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod tokenizer {
    #[pymodule_export]
    use super::{PyDecodeStream, PyTokenizer};
    #[pymodule_export]
    use crate::direct::PyDirectCalls;
    #[pymodule_export]
    use crate::interpreted::{PyInterpreted, PyInterpretedStream};
}

/// Work on fewer bytes than this takes less time than handing the interpreter over.
const DETACH_BYTES: usize = 512;

/// The core's tokenizer; bindings of other domains read `inner`.
#[pyclass(frozen, name = "Tokenizer", module = "tokenloom._core.tokenizer")]
pub(crate) struct PyTokenizer {
    pub(crate) inner: Arc<Tokenizer>,
    /// What grammars need of it, made by the first one.
    pub(crate) grammar_vocabulary: OnceLock<Arc<GrammarVocabulary>>,
    /// Those that lists were made of.
    ints: Ints,
    /// Where ids of long texts are written.
    spares: Spares<u32>,
    /// Where the code points of long texts are written, and their UTF-8.
    codes: Spares<u32>,
    utf8: Spares<u8>,
}

/// Ids as the caller gave them. An array is copied: it is cheaper than to guard it against other threads.
pub(crate) struct Ids(pub(crate) Vec<u32>);

impl AsRef<[u32]> for Ids {
    fn as_ref(&self) -> &[u32] {
        &self.0
    }
}

impl Ids {
    pub(crate) fn from_any(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.cast::<PyArray1<u32>>() {
            if let Ok(ids) = array.to_vec() {
                return Ok(Self(ids));
            }
        } else if (object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>())
            && let Ok(ids) = object.extract()
        {
            return Ok(Self(ids));
        }
        let TokenIds(ids) = object.extract()?;
        let to_u32 =
            |(index, &id): (usize, &i64)| u32::try_from(id).map_err(|_| unknown_id(object.py(), id, index));
        Ok(Self(ids.iter().enumerate().map(to_u32).collect::<PyResult<_>>()?))
    }
}

fn unknown_id(py: Python<'_>, id: i64, index: usize) -> PyErr {
    crate::error::unknown_token(py, &format!("id {id} at position {index} is no token"), id)
}

impl PyTokenizer {
    pub(crate) fn wrap(tokenizer: Tokenizer) -> Self {
        Self {
            inner: Arc::new(tokenizer),
            grammar_vocabulary: OnceLock::new(),
            ints: Ints::default(),
            spares: Spares::default(),
            codes: Spares::default(),
            utf8: Spares::default(),
        }
    }

    pub(crate) fn options(
        &self,
        add_special_tokens: bool,
        allowed: &Bound<'_, PyAny>,
    ) -> PyResult<EncodeOptions> {
        let allowed_special = match allowed.cast::<PyString>() {
            Ok(text) if text.is(intern!(allowed.py(), "all")) => AllowedSpecial::All,
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
                AllowedSpecial::only(&self.inner, names.iter().map(String::as_str)).map_err(raise)?
            }
        };
        Ok(EncodeOptions { add_special_tokens, allowed_special })
    }

    /// What `make` makes of the ids of `text`; `make_long` makes it of many, in memory that it may keep.
    fn with_ids<R>(
        &self,
        text: &Bound<'_, PyAny>,
        (add, allowed): (bool, &Bound<'_, PyAny>),
        threads: usize,
        make: impl FnOnce(&[u32]) -> PyResult<R>,
        make_long: impl FnOnce(Vec<u32>) -> PyResult<R>,
    ) -> PyResult<R> {
        let options = self.options(add, allowed)?;
        let (py, string) = (text.py(), text.cast::<PyString>().ok());
        let long = string.filter(|text| is_long(text)).and_then(|text| self.utf8_of(text));
        let other;
        let input = if let Some(utf8) = &long {
            utf8.as_str().into()
        } else if let Some(text) = string.and_then(|text| text.to_str().ok()) {
            text.into()
        } else {
            other = Text::in_place(text)?;
            other.as_text()?
        };
        if input.as_bytes().len() < DETACH_BYTES {
            return self.inner.with_ids(input, &options, make).map_err(raise)?;
        }
        let ids = py.detach(|| self.encode_long(input, &options, threads)).map_err(raise)?;
        if let Some(utf8) = long {
            self.utf8.keep(utf8.into_bytes());
        }
        make_long(ids)
    }

    /// The UTF-8 of a long text, in memory of an earlier one where there is any.
    fn utf8_of(&self, text: &Bound<'_, PyString>) -> Option<String> {
        let mut codes = self.codes.take();
        let utf8 = utf8_of(text, &mut codes, self.utf8.take());
        self.codes.keep(codes);
        utf8
    }

    /// The ids of `text`, in memory of an earlier result where there is any.
    fn encode_long(
        &self,
        text: core::Text<'_>,
        options: &EncodeOptions,
        threads: usize,
    ) -> Result<Vec<u32>, core::EncodeError> {
        let mut ids = self.spares.take();
        self.inner.encode_onto(text, options, threads, &mut ids).map(|()| ids)
    }

    fn ragged(
        &self,
        texts: &Bound<'_, PyAny>,
        threads: usize,
        add_special_tokens: bool,
        allowed_special: &Bound<'_, PyAny>,
    ) -> PyResult<core::Ragged> {
        let options = self.options(add_special_tokens, allowed_special)?;
        let inputs = texts_of(texts)?;
        let inputs = inputs.iter().map(Text::as_text).collect::<PyResult<Vec<_>>>()?;
        texts.py().detach(|| self.inner.encode_batch(&inputs, &options, threads)).map_err(raise)
    }

    fn list_of<'py>(&self, py: Python<'py>, ids: &[u32]) -> PyResult<Bound<'py, PyList>> {
        self.ints.list(py, ids, self.inner.id_bound())
    }
}

#[pymethods]
impl PyTokenizer {
    #[new]
    fn new(py: Python<'_>, spec: &PySpec) -> PyResult<Self> {
        let spec = Arc::clone(&spec.spec);
        py.detach(|| Tokenizer::new(spec)).map(Self::wrap).map_err(raise)
    }

    #[getter]
    fn spec(&self) -> PySpec {
        PySpec { spec: Arc::clone(self.inner.spec()) }
    }

    #[staticmethod]
    fn from_state(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let spec = py.detach(|| TokenizerSpec::from_state(state)).map_err(raise)?;
        py.detach(|| Tokenizer::new(spec)).map(Self::wrap).map_err(raise)
    }

    fn to_state<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.spec().to_state()))
    }

    #[pyo3(signature = (text, add_special_tokens, allowed_special, threads=1))]
    pub(crate) fn encode<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let (py, how) = (text.py(), (add_special_tokens, allowed_special));
        let short = |ids: &[u32]| Ok(PyArray1::from_slice(py, ids));
        self.with_ids(text, how, threads, short, |ids| self.spares.array(py, ids))
    }

    #[allow(clippy::too_many_arguments)]
    fn encode_with_dropout<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        probability: f32,
        seed: u64,
        superwords_only: bool,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let py = text.py();
        let (options, input) = (self.options(add_special_tokens, allowed_special)?, Text::from_any(text)?);
        let input = input.as_text()?;
        let dropout = Dropout { probability, seed, superwords_only };
        let ids = py.detach(|| self.inner.encode_with_dropout(input, &options, dropout)).map_err(raise)?;
        Ok(to_array(py, ids))
    }

    pub(crate) fn encode_list<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        add_special_tokens: bool,
        allowed_special: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, how) = (text.py(), (add_special_tokens, allowed_special));
        self.with_ids(
            text,
            how,
            1,
            |ids| self.list_of(py, ids),
            |ids| {
                let list = self.list_of(py, &ids);
                self.spares.keep(ids);
                list
            },
        )
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
        let py = texts.py();
        let options = self.options(add_special_tokens, allowed_special)?;
        let inputs = texts_of(texts)?;
        let inputs = inputs.iter().map(Text::as_text).collect::<PyResult<Vec<_>>>()?;
        let mut lists: Vec<Option<Py<PyList>>> = Vec::new();
        lists.resize_with(inputs.len(), || None);
        let mut made: PyResult<()> = Ok(());
        // Lists of what is done are made while other threads go on; only this one needs the interpreter.
        let take = |first: usize, run: &core::Ragged| {
            let done = Python::attach(|py| {
                lists[first..].iter_mut().zip(run.rows()).try_for_each(|(list, ids)| {
                    *list = Some(self.list_of(py, ids)?.unbind());
                    Ok(())
                })
            });
            match done {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    made = Err(error);
                    ControlFlow::Break(())
                }
            }
        };
        py.detach(|| self.inner.encode_runs(&inputs, &options, threads, take)).map_err(raise)?;
        made?;
        PyList::new(py, lists)
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
        let input = input.as_text()?;
        let encoding = py.detach(|| self.inner.encode_with_offsets(input, &options)).map_err(raise)?;
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
        let (options, input) = (self.options(add_special_tokens, allowed_special)?, Text::from_any(text)?);
        let input = input.as_text()?;
        let count = || self.inner.count_until(input, &options, limit);
        if input.as_bytes().len() < DETACH_BYTES { count() } else { text.py().detach(count) }.map_err(raise)
    }

    pub(crate) fn decode<'py>(
        &self,
        ids: &Bound<'py, PyAny>,
        skip_special_tokens: bool,
        errors: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = ids.py();
        let Ids(ids) = &Ids::from_any(ids)?;
        let decode = || match errors {
            "replace" => self.inner.decode_replaced(ids, skip_special_tokens),
            _ => self.inner.decode_filtered(ids, skip_special_tokens),
        };
        let bytes = if ids.len() < DETACH_BYTES { decode() } else { py.detach(decode) }.map_err(raise)?;
        to_text(py, &bytes, errors)
    }

    fn decode_batch<'py>(
        &self,
        batch: &Bound<'py, PyAny>,
        skip_special_tokens: bool,
        errors: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = batch.py();
        let batch = batch.try_iter()?.map(|ids| Ids::from_any(&ids?)).collect::<PyResult<Vec<_>>>()?;
        let decode = || self.inner.decode_batch(&batch, skip_special_tokens, errors == "replace");
        let (bytes, ends) = py.detach(decode).map_err(raise)?;
        let mut start = 0;
        let texts =
            ends.into_iter().map(|end| to_text(py, &bytes[std::mem::replace(&mut start, end)..end], errors));
        PyList::new(py, texts.collect::<PyResult<Vec<_>>>()?)
    }

    fn decode_bytes<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = ids.py();
        let Ids(ids) = &Ids::from_any(ids)?;
        let bytes = py.detach(|| self.inner.decode_bytes(ids)).map_err(raise)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn token_bytes<'py>(&self, py: Python<'py>, id: i64) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = u32::try_from(id).ok().and_then(|id| self.inner.token_bytes(id));
        let missing = || crate::error::unknown_token(py, &format!("id {id} is no token"), id);
        bytes.map(|bytes| PyBytes::new(py, bytes)).ok_or_else(missing)
    }

    fn token_id(&self, token: &Bound<'_, PyBytes>) -> PyResult<u32> {
        let missing = || {
            let message = format!("{} is no token", token.as_any());
            crate::error::unknown_token(token.py(), &message, token)
        };
        self.inner.token_id(token.as_bytes()).ok_or_else(missing)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.id_bound()
    }

    /// Part, action and engine of every step, for people.
    fn stages(&self) -> Vec<(&'static str, String, String)> {
        self.inner.stages().into_iter().map(|stage| (stage.part, stage.action, stage.engine)).collect()
    }

    #[getter]
    fn n_tokens(&self) -> usize {
        self.inner.n_tokens()
    }

    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        self.inner.special_tokens().try_for_each(|(content, id)| tokens.set_item(content, id))?;
        Ok(tokens)
    }

    fn is_canonical(&self, ids: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = ids.py();
        let Ids(ids) = &Ids::from_any(ids)?;
        py.detach(|| self.inner.is_canonical(ids)).map_err(raise)
    }

    fn canonicalize<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let py = ids.py();
        let Ids(ids) = &Ids::from_any(ids)?;
        let canonical = py.detach(|| self.inner.canonicalize(ids)).map_err(raise)?;
        Ok(to_array(py, canonical))
    }
}

/// A decoding stream over a tokenizer. Calls from several threads take turns.
#[pyclass(frozen, name = "DecodeStream", module = "tokenloom._core.tokenizer")]
pub(crate) struct PyDecodeStream {
    tokenizer: Arc<Tokenizer>,
    state: Mutex<DecodeStream>,
}

impl PyDecodeStream {
    /// The state is whole after every step, so a poisoned lock is as good as another.
    fn state(&self) -> MutexGuard<'_, DecodeStream> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyDecodeStream {
    #[new]
    fn new(tokenizer: &Bound<'_, PyTokenizer>, skip_special_tokens: bool) -> Self {
        let state = Mutex::new(DecodeStream::new(skip_special_tokens));
        Self { tokenizer: Arc::clone(&tokenizer.get().inner), state }
    }

    fn push(&self, py: Python<'_>, id: i64) -> PyResult<String> {
        let missing = || crate::error::unknown_token(py, &format!("id {id} is no token"), id);
        let id = u32::try_from(id).map_err(|_| missing())?;
        self.state().push(&self.tokenizer, id).map_err(|error| match error.kind() {
            DecodeErrorKind::UnknownToken { .. } => missing(),
            _ => raise(error),
        })
    }

    fn flush(&self) -> String {
        self.state().flush(&self.tokenizer)
    }

    #[getter]
    fn pending<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.state().pending())
    }
}

pub(crate) fn to_array(py: Python<'_>, ids: Vec<u32>) -> Bound<'_, PyArray1<u32>> {
    // A small copy is cheaper than the owner object that sharing needs; so is one that frees a too large reserve.
    if ids.len() < 1024 || ids.capacity() > 2 * ids.len() {
        PyArray1::from_slice(py, &ids)
    } else {
        ids.into_pyarray(py)
    }
}

pub(crate) fn pairs(py: Python<'_>, pairs: Vec<[i64; 2]>) -> PyResult<Bound<'_, PyArray2<i64>>> {
    let n_rows = pairs.len();
    pairs.into_flattened().into_pyarray(py).reshape([n_rows, 2])
}

fn to_text<'py>(py: Python<'py>, bytes: &[u8], errors: &str) -> PyResult<Bound<'py, PyAny>> {
    // Python looks for what is no UTF-8 in any case.
    match PyString::from_bytes(py, bytes) {
        Ok(text) => Ok(text.into_any()),
        Err(_) if errors == "replace" => Ok(PyString::new(py, &String::from_utf8_lossy(bytes)).into_any()),
        Err(_) => PyBytes::new(py, bytes).call_method1("decode", ("utf-8", errors)),
    }
}

//! The Python face of one encoding: arrays out, maps, cutting and filling in place.
//!
//! The ids are there from the start. Where the machine that gave them knows no more, the text is kept and the other
//! arrays are made from it when they are first asked for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use tokenloom_tokenize::pipeline::assembly::{Assembly, Input, Settings};
use tokenloom_tokenize::pipeline::definition::Side;
use tokenloom_tokenize::pipeline::encoding::{Encoding, Filling};

use crate::error::raise;

/// A sequence cut into words; one word where it was not cut.
pub(crate) type Words = Vec<Py<PyString>>;

/// What an encoding was made from.
pub(crate) struct Source {
    pub(crate) assembly: Arc<Assembly>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) input: Arc<Held>,
    pub(crate) add_special_tokens: bool,
    /// The seed of the batch and the place in it.
    pub(crate) draw: (u64, usize),
    pub(crate) padded_to: Option<usize>,
    pub(crate) whole: OnceLock<Encoding>,
}

/// An input whose strings are kept alive.
pub(crate) struct Held {
    pub(crate) first: Words,
    pub(crate) second: Option<Words>,
    pub(crate) is_split: bool,
}

impl Held {
    /// The input as the core takes it.
    pub(crate) fn input<'py>(&'py self, py: Python<'py>) -> PyResult<Input<'py>> {
        let texts = |words: &'py Words| -> PyResult<Vec<&'py str>> {
            words.iter().map(|word| word.bind(py).to_str()).collect()
        };
        let second = self.second.as_ref().map(texts).transpose()?;
        Ok(Input { first: texts(&self.first)?, second, is_split: self.is_split })
    }
}

/// See `tokenloom.compat.tokenizers`. Calls from several threads take turns.
#[pyclass(frozen, name = "Encoding", module = "tokenloom.compat.tokenizers")]
pub(crate) struct PyEncoding {
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    known: Arc<Encoding>,
    /// Where the missing arrays come from, and which overflowing part of it this is.
    source: Option<(Arc<Source>, Vec<usize>)>,
}

type Arrays = (Vec<u32>, Vec<u32>, Vec<String>, Vec<Option<u32>>, Vec<(usize, usize)>, Vec<bool>, Vec<bool>);
type Pickled = (Arrays, Vec<Py<PyEncoding>>, Vec<(usize, usize, usize)>);

impl PyEncoding {
    pub(crate) fn whole(encoding: Encoding) -> Self {
        Self { state: Mutex::new(State { known: Arc::new(encoding), source: None }) }
    }

    pub(crate) fn plain(encoding: Encoding, source: Arc<Source>) -> Self {
        let source = Some((source, Vec::new()));
        Self { state: Mutex::new(State { known: Arc::new(encoding), source }) }
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> Arc<Encoding> {
        self.state().known
    }

    /// All arrays. The lock is not held while they are made.
    pub(crate) fn detailed(&self, py: Python<'_>) -> PyResult<Arc<Encoding>> {
        let State { known, source } = self.state();
        let Some((source, path)) = source else { return Ok(known) };
        if source.whole.get().is_none() {
            let Source { assembly, settings, add_special_tokens, draw, padded_to, .. } = &*source;
            let input = source.input.input(py)?;
            let made = py
                .detach(|| assembly.encode_details(&input, settings, *add_special_tokens, *draw, *padded_to));
            let _first = source.whole.set(made.map_err(raise)?);
        }
        let whole = source.whole.get().unwrap_or(&known);
        let part = path.iter().try_fold(whole, |part, &place| part.overflowing.get(place)).unwrap_or(&known);
        let part = Arc::new(part.clone());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What another thread changed meanwhile stays.
        if state.source.is_some() {
            *state = State { known: part, source: None };
        }
        Ok(Arc::clone(&state.known))
    }

    fn change(&self, py: Python<'_>, change: impl FnOnce(&mut Encoding) -> PyResult<()>) -> PyResult<()> {
        let mut encoding = Encoding::clone(&*self.detailed(py)?);
        change(&mut encoding)?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State { known: Arc::new(encoding), source: None };
        Ok(())
    }
}

pub(crate) fn side(name: &str) -> PyResult<Side> {
    match name {
        "left" => Ok(Side::Left),
        "right" => Ok(Side::Right),
        other => {
            Err(PyValueError::new_err(format!("expected direction to be left or right, found {other:?}")))
        }
    }
}

fn flags<'py>(py: Python<'py>, flags: &[bool]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, flags.iter().map(|&flag| u8::from(flag)))
}

#[pymethods]
impl PyEncoding {
    #[new]
    fn new() -> Self {
        Self::whole(Encoding::default())
    }

    #[staticmethod]
    fn _from_state(state: Pickled, py: Python<'_>) -> PyResult<Self> {
        let (
            (ids, type_ids, tokens, words, offsets, special_tokens_mask, attention_mask),
            overflowing,
            ranges,
        ) = state;
        let parts = overflowing.iter().map(|part| part.get().detailed(py).map(|part| Encoding::clone(&part)));
        Ok(Self::whole(Encoding {
            ids,
            type_ids,
            tokens,
            words,
            offsets,
            special_tokens_mask,
            attention_mask,
            overflowing: parts.collect::<PyResult<_>>()?,
            sequence_ranges: ranges
                .into_iter()
                .map(|(sequence, start, end)| (sequence, start..end))
                .collect(),
        }))
    }

    fn _to_state(&self, py: Python<'_>) -> PyResult<Pickled> {
        let all = Encoding::clone(&*self.detailed(py)?);
        let arrays = (
            all.ids,
            all.type_ids,
            all.tokens,
            all.words,
            all.offsets,
            all.special_tokens_mask,
            all.attention_mask,
        );
        let parts = all.overflowing.into_iter().map(|part| Py::new(py, Self::whole(part)));
        let ranges =
            all.sequence_ranges.into_iter().map(|(sequence, range)| (sequence, range.start, range.end));
        Ok((arrays, parts.collect::<PyResult<_>>()?, ranges.collect()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Pickled,))> {
        let make = slf.getattr("_from_state")?;
        Ok((make, (slf.get()._to_state(slf.py())?,)))
    }

    fn __repr__(&self) -> String {
        let attributes = "ids, type_ids, tokens, offsets, attention_mask, special_tokens_mask, overflowing";
        format!("Encoding(num_tokens={}, attributes=[{attributes}])", self.known().len())
    }

    fn __len__(&self) -> usize {
        self.known().len()
    }

    #[staticmethod]
    #[pyo3(signature = (encodings, growing_offsets=true))]
    fn merge(py: Python<'_>, encodings: Vec<Py<Self>>, growing_offsets: bool) -> PyResult<Self> {
        let all = encodings.iter().map(|one| one.get().detailed(py)).collect::<PyResult<Vec<_>>>()?;
        let all = all.into_iter().map(|one| Encoding::clone(&one));
        Ok(Self::whole(Encoding::merge(all, growing_offsets)))
    }

    #[getter]
    fn n_sequences(&self) -> usize {
        self.known().n_sequences()
    }

    fn set_sequence_id(&self, py: Python<'_>, sequence_id: usize) -> PyResult<()> {
        self.change(py, |encoding| {
            encoding.set_sequence(sequence_id);
            Ok(())
        })
    }

    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.known().ids)
    }

    #[getter]
    fn type_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.known().type_ids)
    }

    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.detailed(py)?.tokens)
    }

    #[getter]
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.word_ids(py)
    }

    #[getter]
    fn word_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.detailed(py)?.words)
    }

    #[getter]
    fn sequence_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.known().sequence_ids())
    }

    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.detailed(py)?.offsets)
    }

    #[getter]
    fn special_tokens_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        flags(py, &self.known().special_tokens_mask)
    }

    #[getter]
    fn attention_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        flags(py, &self.known().attention_mask)
    }

    #[getter]
    fn overflowing(&self) -> Vec<Self> {
        let State { known, source } = self.state();
        let part = |(place, part): (usize, &Encoding)| {
            let source = source
                .as_ref()
                .map(|(source, path)| (Arc::clone(source), path.iter().copied().chain([place]).collect()));
            Self { state: Mutex::new(State { known: Arc::new(part.clone()), source }) }
        };
        known.overflowing.iter().enumerate().map(part).collect()
    }

    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(
        &self,
        py: Python<'_>,
        word_index: u32,
        sequence_index: usize,
    ) -> PyResult<Option<(usize, usize)>> {
        Ok(self.detailed(py)?.word_to_tokens(word_index, sequence_index))
    }

    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(
        &self,
        py: Python<'_>,
        word_index: u32,
        sequence_index: usize,
    ) -> PyResult<Option<(usize, usize)>> {
        Ok(self.detailed(py)?.word_to_chars(word_index, sequence_index))
    }

    fn token_to_sequence(&self, token_index: usize) -> Option<usize> {
        self.known().token_to_sequence(token_index)
    }

    fn token_to_chars(&self, py: Python<'_>, token_index: usize) -> PyResult<Option<(usize, usize)>> {
        Ok(self.detailed(py)?.token_to_chars(token_index))
    }

    fn token_to_word(&self, py: Python<'_>, token_index: usize) -> PyResult<Option<u32>> {
        Ok(self.detailed(py)?.token_to_word(token_index))
    }

    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(
        &self,
        py: Python<'_>,
        char_pos: usize,
        sequence_index: usize,
    ) -> PyResult<Option<usize>> {
        Ok(self.detailed(py)?.char_to_token(char_pos, sequence_index))
    }

    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(&self, py: Python<'_>, char_pos: usize, sequence_index: usize) -> PyResult<Option<u32>> {
        Ok(self.detailed(py)?.char_to_word(char_pos, sequence_index))
    }

    #[pyo3(signature = (length, *, direction="right", pad_id=0, pad_type_id=0, pad_token="[PAD]"))]
    fn pad(
        &self,
        py: Python<'_>,
        length: usize,
        direction: &str,
        pad_id: u32,
        pad_type_id: u32,
        pad_token: &str,
    ) -> PyResult<()> {
        let side = side(direction)?;
        self.change(py, |encoding| {
            encoding.pad(length, Filling { id: pad_id, type_id: pad_type_id, token: Some(pad_token), side });
            Ok(())
        })
    }

    #[pyo3(signature = (max_length, stride=0, direction="right"))]
    fn truncate(&self, py: Python<'_>, max_length: usize, stride: usize, direction: &str) -> PyResult<()> {
        let side = side(direction)?;
        self.change(py, |encoding| encoding.truncate(max_length, stride, side).map_err(raise))
    }
}

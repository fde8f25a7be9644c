//! The Python face of the `lexica` domain: extract, detach, one core call, wrap.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_tokenize::train::{
    self as core, Boundary, Dynamic, DynamicOptions, LengthRange, LessIsBetter, StageOptions, WordCounts,
    pretokenizers_of,
};

use crate::array::elements;
use crate::error::{ParamsError, raise};
use crate::formats::PySpec;
use crate::text::Text;
use crate::tokenizer::PyTokenizer;
use crate::train::{PyWordCounts, StageFields, Words, with_progress};

/// See `tokenloom.lexica`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod lexica {
    #[pymodule_export]
    use super::{PyEvents, PyLexicon, merge_batch, random_pieces, train_less_is_better, train_picky, union};
}

/// ids, offsets, base_ids, bytes, byte_offsets, surface, surface_lengths, segments, n_tokens
type DynamicArrays<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

fn boundary_of(name: &str) -> PyResult<Boundary> {
    Ok(match name {
        "pretokens" => Boundary::Pretokens,
        "words" => Boundary::Words,
        "hyphen-words" => Boundary::HyphenWords,
        "sentences" => Boundary::Sentences,
        _ => return Err(ParamsError::new_err(format!("{name:?} is no boundary"))),
    })
}

/// The fields of a dynamic tokenization as `tokenloom.lexica` has them.
#[derive(FromPyObject)]
struct DynamicFields {
    boundary: String,
    n_merges: usize,
    enough_tokens: usize,
    max_token_bytes: usize,
    max_surface: usize,
}

#[pyfunction]
fn merge_batch<'py>(
    py: Python<'py>,
    tokenizer: &PyTokenizer,
    values: PyReadonlyArray1<'py, u32>,
    offsets: PyReadonlyArray1<'py, i64>,
    fields: DynamicFields,
) -> PyResult<DynamicArrays<'py>> {
    let (values, offsets) = (elements(&values, "values")?, elements(&offsets, "offsets")?);
    let DynamicFields { boundary, n_merges, enough_tokens, max_token_bytes, max_surface } = fields;
    let boundary = boundary_of(&boundary)?;
    let options = DynamicOptions { boundary, n_merges, enough_tokens, max_token_bytes, max_surface };
    let merge = || core::merge_batch(&tokenizer.inner, values, offsets, &options);
    let Dynamic { ids, offsets, base_ids, bytes, byte_offsets, surface, surface_lengths, segments, n_tokens } =
        py.detach(merge).map_err(raise)?;
    Ok((
        ids.into_pyarray(py),
        offsets.into_pyarray(py),
        base_ids.into_pyarray(py),
        bytes.into_pyarray(py),
        byte_offsets.into_pyarray(py),
        surface.into_pyarray(py),
        surface_lengths.into_pyarray(py),
        segments.into_pyarray(py),
        n_tokens.into_pyarray(py),
    ))
}

/// What the union is built from, the id there of each id of `second` or -1, and how many of the last ids are bridges.
#[pyfunction]
fn union<'py>(
    py: Python<'py>,
    first: &PyTokenizer,
    second: &PyTokenizer,
) -> PyResult<(PySpec, Bound<'py, PyArray1<i64>>, usize)> {
    let found = py.detach(|| core::union(&first.inner, &second.inner)).map_err(raise)?;
    Ok((found.spec.into(), found.ids.into_pyarray(py), found.n_bridges))
}

/// Counts the pieces of random lengths of all units; `blocks` gives units and their weight, `ranges` are the fewest and
/// most characters and the share.
#[pyfunction]
fn random_pieces(
    py: Python<'_>,
    blocks: &Bound<'_, PyAny>,
    ranges: Vec<(usize, usize, f64)>,
    seed: u64,
) -> PyResult<PyWordCounts> {
    let ranges: Vec<LengthRange> =
        ranges.into_iter().map(|(min, max, share)| LengthRange { min, max, share }).collect();
    let mut words = WordCounts::new();
    for block in blocks.try_iter()? {
        let (units, weight): (Vec<Bound<'_, PyAny>>, u64) = block?.extract()?;
        let texts: Vec<Text<'_>> = units.iter().map(Text::from_any).collect::<PyResult<_>>()?;
        let units: Vec<&[u8]> = texts.iter().map(Text::as_bytes).collect::<PyResult<_>>()?;
        let uniform = |unit, draw| Rng::new(seed, unit).uniform(draw, Purpose::SAMPLE);
        py.detach(|| core::count_random_pieces(&units, weight, &ranges, uniform, &mut words));
    }
    Ok(PyWordCounts { words: Words::Memory(Arc::new(words)) })
}

/// What building the tokenizer needs, how many tokens are left, the rows of the events, and those of the splits.
type PickyParts<'py> = (PySpec, usize, Rows<'py>, Rows<'py>);
type Rows<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

#[pyfunction]
fn train_picky<'py>(
    py: Python<'py>,
    words: &Bound<'py, PyWordCounts>,
    special_tokens: Vec<String>,
    stage: StageFields,
    threshold: f64,
    patterns: Vec<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PickyParts<'py>> {
    let words = words.get().words.clone();
    let options = StageOptions::from(stage);
    let picky = with_progress(py, progress, None, |report| {
        core::train_picky(&special_tokens, words.source(), &options, threshold, report)
    })?;
    let (values, offsets) = picky.rows();
    let mut split_offsets = vec![0];
    split_offsets.extend(picky.splits.iter().scan(0, |end, parts| {
        *end += parts.len() as i64;
        Some(*end)
    }));
    let splits = picky.splits.concat();
    let spec = picky.spec(pretokenizers_of(&patterns));
    let events = (values.into_pyarray(py), offsets.into_pyarray(py));
    Ok((spec.into(), picky.n_kept, events, (splits.into_pyarray(py), split_offsets.into_pyarray(py))))
}

/// Merges and splits in the order in which they happened.
#[pyclass(frozen, name = "Events", module = "tokenloom._core.lexica")]
struct PyEvents {
    events: core::Events,
}

#[pymethods]
impl PyEvents {
    #[new]
    fn new(
        py: Python<'_>,
        tokenizer: &PyTokenizer,
        n_kept: usize,
        values: PyReadonlyArray1<'_, u32>,
        offsets: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Self> {
        let (values, offsets) = (elements(&values, "values")?, elements(&offsets, "offsets")?);
        let make = || core::Events::new(&tokenizer.inner, n_kept, values, offsets);
        Ok(Self { events: py.detach(make).map_err(raise)? })
    }

    /// The ids of a text.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        tokenizer: &PyTokenizer,
        text: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let text = Text::from_any(text)?;
        let (text, mut ids) = (text.as_text()?, Vec::new());
        py.detach(|| self.events.encode(&tokenizer.inner, text, &mut ids)).map_err(raise)?;
        Ok(ids.into_pyarray(py))
    }
}

/// The parameters of a reader as `tokenloom.lexica` has them.
#[derive(FromPyObject)]
struct ReaderFields {
    n_epochs: u64,
    life: u32,
    max_chars: usize,
    memory_in: f64,
    memory_out: f64,
    update_rate: f64,
    max_gap: usize,
}

/// The chunks that a reader remembers of documents, each given as its sentences.
#[pyfunction]
fn train_less_is_better(
    py: Python<'_>,
    documents: Vec<Vec<String>>,
    fields: ReaderFields,
    seed: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<String>> {
    let ReaderFields { n_epochs, life, max_chars, memory_in, memory_out, update_rate, max_gap } = fields;
    let options = LessIsBetter { n_epochs, life, max_chars, memory_in, memory_out, update_rate, max_gap };
    let documents: Vec<Vec<&str>> =
        documents.iter().map(|sentences| sentences.iter().map(String::as_str).collect()).collect();
    let uniform = |epoch, draw| Rng::new(seed, epoch).uniform(draw, Purpose::SAMPLE);
    with_progress(py, progress, None, |report| {
        core::train_less_is_better(&documents, &options, uniform, report)
    })
    .map(|lexicon| lexicon.chunks())
}

/// Chunks in order.
#[pyclass(frozen, name = "Lexicon", module = "tokenloom._core.lexica")]
struct PyLexicon {
    lexicon: core::Lexicon,
}

#[pymethods]
impl PyLexicon {
    #[new]
    fn new(py: Python<'_>, chunks: Vec<String>, max_chars: usize) -> Self {
        Self { lexicon: py.detach(|| core::Lexicon::new(&chunks, max_chars)) }
    }

    /// Where the longest chunks end in the UTF-8 bytes of a text.
    fn ends<'py>(&self, py: Python<'py>, text: &str) -> Bound<'py, PyArray1<i64>> {
        py.detach(|| self.lexicon.ends(text)).into_pyarray(py)
    }
}

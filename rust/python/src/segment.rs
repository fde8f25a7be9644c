//! The Python face of the `segment` domain: extract, detach, one core call, wrap.

use std::convert::Infallible;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use tokenloom_decode::rng::{Purpose, Rng};
use tokenloom_tokenize::segment as core;

use crate::array::elements;
use crate::error::{InternalError, ParamsError, raise};
use crate::text::{Text, texts_of};
use crate::tokenizer::PyTokenizer;

/// See `tokenloom.segment`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod segment {
    #[pymodule_export]
    use super::{permutation, rows, segment_by_rule, segment_by_tokenizer};
}

/// bytes, word_id, word_start, doc_start, doc_word
type Arrays<'py> = (
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

fn arrays(py: Python<'_>, found: core::Segments) -> Arrays<'_> {
    (
        found.bytes.into_pyarray(py),
        found.word_id.into_pyarray(py),
        found.word_start.into_pyarray(py),
        found.doc_start.into_pyarray(py),
        found.doc_word.into_pyarray(py),
    )
}

fn rule_of(name: &str, size: usize) -> PyResult<core::Rule> {
    Ok(match name {
        "whitespace" => core::Rule::WhiteSpace,
        "uax29" => core::Rule::Uax29,
        "hat" => core::Rule::Hat,
        "space-byte" => core::Rule::SpaceByte,
        "fixed" => core::Rule::Fixed(size),
        _ => return Err(ParamsError::new_err(format!("{name:?} is no rule"))),
    })
}

#[pyfunction]
fn segment_by_rule<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    rule: &str,
    size: usize,
    max_word_bytes: Option<usize>,
    threads: usize,
) -> PyResult<Arrays<'py>> {
    let rule = rule_of(rule, size)?;
    let texts = texts_of(texts)?;
    let bytes = texts.iter().map(Text::as_bytes).collect::<PyResult<Vec<_>>>()?;
    let ends_of = |text: &[u8], ends: &mut Vec<usize>| {
        rule.ends(text, ends);
        Ok::<_, Infallible>(())
    };
    let found = py.detach(|| core::segment_batch(&bytes, max_word_bytes, threads, ends_of));
    found.map(|found| arrays(py, found)).map_err(|_| InternalError::new_err("a rule failed"))
}

#[pyfunction]
fn segment_by_tokenizer<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    tokenizer: &PyTokenizer,
    pretokens: bool,
    max_word_bytes: Option<usize>,
    threads: usize,
) -> PyResult<Arrays<'py>> {
    let texts = texts_of(texts)?;
    let bytes = texts.iter().map(Text::as_bytes).collect::<PyResult<Vec<_>>>()?;
    let ends_of = |text: &[u8], ends: &mut Vec<usize>| match pretokens {
        true => tokenizer.inner.pretoken_ends(text, ends),
        false => tokenizer.inner.token_ends(text, ends),
    };
    let found = py.detach(|| core::segment_batch(&bytes, max_word_bytes, threads, ends_of));
    found.map(|found| arrays(py, found)).map_err(raise)
}

#[pyfunction]
fn rows<'py>(
    py: Python<'py>,
    word_start: PyReadonlyArray1<'py, i64>,
    doc_word: PyReadonlyArray1<'py, i64>,
    max_bytes: usize,
    across: bool,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let (words, docs) = (elements(&word_start, "word_start")?, elements(&doc_word, "doc_word")?);
    Ok(py.detach(|| core::rows(words, docs, max_bytes, across)).map_err(raise)?.into_pyarray(py))
}

#[pyfunction]
fn permutation<'py>(
    py: Python<'py>,
    n_ids: u32,
    kept: PyReadonlyArray1<'py, u32>,
    seed: u64,
    sequence: u64,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let kept = elements(&kept, "kept")?;
    let rng = Rng::new(seed, sequence);
    let order = py.detach(|| core::permutation(n_ids, kept, |n| rng.uniform(n, Purpose::SAMPLE)));
    Ok(order.into_pyarray(py))
}

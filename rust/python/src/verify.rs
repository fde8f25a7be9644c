//! The Python face of the `verify` domain: extract, detach, one core call, wrap.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2};
use pyo3::prelude::*;
use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::Rng;
use tokenloom_decode::verify::{
    self as core, Accepted, Drafts, Kept, Number, Rows, Rule, VerifyError, VerifyErrorKind,
};

use crate::array::{Floats, TokenIds};
use crate::draft::PyDraftTree;
use crate::error::{array_error, raise};
use crate::sample::RngArg;

/// See `tokenloom.verify`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod verify {
    #[pymodule_export]
    use super::{accept, acceptance, follow, law};
}

/// Paths padded with -1, next tokens, path lengths, statuses.
type Arrays<'py> = (
    Bound<'py, PyArray2<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<i8>>,
);

/// Trees, or chains as rows of ids that end at the first -1.
#[derive(FromPyObject)]
enum DraftsArg<'py> {
    Trees(Vec<Py<PyDraftTree>>),
    Chains(PyReadonlyArray2<'py, i64>),
}

impl DraftsArg<'_> {
    fn trees(&self) -> PyResult<Vec<DraftTree>> {
        match self {
            Self::Trees(trees) => Ok(trees.iter().map(|tree| tree.get().tree.clone()).collect()),
            Self::Chains(chains) => {
                let chain = |ids: &[i64]| {
                    let n = ids.iter().position(|&id| id == -1).unwrap_or(ids.len());
                    let parents: Vec<i64> = (-1..n as i64 - 1).collect();
                    DraftTree::new(&ids[..n], &parents, vec![1.0; n]).map_err(raise)
                };
                let chains = chains.as_array();
                chains.rows().into_iter().map(|ids| chain(&ids.to_vec())).collect()
            }
        }
    }
}

/// The name of a rule, and whether siblings were drawn with replacement.
#[derive(FromPyObject)]
struct RuleArg(String, bool);

impl RuleArg {
    fn rule(&self, py: Python<'_>) -> PyResult<Rule> {
        let with_replacement = self.1;
        Ok(match self.0.as_str() {
            "greedy" => Rule::Greedy,
            "walk" => Rule::Walk,
            "chain" => Rule::Chain,
            "block" => Rule::Block,
            "traversal" => Rule::Traversal { with_replacement },
            "recursive" => Rule::Recursive { with_replacement },
            "kseq" => Rule::KSeq,
            "greedy_multi" => Rule::GreedyMulti,
            found => {
                return Err(array_error(py, "rule", "a rule of tokenloom.verify", &format!("{found:?}")));
            }
        })
    }
}

/// The numbers of the target's and, if there is one, the draft's rows; of one dtype.
enum Pair<'a> {
    F32(&'a [f32], Option<&'a [f32]>),
    F64(&'a [f64], Option<&'a [f64]>),
}

fn pair<'a>(py: Python<'_>, p: &'a Floats<'_>, q: Option<&'a Floats<'_>>) -> PyResult<Pair<'a>> {
    match (p, q) {
        (Floats::F32(p), None) => Ok(Pair::F32(p.as_slice()?, None)),
        (Floats::F64(p), None) => Ok(Pair::F64(p.as_slice()?, None)),
        (Floats::F32(p), Some(Floats::F32(q))) => Ok(Pair::F32(p.as_slice()?, Some(q.as_slice()?))),
        (Floats::F64(p), Some(Floats::F64(q))) => Ok(Pair::F64(p.as_slice()?, Some(q.as_slice()?))),
        _ => Err(array_error(py, "q", "of the dtype of p", "another one")),
    }
}

fn drafts<'a, T: Number>(
    trees: &'a [&'a DraftTree],
    (p, p_shape): (&'a [T], [usize; 3]),
    q: Option<(&'a [T], [usize; 3])>,
) -> Result<Drafts<'a, T>, VerifyError> {
    let q = q.map(|(q, shape)| Rows::of_draft(q, shape, trees)).transpose()?;
    Drafts::new(trees, Rows::new(p, p_shape, trees)?, q)
}

/// Verifies a batch: one tree a block of rows.
#[pyfunction]
fn accept<'py>(
    py: Python<'py>,
    rule: RuleArg,
    p: Floats<'py>,
    q: Option<Floats<'py>>,
    trees: DraftsArg<'py>,
    rngs: Vec<RngArg>,
    threads: usize,
) -> PyResult<(Arrays<'py>, Option<PyErr>)> {
    let rule = rule.rule(py)?;
    let owned = trees.trees()?;
    let trees: Vec<&DraftTree> = owned.iter().collect();
    let rngs: Vec<Rng> = rngs.into_iter().map(|rng| rng.0).collect();
    let p_shape = batch_shape(py, "p", &p)?;
    let q_shape = q.as_ref().map(|q| batch_shape(py, "q", q)).transpose()?;
    let results = match pair(py, &p, q.as_ref())? {
        Pair::F32(p, q) => {
            py.detach(|| drafts(&trees, (p, p_shape), q.zip(q_shape))?.accept_all(rule, &rngs, threads))
        }
        Pair::F64(p, q) => {
            py.detach(|| drafts(&trees, (p, p_shape), q.zip(q_shape))?.accept_all(rule, &rngs, threads))
        }
    };
    into_arrays(py, results.map_err(raise)?, &trees)
}

/// Every outcome for one tree: path, next token, probability.
#[pyfunction]
fn law(
    py: Python<'_>,
    rule: RuleArg,
    p: Floats<'_>,
    q: Option<Floats<'_>>,
    tree: Py<PyDraftTree>,
) -> PyResult<Vec<(Vec<usize>, u32, f64)>> {
    let rule = rule.rule(py)?;
    let trees = [&tree.get().tree];
    let p_shape = batch_shape(py, "p", &p)?;
    let q_shape = q.as_ref().map(|q| batch_shape(py, "q", q)).transpose()?;
    let law = match pair(py, &p, q.as_ref())? {
        Pair::F32(p, q) => py.detach(|| {
            let drafts = drafts(&trees, (p, p_shape), q.zip(q_shape))?;
            Ok(core::law(|chance| drafts.accept(rule, 0, chance)))
        }),
        Pair::F64(p, q) => py.detach(|| {
            let drafts = drafts(&trees, (p, p_shape), q.zip(q_shape))?;
            Ok(core::law(|chance| drafts.accept(rule, 0, chance)))
        }),
    };
    let outcomes = law.map_err(|error: VerifyError| raise(error))?.into_iter();
    let outcomes = outcomes.map(|(accepted, probability)| {
        let Accepted { path, next_token } = accepted.map_err(raise)?;
        Ok((path, next_token, probability))
    });
    outcomes.collect()
}

#[pyfunction]
fn follow<'py>(py: Python<'py>, sampled: TokenIds, tree: Py<PyDraftTree>) -> PyResult<Arrays<'py>> {
    let tree = &tree.get().tree;
    let sampled = tokenloom_decode::draft::token_ids(&sampled.0).map_err(raise)?;
    let accepted = core::follow(&sampled, tree).map_err(raise)?;
    Ok(into_arrays(py, vec![Ok(accepted)], &[tree])?.0)
}

/// How often a rule accepts one of `k` drafts for one place.
#[pyfunction]
fn acceptance(py: Python<'_>, p: Floats<'_>, q: Floats<'_>, k: usize, rule: &str) -> PyResult<f64> {
    let kept = match rule {
        "optimal" => Kept::Optimal,
        "recursive" => Kept::Recursive,
        "kseq" => Kept::KSeq,
        "greedy_multi" => Kept::GreedyMulti,
        found => {
            let expected = "'optimal', 'recursive', 'kseq' or 'greedy_multi'";
            return Err(array_error(py, "rule", expected, &format!("{found:?}")));
        }
    };
    let found = match pair(py, &p, Some(&q))? {
        Pair::F32(p, q) => py.detach(|| core::acceptance(p, q.unwrap_or(p), k, kept)),
        Pair::F64(p, q) => py.detach(|| core::acceptance(p, q.unwrap_or(p), k, kept)),
    };
    found.map_err(raise)
}

/// Trees, rows of a tree, vocabulary.
fn batch_shape(py: Python<'_>, argument: &str, values: &Floats<'_>) -> PyResult<[usize; 3]> {
    let shape = values.shape();
    let error = |_| array_error(py, argument, "[trees, rows, vocabulary]", &format!("shape {shape:?}"));
    shape.try_into().map_err(error)
}

/// The arrays, and the first thing that was wrong with a tree.
fn into_arrays<'py>(
    py: Python<'py>,
    results: Vec<Result<Accepted, VerifyError>>,
    trees: &[&DraftTree],
) -> PyResult<(Arrays<'py>, Option<PyErr>)> {
    let width = trees.iter().map(|tree| tree.n_nodes()).max().unwrap_or(0);
    let mut paths = vec![-1i32; results.len() * width];
    for (i, accepted) in results.iter().enumerate() {
        let path = accepted.iter().flat_map(|accepted| &accepted.path);
        path.enumerate().for_each(|(depth, &node)| paths[i * width + depth] = node as i32);
    }
    let next = results.iter().map(|result| result.as_ref().map_or(-1, |accepted| accepted.next_token as i32));
    let lengths =
        results.iter().map(|result| result.as_ref().map_or(0, |accepted| accepted.path.len() as i32));
    let statuses = results.iter().map(|result| result.as_ref().map_or_else(status, |_| 0));
    let paths = PyArray1::from_vec(py, paths).reshape([results.len(), width])?;
    let arrays = (
        paths,
        PyArray1::from_iter(py, next),
        PyArray1::from_iter(py, lengths),
        PyArray1::from_iter(py, statuses),
    );
    Ok((arrays, results.into_iter().find_map(Result::err).map(raise)))
}

/// `tokenloom.verify.Status`.
fn status(error: &VerifyError) -> i8 {
    match error.kind() {
        VerifyErrorKind::Row(error) => match error.kind() {
            tokenloom_decode::dist::DistErrorKind::NoMass { .. } => 2,
            tokenloom_decode::dist::DistErrorKind::Negative { .. } => 3,
            _ => 1,
        },
        _ => 4,
    }
}

//! The Python face of the `verify` domain: extract, detach, one core call, wrap.

use std::sync::Arc;

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use tokenloom_decode::draft::DraftTree;
use tokenloom_decode::rng::Rng;
use tokenloom_decode::verify::{
    self as core, Accepted, Drafts, Kept, Number, Points, Relaxed, Rows, Rule, VerifyError, VerifyErrorKind,
};

use crate::array::{Floats, TokenIds, elements};
use crate::draft::PyDraftTree;
use crate::error::{array_error, raise};
use crate::sample::RngArg;

/// See `tokenloom.verify`.
#[pyo3::pymodule(gil_used = false)]
pub(crate) mod verify {
    #[pymodule_export]
    use super::{accept, acceptance, any_order, context_draft, continuous, follow, law, prune, relaxed};
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
    fn trees(&self) -> PyResult<Vec<Arc<DraftTree>>> {
        match self {
            Self::Trees(trees) => Ok(trees.iter().map(|tree| Arc::clone(&tree.get().tree)).collect()),
            Self::Chains(chains) => {
                let chain = |ids: &[i64]| {
                    let n = ids.iter().position(|&id| id == -1).unwrap_or(ids.len());
                    let parents: Vec<i64> = (-1..n as i64 - 1).collect();
                    DraftTree::new(&ids[..n], &parents, vec![1.0; n]).map(Arc::new).map_err(raise)
                };
                let chains = chains.as_array();
                chains.rows().into_iter().map(|ids| chain(&ids.to_vec())).collect()
            }
        }
    }
}

/// The name of a rule, whether siblings were drawn with replacement, and whether rows are taken on trust.
#[derive(FromPyObject)]
struct RuleArg(String, bool, bool);

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
    is_trusted: bool,
    (p, p_shape): (&'a [T], [usize; 3]),
    q: Option<(&'a [T], [usize; 3])>,
) -> Result<Drafts<'a, T>, VerifyError> {
    let q = q.map(|(q, shape)| Rows::of_draft(q, shape, trees)).transpose()?;
    let q = q.map(|q| q.trusted(is_trusted));
    Drafts::new(trees, Rows::new(p, p_shape, trees)?.trusted(is_trusted), q)
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
    let (rule, is_trusted) = (rule.rule(py)?, rule.2);
    let owned = trees.trees()?;
    let trees: Vec<&DraftTree> = owned.iter().map(AsRef::as_ref).collect();
    let rngs: Vec<Rng> = rngs.into_iter().map(|rng| rng.0).collect();
    let p_shape = batch_shape(py, "p", &p)?;
    let q_shape = q.as_ref().map(|q| batch_shape(py, "q", q)).transpose()?;
    let results = match pair(py, &p, q.as_ref())? {
        Pair::F32(p, q) => py.detach(|| {
            drafts(&trees, is_trusted, (p, p_shape), q.zip(q_shape))?.accept_all(rule, &rngs, threads)
        }),
        Pair::F64(p, q) => py.detach(|| {
            drafts(&trees, is_trusted, (p, p_shape), q.zip(q_shape))?.accept_all(rule, &rngs, threads)
        }),
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
    let (rule, is_trusted) = (rule.rule(py)?, rule.2);
    let trees = [&*tree.get().tree];
    let p_shape = batch_shape(py, "p", &p)?;
    let q_shape = q.as_ref().map(|q| batch_shape(py, "q", q)).transpose()?;
    let law = match pair(py, &p, q.as_ref())? {
        Pair::F32(p, q) => py.detach(|| {
            let drafts = drafts(&trees, is_trusted, (p, p_shape), q.zip(q_shape))?;
            Ok(core::law(|chance| drafts.accept(rule, 0, chance)))
        }),
        Pair::F64(p, q) => py.detach(|| {
            let drafts = drafts(&trees, is_trusted, (p, p_shape), q.zip(q_shape))?;
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

/// A rule that changes the law: its name, two numbers, and the neighbours of each token.
#[derive(FromPyObject)]
struct RelaxedArg<'py>(String, f64, f64, Option<PyReadonlyArray2<'py, i32>>);

impl RelaxedArg<'_> {
    fn rule(&self, py: Python<'_>) -> PyResult<Relaxed<'_>> {
        Ok(match (self.0.as_str(), &self.3) {
            ("typical", None) => Relaxed::Typical { epsilon: self.1, delta: self.2 },
            ("margin", None) => Relaxed::Margin { ratio: self.1 },
            ("neighbours", Some(order)) => {
                let width = order.shape()[1];
                Relaxed::Neighbours { order: elements(order, "order")?, width, delta: self.1, ratio: self.2 }
            }
            (found, _) => {
                let expected = "Typical, Margin or Neighbours";
                return Err(array_error(py, "rule", expected, &format!("{found:?}")));
            }
        })
    }
}

/// Verifies a batch by a rule that changes the law; the last array bounds the change.
#[pyfunction]
fn relaxed<'py>(
    py: Python<'py>,
    rule: RelaxedArg<'py>,
    p: Floats<'py>,
    q: Option<Floats<'py>>,
    trees: DraftsArg<'py>,
    rngs: Vec<Option<RngArg>>,
    threads: usize,
) -> PyResult<(Arrays<'py>, Option<PyErr>, Bound<'py, PyArray1<f64>>)> {
    let rule = rule.rule(py)?;
    let owned = trees.trees()?;
    let trees: Vec<&DraftTree> = owned.iter().map(AsRef::as_ref).collect();
    let rngs: Vec<Option<Rng>> = rngs.into_iter().map(|rng| rng.map(|rng| rng.0)).collect();
    let p_shape = batch_shape(py, "p", &p)?;
    let q_shape = q.as_ref().map(|q| batch_shape(py, "q", q)).transpose()?;
    let results = match pair(py, &p, q.as_ref())? {
        Pair::F32(p, q) => {
            py.detach(|| drafts(&trees, false, (p, p_shape), q.zip(q_shape))?.relax_all(rule, &rngs, threads))
        }
        Pair::F64(p, q) => {
            py.detach(|| drafts(&trees, false, (p, p_shape), q.zip(q_shape))?.relax_all(rule, &rngs, threads))
        }
    };
    let results = results.map_err(raise)?;
    let bounds = PyArray1::from_iter(
        py,
        results.iter().map(|result| result.as_ref().map_or(f64::NAN, |(_, bound)| *bound)),
    );
    let accepted = results.into_iter().map(|result| result.map(|(accepted, _)| accepted)).collect();
    let (arrays, error) = into_arrays(py, accepted, &trees)?;
    Ok((arrays, error, bounds))
}

/// Numbers of accepted tokens, tokens instead (-1 where all stay), statuses, and the first error.
type Decisions<'py> =
    (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i8>>, Option<PyErr>);

/// Verifies drafts at any places of a text; `tokens` end at the first -1 of a row.
#[pyfunction]
fn any_order<'py>(
    py: Python<'py>,
    p: Floats<'py>,
    q: Floats<'py>,
    tokens: DraftsArg<'py>,
    positions: PyReadonlyArray2<'py, u64>,
    rngs: Vec<RngArg>,
    threads: usize,
) -> PyResult<Decisions<'py>> {
    let owned = tokens.trees()?;
    let trees: Vec<&DraftTree> = owned.iter().map(AsRef::as_ref).collect();
    let rows = positions.as_array();
    let places: Vec<Vec<u64>> = rows
        .rows()
        .into_iter()
        .zip(&trees)
        .map(|(row, tree)| row.iter().take(tree.n_nodes()).copied().collect())
        .collect();
    let rngs: Vec<Rng> = rngs.into_iter().map(|rng| rng.0).collect();
    let (p_shape, q_shape) = (batch_shape(py, "p", &p)?, batch_shape(py, "q", &q)?);
    let results = match pair(py, &p, Some(&q))? {
        Pair::F32(p, q) => py.detach(|| {
            drafts_of_places(&trees, (p, p_shape), q.map(|q| (q, q_shape)))?
                .decide_all(&places, &rngs, threads)
        }),
        Pair::F64(p, q) => py.detach(|| {
            drafts_of_places(&trees, (p, p_shape), q.map(|q| (q, q_shape)))?
                .decide_all(&places, &rngs, threads)
        }),
    };
    let results = results.map_err(raise)?;
    let counts = results.iter().map(|result| result.as_ref().map_or(0, |decided| decided.n_accepted as i32));
    let instead =
        |result: &Result<core::Decided, _>| result.as_ref().ok().and_then(|decided| decided.instead);
    let tokens = results.iter().map(|result| instead(result).map_or(-1, |token| token as i32));
    let statuses = results.iter().map(|result| result.as_ref().map_or_else(status, |_| 0));
    let (counts, tokens) = (PyArray1::from_iter(py, counts), PyArray1::from_iter(py, tokens));
    let statuses = PyArray1::from_iter(py, statuses);
    Ok((counts, tokens, statuses, results.into_iter().find_map(Result::err).map(raise)))
}

/// Drafted tokens, and the row that each was drawn from.
type TokensAndRows<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray2<f64>>);

/// Tokens and the rows that they were drawn from; `text` has -1 where nothing is decided.
#[pyfunction]
fn context_draft<'py>(
    py: Python<'py>,
    text: PyReadonlyArray1<'py, i64>,
    positions: PyReadonlyArray1<'py, u64>,
    n_vocab: usize,
    rng: RngArg,
) -> PyResult<TokensAndRows<'py>> {
    let text: Vec<Option<u32>> = text.as_array().iter().map(|&token| u32::try_from(token).ok()).collect();
    let places: Vec<usize> = positions.as_array().iter().map(|&place| place as usize).collect();
    let draft = py.detach(|| core::context_draft(&text, &places, n_vocab, rng.0)).map_err(raise)?;
    let tokens = PyArray1::from_iter(py, draft.tokens.iter().map(|&token| token as i32));
    Ok((tokens, draft.q.into_pyarray(py).reshape([places.len(), n_vocab])?))
}

/// Numbers of accepted points, the points behind them, statuses, and the first error.
type PointArrays<'py> =
    (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<i8>>, Option<PyErr>);

/// Verifies chains of points: means and deviations are [chains, points (+ 1), dimensions].
#[pyfunction]
#[expect(clippy::too_many_arguments)]
fn continuous<'py>(
    py: Python<'py>,
    p_mean: PyReadonlyArray3<'py, f64>,
    p_std: PyReadonlyArray3<'py, f64>,
    q_mean: PyReadonlyArray3<'py, f64>,
    q_std: PyReadonlyArray3<'py, f64>,
    points: PyReadonlyArray3<'py, f64>,
    lengths: Vec<usize>,
    rngs: Vec<RngArg>,
    threads: usize,
) -> PyResult<PointArrays<'py>> {
    let n_dims = p_mean.shape()[2];
    let chains = Points {
        n_points: points.shape()[1],
        n_dims,
        p_mean: elements(&p_mean, "p_mean")?,
        p_std: elements(&p_std, "p_std")?,
        q_mean: elements(&q_mean, "q_mean")?,
        q_std: elements(&q_std, "q_std")?,
        points: elements(&points, "points")?,
    };
    let rngs: Vec<Rng> = rngs.into_iter().map(|rng| rng.0).collect();
    let results = py.detach(|| chains.accept_all(&lengths, &rngs, threads)).map_err(raise)?;
    let counts = results.iter().map(|result| result.as_ref().map_or(0, |point| point.n_accepted as i32));
    let statuses = results.iter().map(|result| i8::from(result.is_err()));
    let (counts, statuses) = (PyArray1::from_iter(py, counts), PyArray1::from_iter(py, statuses));
    let nan = vec![f64::NAN; n_dims];
    let found: Vec<f64> = results
        .iter()
        .flat_map(|result| result.as_ref().map_or(&nan, |point| &point.point))
        .copied()
        .collect();
    let found = found.into_pyarray(py).reshape([results.len(), n_dims])?;
    Ok((counts, found, statuses, results.into_iter().find_map(Result::err).map(raise)))
}

/// The tree without the nodes that `keep` refuses and what is below them, and the nodes that are left.
#[pyfunction]
fn prune<'py>(
    py: Python<'py>,
    tree: Py<PyDraftTree>,
    keep: PyReadonlyArray1<'py, bool>,
) -> PyResult<(PyDraftTree, Bound<'py, PyArray1<i32>>)> {
    let (tree, keep) = (&tree.get().tree, keep.as_array());
    if keep.len() != tree.n_nodes() {
        let expected = format!("one flag for each of the {} nodes", tree.n_nodes());
        return Err(array_error(py, "keep", &expected, &keep.len().to_string()));
    }
    let nodes = core::kept_nodes(tree, |node, _, _| keep[node]);
    let cut = core::subtree(tree, &nodes).map_err(raise)?;
    Ok((cut.into(), PyArray1::from_iter(py, nodes.iter().map(|&node| node as i32))))
}

/// `drafts` for places of a text, which have no row behind the last.
fn drafts_of_places<'a, T: Number>(
    trees: &'a [&'a DraftTree],
    (p, p_shape): (&'a [T], [usize; 3]),
    q: Option<(&'a [T], [usize; 3])>,
) -> Result<Drafts<'a, T>, VerifyError> {
    let q = q.map(|(q, shape)| Rows::of_draft(q, shape, trees)).transpose()?;
    Drafts::new(trees, Rows::of_draft(p, p_shape, trees)?, q)
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

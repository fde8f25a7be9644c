"""Verification beside the trees: any order, points of a space, relaxed rules, cutting a tree before the model runs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tokenloom as tl
from scipy import stats
from tokenloom.errors import ArrayError, DistributionError, DraftError, ParamsError
from tokenloom.reference import rng as numbers
from tokenloom.reference import verify as twin


class AtPlaces:
    """The twin of the decisions at the places of a text."""

    def __init__(self, seed: int, position: int, places: list[int]) -> None:
        self.seed, self.places = seed, [position + place for place in places]

    def accepts(self, node: int, probability: float) -> bool:
        return numbers.uniform(self.seed, self.places[node], 0, numbers.ACCEPT) < probability

    def draw(self, weights: twin.Row, depth: int, purpose: int) -> int:
        return twin.Seeded(self.seed, self.places[depth]).draw(weights, 0, purpose)


def test_any_order_equals_the_twin() -> None:
    rng = np.random.default_rng(1)
    ends = set()
    for case in range(200):
        n, n_vocab = int(rng.integers(0, 6)), int(rng.integers(1, 5))
        p, q = rng.dirichlet(np.ones(n_vocab), (2, n)).reshape(2, n, n_vocab)
        tokens = [int(rng.choice(n_vocab, p=row)) for row in q]
        places = rng.permutation(50)[:n]
        found = tl.verify.any_order(p, q, tokens, places, tl.Rng(case, 7))
        expected = twin.any_order(p.tolist(), q.tolist(), tokens, AtPlaces(case, 7, places.tolist()))
        assert (found.n_accepted, found.next_token) == expected
        assert found.path.tolist() == list(range(found.n_accepted))
        ends.add(found.n_accepted - n)
    assert {0, -1, -2} <= ends


def test_batches_of_any_order_equal_single_texts() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(4), (2, 3, 5)).astype(np.float32)
    tokens = np.array([[0, 1, 2, 3, 0], [1, 2, -1, -1, -1], [-1] * 5])
    places = np.array([[4, 2, 0, 9, 1], [3, 5, 0, 0, 0], [0] * 5])
    q[2], p[1, 2:] = np.nan, np.nan
    batch = tl.verify.any_order_batch(p, q, tokens, places, [1, 2, 3])
    assert (batch.status == 0).all()
    assert (batch.n_accepted[2], batch.next_tokens[2]) == (0, -1)
    for i, n in enumerate([5, 2, 0]):
        one = tl.verify.any_order(p[i, :n], q[i, :n], tokens[i, :n], places[i, :n], i + 1)
        assert batch.paths[i].tolist() == one.path.tolist() + [-1] * (5 - one.n_accepted)
        assert batch.next_tokens[i] == one.next_token
    with pytest.raises(ArrayError, match="found -3"):
        tl.verify.any_order(p[0], q[0], [0] * 5, [-3] * 5, 0)
    with pytest.raises(ArrayError, match="positions with 5 elements, found 4"):
        tl.verify.any_order(p[0], q[0], [0] * 5, [0] * 4, 0)
    with pytest.raises(ArrayError, match="positions that differ, found 4 twice"):
        tl.verify.any_order(p[0, :2], q[0, :2], [0, 1], [4, 4], 0)
    places[0] = [4, 2, 0, 2, 1]
    with pytest.raises(ArrayError, match="positions that differ, found 2 twice"):
        tl.verify.any_order_batch(p, q, tokens, places, [1, 2, 3])


def test_context_drafts_equal_the_twin() -> None:
    rng = np.random.default_rng(3)
    for case in range(100):
        text = rng.integers(0, 4, 12)
        holes = rng.permutation(12)[: rng.integers(1, 9)]
        text[holes] = -1
        draft = tl.verify.context_draft(text, holes, 4, tl.Rng(case, 3))
        now = text.tolist()
        for place, token, row in zip(holes.tolist(), draft.tokens.tolist(), draft.q, strict=True):
            law = twin.context_law(now, text.tolist(), place, 4)
            assert row == pytest.approx(law, abs=1e-12)
            assert token == twin.Seeded(case, 3 + place).draw(law, 0, numbers.DRAFT)
            now[place] = token
    with pytest.raises(ArrayError, match="open place below 2, found 0"):
        tl.verify.context_draft([1, -1], [0], 4, 0)
    with pytest.raises(DraftError, match="below 4, found 9"):
        tl.verify.context_draft([9, -1], [1], 4, 0)


def test_relaxed_rules_equal_the_twins() -> None:
    rng = np.random.default_rng(4)
    order = rng.permuted(np.tile(np.arange(5, dtype=np.int32), (5, 1)), axis=1)[:, :3]
    for case in range(200):
        n = int(rng.integers(0, 8))
        parents = [int(rng.integers(-1, node)) if node else -1 for node in range(n)]
        tokens = rng.integers(0, 5, n).tolist()
        p = rng.dirichlet(np.full(5, 0.5), n + 1)
        tree, chance = tl.draft.DraftTree(tokens, parents), twin.Seeded(case, 9)
        twin_tree, rows = twin.Tree(tokens, parents), p.tolist()
        node, change = twin.typical(rows, twin_tree, 0.3, 0.5)
        typical = tl.verify.relaxed(p, tree, None, tl.verify.Typical(0.3, 0.5))
        assert (typical.path.tolist(), typical.next_token) == (twin_tree.path_to(node), int(p[node + 1].argmax()))
        assert typical.tv_bound == pytest.approx(change, abs=1e-12)
        node, change = twin.margin(rows, twin_tree, 0.4)
        margin = tl.verify.relaxed(p, tree, tl.Rng(case, 9), tl.verify.Margin(0.4))
        path = twin_tree.path_to(node)
        assert margin.path.tolist() == path
        assert margin.next_token == chance.draw(rows[node + 1], len(path), numbers.SAMPLE)
        assert margin.tv_bound == pytest.approx(change, abs=1e-12)
        node, token, change = twin.neighbours(rows, twin_tree, order.tolist(), 0.25, chance)
        lent = tl.verify.relaxed(p, tree, tl.Rng(case, 9), tl.verify.Neighbours(order, 0.25))
        assert (lent.path.tolist(), lent.next_token) == (twin_tree.path_to(node), token)
        assert lent.tv_bound == pytest.approx(change, abs=1e-12)


def test_batches_of_relaxed_rules_and_their_errors() -> None:
    p = np.random.default_rng(5).dirichlet(np.ones(4), (3, 3))
    trees = [tl.draft.DraftTree([1, 2], [-1, 0]), tl.draft.DraftTree([], []), tl.draft.DraftTree([3], [-1])]
    order = np.array([[1], [0], [3], [2]])
    for rule in (tl.verify.Typical(), tl.verify.Margin(), tl.verify.Neighbours(order)):
        batch = tl.verify.relaxed_batch(p, trees, [4, None, 5], rule, threads=2)
        for i, (tree, seed) in enumerate(zip(trees, (4, None, 5), strict=True)):
            one = tl.verify.relaxed(p[i, : len(tree) + 1], tree, seed, rule)
            assert (batch.n_accepted[i], batch.next_tokens[i], batch.tv_bounds[i]) == (*one[2:3], one[1], one[3])
    drawn = tl.verify.relaxed(p[0], trees[0], 1, tl.verify.Neighbours(order, 0.0), q=np.full((2, 4), 0.25))
    assert drawn.tv_bound == 0
    p[1, 0] = np.nan
    bad = tl.verify.relaxed_batch(p, trees, [4, None, 5], tl.verify.Margin())
    assert bad.status.tolist() == [0, 1, 0]
    assert np.isnan(bad.tv_bounds[1])
    with pytest.raises(DistributionError, match="row 0"):
        tl.verify.relaxed(p[1], trees[1], 0, tl.verify.Typical())
    with pytest.raises(ParamsError, match=r"expected ratio to be between 0 and 1, found 1\.5"):
        tl.verify.relaxed(p[0], trees[0], 0, tl.verify.Margin(1.5))
    with pytest.raises(ArrayError, match="order with 4 elements, found 3"):
        tl.verify.relaxed(p[0], trees[0], 0, tl.verify.Neighbours(order[:3]))
    with pytest.raises(DraftError, match="below 4, found -1"):
        tl.verify.relaxed(p[0], trees[0], 0, tl.verify.Neighbours(order - 1))
    with pytest.raises(TypeError, match="Typical, Margin or Neighbours, found str"):
        tl.verify.relaxed(p[0], trees[0], 0, "typical")  # type: ignore[arg-type]


def test_points_equal_the_twin_and_the_law_of_the_target() -> None:
    rng = np.random.default_rng(6)
    n_runs, n_dims = 20_000, 2
    p_mean, q_mean = np.array([[0.3, -0.2], [1.0, 2.0]]), np.array([[-0.5, 0.4]])
    for p_std, q_std in ((0.8, 0.8), (np.array([0.8, 1.1]), np.array([1.0, 0.9]))):
        points = q_mean + q_std * rng.standard_normal((n_runs, 1, n_dims))
        batch = tl.verify.continuous_batch(
            np.broadcast_to(p_mean, (n_runs, 2, n_dims)),
            p_std,
            np.broadcast_to(q_mean, points.shape),
            q_std,
            points,
            [tl.Rng(seed, 3) for seed in range(n_runs)],
            threads=2,
        )
        first = np.where(batch.n_accepted[:, None] == 1, points[:, 0], batch.samples)
        whitened = (first - p_mean[0]) / p_std
        angle = np.array([0.6, 0.8])
        tests = (whitened[:, 0], whitened[:, 1], whitened @ angle, np.sqrt((whitened**2).sum(1)))
        laws = (stats.norm.cdf, stats.norm.cdf, stats.norm.cdf, stats.rayleigh.cdf)
        assert min(stats.kstest(found, law).pvalue for found, law in zip(tests, laws, strict=True)) > 1e-6
        behind = (batch.samples[batch.n_accepted == 1] - p_mean[1]) / p_std
        assert stats.kstest(behind.ravel(), stats.norm.cdf).pvalue > 1e-6
        for seed in range(100):
            one = tl.verify.continuous(p_mean, p_std, q_mean, q_std, points[seed], tl.Rng(seed, 3))
            assert one.n_accepted == batch.n_accepted[seed]
            assert one.sample.tolist() == batch.samples[seed].tolist()
            if isinstance(p_std, float):
                accepted, instead = twin.reflected(p_mean[0], q_mean[0], [p_std] * 2, points[seed, 0])
                is_kept = numbers.uniform(seed, 3, 0, numbers.ACCEPT) < accepted
                assert is_kept == (one.n_accepted == 1)
                assert is_kept or one.sample == pytest.approx(instead)


def test_points_that_are_none() -> None:
    mean = np.zeros((2, 3))
    empty = tl.verify.continuous(mean[:1], 1.0, mean[:0], 1.0, mean[:0], 5)
    assert empty.n_accepted == 0
    longer = (np.zeros((1, 2, 3)), 1, np.zeros((1, 1, 3)), 1, np.zeros((1, 1, 3)))
    plain = tl.verify.continuous_batch(*longer, [5], lengths=[0])
    assert plain.samples[0].tolist() == empty.sample.tolist()
    for bad, message in ((np.nan, "finite means, found NaN"), (np.inf, "finite means, found inf")):
        with pytest.raises(ParamsError, match=message):
            tl.verify.continuous(mean + bad, 1.0, mean[:1], 1.0, mean[:1], 0)
    for std in (0.0, -1.0, np.nan):
        with pytest.raises(ParamsError, match="above 0"):
            tl.verify.continuous(mean, std, mean[:1], 1.0, mean[:1], 0)
    with pytest.raises(ParamsError, match="drafted points to be finite"):
        tl.verify.continuous(mean, 1.0, mean[:1], 1.0, mean[:1] + np.nan, 0)
    with pytest.raises(ArrayError, match=r"p_mean to be shape \(1, 2, 3\)"):
        tl.verify.continuous(mean[:1], 1.0, mean[:1], 1.0, mean[:1], 0)
    with pytest.raises(ArrayError, match="broadcast"):
        tl.verify.continuous(mean, np.ones(2), mean[:1], 1.0, mean[:1], 0)
    with pytest.raises(ArrayError, match="dimensions"):
        tl.verify.continuous(0.0, 1.0, 0.0, 1.0, 0.0, 0)
    with pytest.raises(ArrayError, match="rngs with 1 elements, found 0"):
        tl.verify.continuous_batch(*longer, [])
    for lengths in ([4], [5], [-1], [], [1, 1]):
        with pytest.raises(ArrayError, match="lengths to be one number from 0 to 1 for each of the 1 chains, found"):
            tl.verify.continuous_batch(*longer, [0], lengths=lengths)


def test_a_cut_changes_no_walk() -> None:
    rng = np.random.default_rng(7)
    for case in range(200):
        n = int(rng.integers(0, 9))
        tree = tl.draft.DraftTree(
            rng.integers(0, 40, n), [int(rng.integers(-1, node)) if node else -1 for node in range(n)]
        )
        allowed = rng.random((n + 1, 40)) < 0.5
        allowed[:, 39] = True
        p = rng.dirichlet(np.ones(40), n + 1) * allowed
        bits = np.pad(allowed, ((0, 0), (0, 24))).reshape(n + 1, 2, 32)
        masks = (bits * (1 << np.arange(32, dtype=np.uint64))).sum(2).astype(np.uint32)
        cut = tl.verify.prune(tree, masks=masks.view(np.int32))
        kept = tl.verify.prune(tree, keep=[bool(allowed[tree.parents[j] + 1, tree.tokens[j]]) for j in range(n)])
        assert cut.tree == kept.tree
        assert cut.nodes.dtype == np.int32
        before = tl.verify.walk(p, tree, case)
        after = tl.verify.walk(p[[0, *(cut.nodes + 1)]], cut.tree, case)
        assert tree.tokens[before.path].tolist() == cut.tree.tokens[after.path].tolist()
        assert before.next_token == after.next_token
    tree = tl.draft.DraftTree([100, 1], [-1, -1])
    assert tl.verify.prune(tree, masks=np.full((3, 1), -1, np.int32)).nodes.tolist() == [1]
    for arguments in ({}, {"keep": [True, True], "masks": np.zeros((3, 1), np.int32)}):
        with pytest.raises(ArrayError, match="expected keep or masks"):
            tl.verify.prune(tree, **arguments)
    with pytest.raises(ArrayError, match="one flag for each of the 2 nodes, found 1"):
        tl.verify.prune(tree, keep=[True])
    with pytest.raises(ArrayError, match="int32 with 3 rows"):
        tl.verify.prune(tree, masks=np.zeros((2, 1), np.int32))


def test_results_pickle() -> None:
    p, tree = np.array([[0.6, 0.4], [0.9, 0.1]]), tl.draft.DraftTree([1], [-1])
    for result in (tl.verify.walk(p, tree, 0), tl.verify.relaxed(p, tree, 0, tl.verify.Typical())):
        assert pickle.loads(pickle.dumps(result))[1:] == result[1:]
    rule = tl.verify.Neighbours(np.zeros((2, 1), np.int32))
    assert pickle.loads(pickle.dumps(rule)).delta == rule.delta

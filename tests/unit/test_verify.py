"""Greedy and walk verification of drafted trees."""

from __future__ import annotations

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DistributionError, DraftError
from tokenloom.reference import verify as twin


def random_tree(rng: np.random.Generator, n_nodes: int, n_vocab: int) -> tl.draft.DraftTree:
    parents = [int(rng.integers(-1, node)) if node else -1 for node in range(n_nodes)]
    return tl.draft.DraftTree(rng.integers(0, n_vocab, n_nodes), parents)


def test_equal_to_the_twins() -> None:
    rng = np.random.default_rng(7)
    n_deep = 0
    for case in range(300):
        n_vocab = int(rng.integers(1, 4))
        tree = random_tree(rng, int(rng.integers(0, 9)), n_vocab)
        tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
        rows = rng.dirichlet(np.ones(n_vocab), len(tree) + 1)
        greedy = tl.verify.greedy(np.round(rows, 1), tree)
        assert (greedy.path.tolist(), greedy.next_token) == twin.greedy(np.round(rows, 1).tolist(), tokens, parents)
        walk = tl.verify.walk(rows, tree, tl.Rng(case, 2**33))
        assert (walk.path.tolist(), walk.next_token) == twin.walk(rows.tolist(), tokens, parents, case, 2**33)
        assert walk.n_accepted == len(walk.path)
        n_deep += walk.n_accepted > 1
    assert n_deep > 30


def test_a_walk_commits_what_plain_sampling_draws() -> None:
    """Row j + 1 is drawn at the position of its depth, with the noise of ``tl.sample``."""
    rng = np.random.default_rng(3)
    for seed in range(100):
        tree = random_tree(rng, 6, 3)
        logits = rng.normal(size=(7, 3)).astype(np.float32)
        probs = np.exp(logits.astype(np.float64))
        positions = 40 + np.concatenate([[0], tree.depths]).astype(np.int64)
        sampled = tl.sample.sample(logits, tl.sample.Params(), seeds=np.full(7, seed, np.uint64), positions=positions)
        walked = tl.verify.walk(probs, tree, tl.Rng(seed, 40))
        followed = tl.verify.follow(sampled.tokens, tree)
        assert walked.path.tolist() == followed.path.tolist()
        assert walked.next_token == followed.next_token


def test_batches_equal_single_trees() -> None:
    rng = np.random.default_rng(5)
    trees = [random_tree(rng, n_nodes, 3) for n_nodes in (0, 5, 2, 7)]
    probs = rng.dirichlet(np.ones(3), (4, 8)).astype(np.float32)
    rngs = [tl.Rng(i, 9 * i) for i in range(4)]
    padded = probs.copy()
    for i, tree in enumerate(trees):
        padded[i, len(tree) + 1 :] = np.nan
    walked, greedy = tl.verify.walk_batch(padded, trees, rngs), tl.verify.greedy_batch(padded, trees)
    assert walked.paths.shape == (4, 7)
    assert walked.paths.dtype == walked.next_tokens.dtype == walked.n_accepted.dtype == np.int32
    for i, tree in enumerate(trees):
        for batch, one in (
            (walked, tl.verify.walk(probs[i, : len(tree) + 1], tree, rngs[i])),
            (greedy, tl.verify.greedy(probs[i, : len(tree) + 1], tree)),
        ):
            assert batch.paths[i].tolist() == one.path.tolist() + [-1] * (7 - one.n_accepted)
            assert (batch.next_tokens[i], batch.n_accepted[i]) == (one.next_token, one.n_accepted)


def test_equal_logits_say_the_smallest_id_and_the_first_of_equal_siblings_stays() -> None:
    tree = tl.draft.DraftTree([1, 1, 0], [-1, -1, -1])
    assert tl.verify.greedy(np.zeros((4, 3)), tree).path.tolist() == [2]
    logits = np.array([[0.0, 5.0, 5.0]] * 4, dtype=np.float32)
    assert tl.verify.greedy(logits, tree).path.tolist() == [0]


def test_other_layouts_are_taken() -> None:
    tree = tl.draft.DraftTree([0], [-1])
    rows = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert tl.verify.greedy(np.asfortranarray(rows), tree).next_token == 1
    assert tl.verify.greedy(rows.tolist(), tree).next_token == 1
    assert (
        tl.verify.walk(rows[:, ::-1][:, ::-1], tree, 3).next_token == tl.verify.walk(rows, tree, tl.Rng(3)).next_token
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([np.nan, 1.0], "found NaN at row 1, token 0"),
        ([np.inf, 1.0], "found inf at row 1, token 0"),
        ([0.5, -0.5], "at least 0, found -0.5 at row 1, token 1"),
        ([0.0, 0.0], "sum to 0 at row 1"),
    ],
)
def test_rows_that_are_no_distribution_are_named(bad: list[float], message: str) -> None:
    tree = tl.draft.DraftTree([0, 1], [-1, -1])
    probs = np.array([[1.0, 0.0], bad, [np.nan, np.nan]])
    with pytest.raises(DistributionError, match=message) as caught:
        tl.verify.walk(probs, tree, 0)
    assert caught.value.row == 1
    with pytest.raises(DistributionError) as caught:
        tl.verify.walk_batch(np.stack([np.ones((3, 2)), probs]), [tree, tree], [0, 0])
    assert caught.value.row == 4


def test_greedy_rejects_rows_without_a_best_token() -> None:
    tree = tl.draft.DraftTree([], [])
    for row in ([np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]):
        with pytest.raises(DistributionError, match="row 0"):
            tl.verify.greedy(np.array([row]), tree)


def test_shapes_and_dtypes() -> None:
    tree = tl.draft.DraftTree([0], [-1])
    with pytest.raises(ArrayError, match="expected 2 rows, one for the last committed token"):
        tl.verify.greedy(np.zeros((1, 2)), tree)
    with pytest.raises(ArrayError, match=r"\[trees, nodes \+ 1, vocabulary\]"):
        tl.verify.greedy(np.zeros(2), tree)
    with pytest.raises(ArrayError, match="float32 or float64"):
        tl.verify.greedy(np.zeros((2, 2), dtype=np.int64), tree)
    with pytest.raises(ArrayError, match="one tree for each of the 2 blocks"):
        tl.verify.greedy_batch(np.zeros((2, 2, 2)), [tree])
    with pytest.raises(ArrayError, match="rngs"):
        tl.verify.walk_batch(np.ones((1, 2, 2)), [tree], [])
    with pytest.raises(ArrayError, match="found 1"):
        tl.verify.follow([0], tree)
    with pytest.raises(DraftError, match="found -1"):
        tl.verify.follow([0, -1], tree)
    with pytest.raises(DistributionError):
        tl.verify.greedy(np.zeros((2, 0)), tree)
    with pytest.raises(TypeError):
        tl.verify.walk(np.ones((2, 2)), tree, "seed")  # type: ignore[arg-type]

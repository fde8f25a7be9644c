"""Sparse trees, slots and the pace of draft models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DraftError, LimitError


def test_sparse_trees_are_the_best_paths() -> None:
    rng = np.random.default_rng(0)
    accuracy = [sorted(rng.random(3).tolist(), reverse=True) for _ in range(3)]
    products = sorted(
        (
            float(np.prod([accuracy[depth][rank] for depth, rank in enumerate(path)]))
            for length in (1, 2, 3)
            for path in itertools.product(range(3), repeat=length)
        ),
        reverse=True,
    )
    for n_nodes in (0, 1, 7, 39):
        tree = tl.draft.sparse_tree(accuracy, n_nodes)
        found: list[float] = []
        for parent, prob in zip(tree.parents.tolist(), tree.probs.tolist(), strict=True):
            found.append(prob * (found[parent] if parent >= 0 else 1.0))
        np.testing.assert_allclose(sorted(found, reverse=True), products[:n_nodes], rtol=1e-5)
    cost = tl.draft.CostCurve([1, 8, 9], [1.0, 1.0, 5.0])
    assert len(tl.draft.sparse_tree(accuracy, cost=cost)) == 7
    with pytest.raises(DraftError, match="the likeliest first"):
        tl.draft.sparse_tree([[0.1, 0.2]])


def test_slots_see_the_path_of_their_row() -> None:
    tree = tl.draft.DraftTree([5, 6, 7], [-1, 0, -1])
    every = tl.draft.with_slots(tree, 2)
    assert every.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert every.offsets.tolist() == [0, 1, 2, 1, 1, 2, 2, 3, 3, 4, 2, 3]
    np.testing.assert_array_equal(every.mask[:4, :4], tree.attention_mask(0))
    assert np.flatnonzero(every.mask[9]).tolist() == [0, 1, 2, 8, 9]
    last = tl.draft.with_slots(tree, 1, where="last")
    assert last.owners.tolist() == [2, 3]
    assert tl.draft.with_slots(tree, [0, 0, 0, 0]).mask.shape == (4, 4)
    for slots in ([1], -1, [1.5] * 4):
        with pytest.raises(ArrayError, match="each of the 4 rows"):
            tl.draft.with_slots(tree, slots)
    with pytest.raises(ArrayError, match='"every" or "last"'):
        tl.draft.with_slots(tree, 1, where="first")
    with pytest.raises(ArrayError, match='"every" or "last"'):
        tl.draft.with_slots(tree, [1] * 4, where="first")
    for n_slots in (10**5, 10**9, 2**62):
        with pytest.raises(LimitError, match="bytes of a mask of at most 2147483648, found"):
            tl.draft.with_slots(tree, n_slots)


def test_pacing() -> None:
    n_tokens = [0, 0]
    for _ in range(30):
        n_tokens[tl.draft.next_branch([0.8, 0.4], n_tokens)] += 1
    assert n_tokens == [20, 10]
    with pytest.raises(ArrayError):
        tl.draft.next_branch([], [])
    fallback = tl.draft.Fallback(0.1)
    fallback.update(n_right=0, n_drafted=2, confidence=0.5)
    assert fallback.threshold == pytest.approx(0.2)
    with pytest.raises(DraftError, match="threshold"):
        tl.draft.Fallback(0)


def test_pacing_of_odd_numbers() -> None:
    assert tl.draft.next_branch(np.array([0.5, 0.5]), np.array([2, 1])) == 1
    for counts in ([1, -1], [1.5, 2.0], [[1], [2]]):
        with pytest.raises(ArrayError, match="expected counts of at least 0"):
            tl.draft.next_branch([0.5, 0.5], counts)  # type: ignore[arg-type]
    fallback = tl.draft.Fallback(0.1)
    assert fallback.should_verify(np.array([0.01, 0.02]))
    for confidence in (math.nan, -0.1, 1.5):
        with pytest.raises(DraftError, match="expected confidences from 0 to 1, found"):
            tl.draft.next_branch([0.5, confidence], [1, 1])
        with pytest.raises(DraftError, match="expected confidences from 0 to 1, found"):
            fallback.should_verify([0.5, confidence])
        with pytest.raises(DraftError, match="expected confidences from 0 to 1, found"):
            fallback.update(1, 2, confidence)
    for n_right, n_drafted in ((3, 2), (-1, 2), (0, -1)):
        with pytest.raises(DraftError, match="drafted tokens to be right, found"):
            fallback.update(n_right, n_drafted, 0.5)
    assert fallback.threshold == 0.1

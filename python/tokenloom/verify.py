"""Which drafted tokens may stay without changing the distribution?

Row 0 of ``logits`` or ``probs`` is the position after the last committed token, row ``j + 1`` the one behind node
``j`` of the tree: the rows that a model returns for the last committed token followed by the nodes.

>>> import numpy as np, tokenloom as tl
>>> tree = tl.draft.DraftTree(tokens=[2, 0, 1], parents=[-1, 0, 0])
>>> logits = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [9.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
>>> accepted = tl.verify.greedy(logits, tree)
>>> accepted.path.tolist(), accepted.next_token, accepted.n_accepted
([0, 2], 0, 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import verify as _core
from tokenloom.draft import DraftTree
from tokenloom.sample import Rng

__all__ = ["Accepted", "AcceptedBatch", "follow", "greedy", "greedy_batch", "walk", "walk_batch"]


class Accepted(NamedTuple):
    """What is committed: ``tree.tokens[path]``, then ``next_token``.

    Attributes:
        path: accepted nodes, from a child of the root downwards, int32[n_accepted].
        next_token: the target's own token behind them.
        n_accepted: how many drafted tokens stay.
    """

    path: NDArray[np.int32]
    next_token: int
    n_accepted: int


class AcceptedBatch(NamedTuple):
    """One row a tree; see :class:`Accepted`.

    Attributes:
        paths: accepted nodes, padded with -1, int32[B, nodes of the largest tree].
        next_tokens: int32[B].
        n_accepted: int32[B].
    """

    paths: NDArray[np.int32]
    next_tokens: NDArray[np.int32]
    n_accepted: NDArray[np.int32]


def greedy(logits: ArrayLike, tree: DraftTree) -> Accepted:
    """Accept the tokens that greedy decoding says; among equal logits the smallest id.

    Args:
        logits: float32 or float64[n + 1, V] for a tree of n nodes; probabilities do as well.
        tree: the draft.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row on the path has NaN, +inf or nothing above -inf; ``row`` names it.
    """
    return _first(greedy_batch(_as_batch(logits), [tree]))


def walk(probs: ArrayLike, tree: DraftTree, rng: int | Rng) -> Accepted:
    """Accept the tokens that sampling draws: lossless, and no lossless rule accepts more of a fixed tree.

    Depth d of the tree is drawn at position ``rng.position + d`` with the noise that plain sampling has there, so the
    committed text equals plain sampling with the same seed.

    Args:
        probs: float32 or float64[n + 1, V], not negative; rows need not sum to one. Temperature, truncation and masks
            are applied before, each row with the prefix of its node.
        tree: the draft.
        rng: an int seed (position 0), or a :class:`tokenloom.Rng` at the position of row 0.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row on the path has NaN, an infinite or a negative entry, or no mass; ``row`` names it.
    """
    return _first(walk_batch(_as_batch(probs), [tree], [rng]))


def follow(sampled: ArrayLike | Sequence[int], tree: DraftTree) -> Accepted:
    """Accept the tokens that were drawn before, one for each row.

    This is :func:`walk` for loops that sample all rows in one call: row ``j + 1`` at the position of its depth.

    Args:
        sampled: the target's token in each row, integer[n + 1].
        tree: the draft.

    Raises:
        ArrayError: ``sampled`` is not one integer for each row.
        DraftError: an id is negative or above 2**31 - 1.
    """
    return _first(AcceptedBatch(*_core.follow(sampled, tree)))


def greedy_batch(logits: ArrayLike, trees: Sequence[DraftTree]) -> AcceptedBatch:
    """:func:`greedy` for several trees.

    Args:
        logits: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        trees: B trees.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: as :func:`greedy`; ``row`` counts through the batch.
    """
    return AcceptedBatch(*_core.greedy(np.ascontiguousarray(logits), list(trees)))


def walk_batch(probs: ArrayLike, trees: Sequence[DraftTree], rngs: Sequence[int | Rng]) -> AcceptedBatch:
    """:func:`walk` for several trees.

    Args:
        probs: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        trees: B trees.
        rngs: B seeds or :class:`tokenloom.Rng`.

    Raises:
        ArrayError: wrong dtype or shape, or not one rng a tree.
        DistributionError: as :func:`walk`; ``row`` counts through the batch.
    """
    return AcceptedBatch(*_core.walk(np.ascontiguousarray(probs), list(trees), list(rngs)))


def _as_batch(rows: ArrayLike) -> NDArray[np.floating]:
    return np.ascontiguousarray(rows)[np.newaxis]


def _first(batch: AcceptedBatch) -> Accepted:
    n_accepted = int(batch.n_accepted[0])
    return Accepted(batch.paths[0, :n_accepted], int(batch.next_tokens[0]), n_accepted)

"""How much more may stay if the law may change a little? LOSSY rules, with a bound on the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._accepted import AcceptedBatch, as_rows, first, usable
from tokenloom._core import verify as _core
from tokenloom.draft import DraftTree
from tokenloom.sample import Rng


@dataclass(frozen=True, slots=True)
class Typical:
    """Keep the longest path of tokens that are probable enough for their row (Medusa; Cai et al. 2024).

    Enough is ``min(epsilon, delta exp(-H))``, where H is the entropy of the row in nats. Of equally long paths the most
    probable is kept.

    Attributes:
        epsilon: enough in any row, 0 to 1.
        delta: enough in a row of entropy 0, 0 to 1.
    """

    epsilon: float = 0.09
    delta: float = 0.3


@dataclass(frozen=True, slots=True)
class Margin:
    """Follow the most probable child while it is close to the best token (AdaptiveSpec, 2026).

    Attributes:
        ratio: how much of the best token's probability the child must have, 0 to 1; 1 is greedy decoding.
    """

    ratio: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Let a token stand for its nearest neighbours, for codes that mean nearly the same (LANTERN; Jang et al. 2025).

    A drafted token is accepted with its own probability and that of as many neighbours as have together at most
    ``delta``, and at most ``ratio`` times its own.

    Attributes:
        order: the neighbours of each token, nearest first, int32[V, k].
        delta: the mass that neighbours may lend at a place, 0 to 1.
        ratio: how much of the token's own mass they may lend.
    """

    order: NDArray[np.int32] = field(repr=False)
    delta: float = 0.1
    ratio: float = float("inf")


class Relaxed(NamedTuple):
    """What is committed, and how far its law may be from the target's; see :class:`Accepted`.

    Attributes:
        path: accepted nodes, int32[n_accepted].
        next_token: the token behind them.
        n_accepted: how many drafted tokens stay.
        tv_bound: the sum, over the places that were looked at, of the total variation between the law of the place and
            the target's, at most 1. Its mean over runs bounds the total variation of the committed text.
    """

    path: NDArray[np.int32]
    next_token: int
    n_accepted: int
    tv_bound: float


class RelaxedBatch(NamedTuple):
    """One row a tree; see :class:`Relaxed` and :class:`AcceptedBatch`.

    Attributes:
        paths: int32[B, nodes of the largest tree], padded with -1.
        next_tokens: int32[B]; -1 where the status is not OK.
        n_accepted: int32[B].
        status: int8[B], a :class:`Status`.
        tv_bounds: float64[B]; NaN where the status is not OK.
    """

    paths: NDArray[np.int32]
    next_tokens: NDArray[np.int32]
    n_accepted: NDArray[np.int32]
    status: NDArray[np.int8]
    tv_bounds: NDArray[np.float64]


Rule = Typical | Margin | Neighbours


def relaxed(p: ArrayLike, tree: DraftTree, rng: int | Rng | None, rule: Rule, *, q: ArrayLike | None = None) -> Relaxed:
    """Accept more than the target's law allows, and say how far the law may change. LOSSY.

    Args:
        p: the target, float32 or float64[n + 1, V].
        tree: the draft.
        rng: an int seed or a :class:`tokenloom.Rng` for the token behind the path and for :class:`Neighbours`; ``None``
            takes the most probable token, and the likelier answer to every test.
        rule: :class:`Typical`, :class:`Margin` or :class:`Neighbours`.
        q: for :class:`Neighbours`, what independent siblings were drawn from, [n, V]; ``None``: the tree was not drawn.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row that is read is no distribution; ``row`` names it.
        DraftError: a token is out of range, or cannot have been drawn.
        ParamsError: a number of the rule is out of its range.

    >>> import numpy as np, tokenloom as tl
    >>> tree = tl.draft.DraftTree([1], [-1])
    >>> kept = tl.verify.relaxed(np.array([[0.6, 0.4], [0.9, 0.1]]), tree, None, tl.verify.Margin(ratio=0.5))
    >>> kept.n_accepted, kept.next_token, kept.tv_bound
    (1, 0, 0.6)
    """
    rows, draft = as_rows(p, q, n_axes=2)
    arrays, error, bounds = _core.relaxed(_arguments(rule), rows, draft, [tree], [rng], 1)
    if error is not None:
        raise error
    return Relaxed(*first(AcceptedBatch(*arrays)), float(bounds[0]))


def relaxed_batch(
    p: ArrayLike,
    trees: Sequence[DraftTree],
    rngs: Sequence[int | Rng | None],
    rule: Rule,
    *,
    q: ArrayLike | None = None,
    threads: int | None = None,
) -> RelaxedBatch:
    """:func:`relaxed` for several trees.

    Args:
        p: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        trees: B trees.
        rngs: B seeds, :class:`tokenloom.Rng` or ``None``.
        rule: one rule for all.
        q: [B, n, V], or ``None``.
        threads: at most this many threads, which live for this call only; every usable core where ``None``.

    Raises:
        ArrayError: wrong dtype or shape, or not one rng a tree. Bad numbers do not raise: see ``status``.
        ParamsError: a number of the rule is out of its range.
        ValueError: ``threads`` is below 1.
    """
    rows, draft = as_rows(p, q, n_axes=3)
    arrays, _, bounds = _core.relaxed(_arguments(rule), rows, draft, list(trees), list(rngs), usable(threads))
    return RelaxedBatch(*arrays, bounds)


def _arguments(rule: Rule) -> tuple[str, float, float, NDArray[np.int32] | None]:
    match rule:
        case Typical():
            return "typical", rule.epsilon, rule.delta, None
        case Margin():
            return "margin", rule.ratio, 0.0, None
        case Neighbours():
            order = np.ascontiguousarray(rule.order, dtype=np.int32)
            return "neighbours", rule.delta, rule.ratio, order
        case _:
            raise TypeError(f"expected rule to be Typical, Margin or Neighbours, found {type(rule).__name__}")

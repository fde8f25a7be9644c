"""How many drafted tokens are worth their rows, this step?

A step over all rows of a batch commits 1 + (expected accepted) tokens a row and takes T(tokens it reads). The nodes of
a tree in falling order of their path probability are a tree at every length, so the best trees are found by trying
each width: maximise (rows + expected accepted) / T(rows x (width + 1)). Width 0 is plain decoding, so drafting switches
itself off where it does not pay.

A drafter's probabilities may not fit this model. Sums of expected and accepted tokens, which fade, scale them; they
fade toward trust while nothing is drafted, so drafting is tried again now and then. Cost: O(nodes log nodes) a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenloom.draft import CostCurve, DraftTree
from tokenloom.torch.tree_attention import subtree

__all__ = ["Pace"]

_FADE = 0.98
_TRUST = 1.0  # expected tokens that are taken for accepted before anything was seen
_MARGIN = 1.02  # a gain smaller than this is noise of the curve


class Pace:
    """Cuts the trees of each step to what pays.

    Args:
        curve: what forward passes cost (:func:`cost_curve`).

    A drafter's own ``cost=`` does the same for one text. This looks at the whole batch, and at what was accepted,
    whatever the drafter.

    Raises:
        DraftError: the curve is none.
    """

    def __init__(self, curve: CostCurve) -> None:
        curve.at(1)  # an impossible curve is refused here, not in the middle of a text
        self._curve = curve
        self._seconds: dict[int, float] = {}
        self._expected = 0.0
        self._accepted = 0.0

    @property
    def scale(self) -> float:
        """Accepted tokens for each one expected, as far as seen."""
        return (self._accepted + _TRUST) / (self._expected + _TRUST)

    def cut(self, trees: Sequence[DraftTree]) -> list[DraftTree]:
        """The part of each tree that pays."""
        values = [path_probs(tree) for tree in trees]
        orders = [np.argsort(-value, kind="stable") for value in values]
        widest = max((len(tree) for tree in trees), default=0)
        if widest == 0:
            return list(trees)
        gains = np.zeros(widest + 1)
        for value, order in zip(values, orders, strict=True):
            gains[1 : len(order) + 1] += value[order]
        expected = len(trees) + self.scale * np.cumsum(gains)
        seconds = np.array([self._pass_over(len(trees) * (width + 1)) for width in range(widest + 1)])
        rates = expected / seconds
        width = int(rates.argmax())
        if rates[width] < _MARGIN * rates[0]:
            width = 0
        return [
            tree if len(tree) <= width else subtree(tree, sorted(order[:width].tolist()))
            for tree, order in zip(trees, orders, strict=True)
        ]

    def _pass_over(self, n_tokens: int) -> float:
        if n_tokens not in self._seconds:
            self._seconds[n_tokens] = self._curve.at(n_tokens)
        return self._seconds[n_tokens]

    def learn(self, trees: Sequence[DraftTree], n_accepted: int) -> None:
        """What became of the trees that were read."""
        self._expected = _FADE * self._expected + sum(float(path_probs(tree).sum()) for tree in trees)
        self._accepted = _FADE * self._accepted + n_accepted


def path_probs(tree: DraftTree) -> NDArray[np.float64]:
    """How probable the path to each node is: the product of the nodes' own probabilities, never above the parent's."""
    probs, parents = tree.probs.tolist(), tree.parents.tolist()
    paths: list[float] = []
    for prob, parent in zip(probs, parents, strict=True):
        paths.append(prob * (paths[parent] if parent >= 0 else 1.0))
    return np.array(paths, dtype=np.float64)

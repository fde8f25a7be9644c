"""Trees and slots for trained heads, and the pace of draft models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom._cost import CostCurve
from tokenloom.errors import ArrayError, DraftError

__all__ = ["Fallback", "SlotTemplate", "next_branch", "sparse_tree", "with_slots"]


class SlotTemplate(NamedTuple):
    """A tree with slots for further guesses: its rows first, then the slots of row 0, of row 1 and so on.

    Attributes:
        owners: which row each slot stands behind, int64[slots]; row 0 is the last committed token.
        offsets: position of each row and slot behind the last committed token, int64[rows + slots].
        mask: which of them each sees, bool[rows + slots, rows + slots]; all see the past.
    """

    owners: NDArray[np.int64]
    offsets: NDArray[np.int64]
    mask: NDArray[np.bool_]


def sparse_tree(accuracy: Sequence[Sequence[float]], n_nodes: int = 64, *, cost: CostCurve | None = None) -> DraftTree:
    """The best tree for a head that ranks its guesses at each depth; its tokens are ranks.

    Chen et al., "Hardware-aware parallel prompt decoding", 2024.

    Args:
        accuracy: how often the guess of rank r at depth d + 1 is right, ``accuracy[d][r]``, the likeliest first.
        n_nodes: most nodes, at most 4096.
        cost: if given, only the nodes that pay on this device.

    Raises:
        DraftError: an accuracy is not from 0 to 1, or the ranks are not in falling order.

    >>> import tokenloom as tl
    >>> tl.draft.sparse_tree([[0.6, 0.2], [0.5]], 3).parents.tolist()
    [-1, 0, -1]
    """
    rows = [[float(part) for part in ranks] for ranks in accuracy]
    for depth, ranks in enumerate(rows):
        if not all(0 <= part <= 1 for part in ranks) or ranks != sorted(ranks, reverse=True):
            raise DraftError(
                f"expected accuracies from 1 to 0, the likeliest first, found {ranks} at depth {depth + 1}"
            )
    tree = _core.sparse_tree(rows, max(n_nodes, 0))
    if cost is None:
        return tree
    path_probs: list[float] = []
    for parent, prob in zip(tree.parents.tolist(), tree.probs.tolist(), strict=True):
        path_probs.append(prob * (path_probs[parent] if parent >= 0 else 1.0))
    return _core.sparse_tree(rows, cost.n_paying(sorted(path_probs, reverse=True)))


def with_slots(tree: DraftTree, slots: int | ArrayLike, *, where: str = "every") -> SlotTemplate:
    """A mask with slots behind the rows of a tree, for models that were trained to guess there.

    Args:
        tree: the draft.
        slots: how many behind each row, or one number for the rows that ``where`` names.
        where: "every" row (quadratic decoding), or only the "last" ones, the leaves (linear decoding).

    Raises:
        ArrayError: not one number for each row, or ``where`` is neither.
        LimitError: the mask takes more than 2 GiB.

    >>> import tokenloom as tl
    >>> tl.draft.with_slots(tl.draft.DraftTree.chain([5]), 2, where="last").offsets.tolist()
    [0, 1, 2, 3]
    """
    if where not in ("every", "last"):
        raise ArrayError(f'expected where as "every" or "last", found {where!r}')
    n_rows = len(tree) + 1
    counts = np.asarray(slots)
    if counts.ndim == 0:
        counts = np.full(n_rows, counts)
        if where == "last":
            counts[tree.parents + 1] = 0
    if counts.shape != (n_rows,) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ArrayError(f"expected a number of slots for each of the {n_rows} rows, found {counts.tolist()}")
    return SlotTemplate(*_core.with_slots(tree, counts.tolist()))


class Fallback:
    """When a draft model should stop and let the target verify: LLMCad's threshold, which adapts.

    Args:
        threshold: where it begins.

    >>> import tokenloom as tl
    >>> fallback = tl.draft.Fallback(0.01)
    >>> fallback.should_verify([0.5, 0.02]), fallback.should_verify([0.004])
    (False, True)
    >>> fallback.update(n_right=4, n_drafted=4, confidence=0.004)
    >>> fallback.threshold
    0.005
    """

    def __init__(self, threshold: float = 0.01) -> None:
        if not 0 < threshold <= 1:
            raise DraftError(f"expected a threshold above 0 and at most 1, found {threshold}")
        self.threshold = threshold

    def should_verify(self, confidences: Sequence[float]) -> bool:
        """Whether even the best branch is below the threshold; ``confidences`` are products along the branches.

        Raises:
            DraftError: a confidence is not from 0 to 1.
        """
        return max(_checked_confidences(confidences), default=0.0) < self.threshold

    def update(self, n_right: int, n_drafted: int, confidence: float) -> None:
        """Learn from a verification: ``confidence`` was the best branch's when it began.

        Raises:
            DraftError: more tokens were right than drafted, a number is negative, or the confidence is not from 0 to 1.
        """
        if not 0 <= n_right <= n_drafted:
            raise DraftError(f"expected from 0 to {n_drafted} drafted tokens to be right, found {n_right}")
        (confidence,) = _checked_confidences([confidence])
        self.threshold = _core.next_threshold(self.threshold, n_right, n_drafted, confidence)


def next_branch(confidences: Sequence[float], n_tokens: Sequence[int]) -> int:
    """Which branch a draft model should continue: the one furthest behind its fair share of tokens.

    Args:
        confidences: product of the token confidences of each branch.
        n_tokens: tokens each branch has.

    Raises:
        ArrayError: no branches, or not one number of tokens, an integer of at least 0, for each.
        DraftError: a confidence is not from 0 to 1.
    """
    if len(confidences) != len(n_tokens) or not len(confidences):
        raise ArrayError(f"expected one count for each branch, found {len(n_tokens)} for {len(confidences)}")
    counts = np.asarray(n_tokens)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ArrayError(f"expected counts of at least 0, found {counts.tolist()}", argument="n_tokens")
    found = _core.next_branch(_checked_confidences(confidences), counts.tolist())
    assert found is not None
    return found


def _checked_confidences(confidences: Sequence[float]) -> list[float]:
    values = [float(value) for value in confidences]
    if strangers := [value for value in values if not 0 <= value <= 1]:
        raise DraftError(f"expected confidences from 0 to 1, found {strangers[0]}")
    return values

"""How much of the drafted trees of a batch is read: every width is tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

FADE = 0.98
TRUST = 1.0

Tree = Sequence[tuple[int, float]]
"""Nodes as ``(parent, probability behind it)``, -1 for a child of the text's end."""


def path_probs(tree: Tree) -> list[float]:
    """The product of the probabilities on the way to each node."""
    found: list[float] = []
    for parent, prob in tree:
        found.append(prob * (found[parent] if parent >= 0 else 1.0))
    return found


def width_that_pays(trees: Sequence[Tree], seconds: Callable[[int], float], scale: float, margin: float) -> int:
    """The width, most nodes of each tree, at which the batch gets most tokens a second; 0 if that gains too little.

    Args:
        trees: one a row of the batch.
        seconds: what a pass over so many tokens takes.
        scale: accepted tokens for each expected one, so far.
        margin: a gain below this factor does not count.
    """

    def rate(width: int) -> float:
        best = [sum(sorted(path_probs(tree), reverse=True)[:width]) for tree in trees]
        return (len(trees) + scale * sum(best)) / seconds(len(trees) * (width + 1))

    widths = range(max(map(len, trees), default=0) + 1)
    best = max(widths, key=rate)
    return best if rate(best) >= margin * rate(0) else 0


def scale_after(steps: Sequence[tuple[float, int]]) -> float:
    """Accepted tokens for each expected one after steps of ``(expected, accepted)``; older steps fade."""
    expected = accepted = 0.0
    for promised, came in steps:
        expected, accepted = FADE * expected + promised, FADE * accepted + came
    return (accepted + TRUST) / (expected + TRUST)

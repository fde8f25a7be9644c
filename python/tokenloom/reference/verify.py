"""Verifying a tree of drafted tokens: draw where you stand, step down while the draw is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenloom.reference import rng


def walk_with(tokens: Sequence[int], parents: Sequence[int], draw: Callable[[int, int], int]) -> tuple[list[int], int]:
    """Accepted nodes and the token behind them.

    Args:
        tokens: the token of each node.
        parents: the parent of each node, -1 for the root.
        draw: ``draw(row, depth)``: the target's token in row 0 (the root) or row ``j + 1`` (node ``j``).
    """
    path: list[int] = []
    while True:
        node = path[-1] if path else -1
        token = draw(node + 1, len(path))
        children = [j for j, parent in enumerate(parents) if parent == node and tokens[j] == token]
        if not children:
            return path, token
        path.append(children[0])


def greedy(logits: Sequence[Sequence[float]], tokens: Sequence[int], parents: Sequence[int]) -> tuple[list[int], int]:
    """:func:`walk_with` that says the best token, ties to the smallest id."""
    return walk_with(tokens, parents, lambda row, _: max(range(len(logits[row])), key=lambda t: (logits[row][t], -t)))


def walk(
    probs: Sequence[Sequence[float]], tokens: Sequence[int], parents: Sequence[int], seed: int, position: int
) -> tuple[list[int], int]:
    """:func:`walk_with` that draws by the exponential race at the absolute position of each depth."""

    def draw(row: int, depth: int) -> int:
        def arrival(token: int) -> float:
            return rng.exponential(seed, position + depth, token) / probs[row][token]

        return min((token for token, p in enumerate(probs[row]) if p > 0), key=arrival)

    return walk_with(tokens, parents, draw)

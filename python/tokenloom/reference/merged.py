"""One tree from several drafters, with probabilities that are corrected by what came.

Each source says what it knows behind a path as levels; the levels of all are blended, and the promise of each
path is corrected by the counters of its kind: (source, length of the longest context that knows it, depth).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tokenloom.reference import draft, recycling

N_LENGTHS, N_DEPTHS = 17, 4
PRIOR = 10.0
MEMORY = 4000.0
CERTAIN = 0.999
TOLD_TRUST, TOLD_TOKENS = 0.5, 4

Path = tuple[int, ...]
Cell = tuple[int, int, int]


class Level(NamedTuple):
    """A context of ``n_tokens`` that a source knows: the part it takes of what is left, and how it divides it."""

    n_tokens: int
    source: int
    share: float
    parts: Mapping[int, float]


def counted(levels: Iterable[draft.Level], source: int) -> list[Level]:
    """Levels that were counted in a text, as parts of one."""
    found = []
    for n_tokens, kind, followers, latest in levels:
        k = min(n_tokens, 64) - 1
        escape = sum(part * decay**k for part, decay in zip(draft.ESCAPE, draft.ESCAPE_DECAY, strict=True))
        escape *= 1.0 + draft.HISTORY_ESCAPE * draft.HISTORY_DECAY**k * (kind > 0)
        n = len(followers) + draft.RECENCY
        parts = {token: (c + draft.RECENCY * (token == latest)) / n for token, c in Counter(followers).items()}
        found.append(Level(n_tokens, source, n / (n + escape), parts))
    return found


def recycled(adjacency: recycling.Adjacency, context: Sequence[int], source: int) -> list[Level]:
    """What the model found likely, as levels."""
    return [Level(n, source, trust, dict(row)) for n, trust, row in recycling.recycled(adjacency, context)]


def told(tree: Mapping[Path, float], path: Path, source: int) -> list[Level]:
    """What another drafter's tree (each node's probability behind its parent) says behind a path of it."""
    parts = {node[-1]: prob for node, prob in tree.items() if node[:-1] == path}
    return [Level(TOLD_TOKENS, source, TOLD_TRUST, parts)] if parts else []


def blend(levels: Iterable[Level], least: float) -> dict[int, tuple[float, Level]]:
    """The probability of each token, and the longest context that knows it; of equal ones the earlier source's."""
    probs: dict[int, tuple[float, Level]] = {}
    left = 1.0
    for level in sorted(levels, key=lambda level: (-level.n_tokens, level.source)):
        if left < max(draft.NEGLIGIBLE, least):
            break
        share = left * level.share
        left -= share
        for token, part in level.parts.items():
            if token != draft.END:
                prob, longest = probs.get(token, (0.0, level))
                probs[token] = prob + share * part, longest
    return probs


class Calibration:
    """What was promised and what came, by kind."""

    def __init__(self) -> None:
        self.promised: defaultdict[Cell, float] = defaultdict(float)
        self.came: defaultdict[Cell, float] = defaultdict(float)

    def correct(self, cell: Cell, prob: float) -> float:
        """The promise of a path, times how often promises of its kind were kept; the first are taken on trust."""
        return prob * (self.came[cell] + PRIOR) / (self.promised[cell] + PRIOR)

    def learn(self, tree: Mapping[Path, Node], tokens: Sequence[int]) -> None:
        """Every node is judged, but for those of which the tokens do not say: they end right before."""
        for path, node in tree.items():
            n = min(len(path) - 1, len(tokens))
            if len(path) <= len(tokens) or path[:n] != tuple(tokens[:n]):
                self.promised[node.cell] += node.claim
                self.came[node.cell] += path == tuple(tokens[: len(path)])

    def fade(self) -> None:
        """Of kinds that promised much, half is forgotten; the counters of a drafter do so when a stream ends."""
        for cell, promised in list(self.promised.items()):
            if promised > MEMORY:
                self.promised[cell] /= 2
                self.came[cell] /= 2


class Node(NamedTuple):
    """A drafted node: its path's probability, the same before the correction, and its kind."""

    path_prob: float
    claim: float
    cell: Cell


def merged_tree(
    levels_behind: Callable[[Path], Iterable[Level]], calibration: Calibration, min_prob: float, budget: int
) -> dict[Path, Node]:
    """The best nodes by what all sources say, best first.

    Args:
        levels_behind: the levels of all sources behind the text and a path.
        calibration: corrects the promises.
        min_prob: least probability of a path.
        budget: most nodes.
    """
    tree: dict[Path, Node] = {}
    heap: list[tuple[float, Path, Node]] = []

    def expand(path: Path, above: float, claim_above: float) -> None:
        for token, (prob, level) in blend(levels_behind(path), min_prob / max(above, claim_above)).items():
            cell = (level.source, min(level.n_tokens, N_LENGTHS - 1), min(len(path), N_DEPTHS - 1))
            claim = claim_above * prob
            path_prob = min(calibration.correct(cell, claim), CERTAIN * above)
            if path_prob >= min_prob:
                heapq.heappush(heap, (-path_prob, (*path, token), Node(path_prob, claim, cell)))

    expand((), 1.0, 1.0)
    while heap and len(tree) < budget:
        _, path, node = heapq.heappop(heap)
        tree[path] = node
        expand(path, node.path_prob, node.claim)
    return tree

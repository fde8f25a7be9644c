"""One tree from several drafters, with probabilities that are corrected by what came.

Each source says what it knows behind a path as levels. The levels of all are blended, each trusted as far as its kind
(source, length of the context, how it was continued) was right, and the promise of each path is corrected by the
counters of its kind: (source, length of the longest context that knows it, depth).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tokenloom.reference import draft, recycling

N_LENGTHS, N_DEPTHS = 17, 4
PRIOR, SHARE_PRIOR, TOLD_PRIOR = 300.0, 5.0, 1.0
MEMORY, CONTEXT_MEMORY = 4000.0, 20.0
UNNAMED = 1e-4
CERTAIN = 0.999
TOLD_TRUST, TOLD_TOKENS = 0.5, 4

Path = tuple[int, ...]
Cell = tuple[int, int, int]


class Level(NamedTuple):
    """A context of ``n_tokens`` that a source knows: the part it takes of what is left, and how it divides it.

    ``continued``: 0 if ``parts`` came with probabilities, 1 if the context occurred once, else 1 more than the tokens
    that followed, at most 4: contexts that differ in that are not trusted alike.
    """

    n_tokens: int
    source: int
    share: float
    parts: Mapping[int, float]
    continued: int = 0

    @property
    def kind(self) -> tuple[int, int, int]:
        """Levels of a kind are trusted alike."""
        return self.source, min(self.n_tokens, N_LENGTHS - 1), self.continued


def counted(levels: Iterable[draft.Level], source: int) -> list[Level]:
    """Levels that were counted in a text, as parts of one."""
    found = []
    for n_tokens, kind, followers, latest in levels:
        k = min(n_tokens, 64) - 1
        escape = sum(part * decay**k for part, decay in zip(draft.ESCAPE, draft.ESCAPE_DECAY, strict=True))
        escape *= 1.0 + draft.HISTORY_ESCAPE * draft.HISTORY_DECAY**k * (kind > 0)
        n = len(followers) + draft.RECENCY
        parts = {token: (c + draft.RECENCY * (token == latest)) / n for token, c in Counter(followers).items()}
        continued = 1 if len(followers) < 2 else min(len(parts), 3) + 1
        found.append(Level(n_tokens, source, n / (n + escape), parts, continued))
    return found


def recycled(adjacency: recycling.Adjacency, context: Sequence[int], source: int) -> list[Level]:
    """What the model found likely, as levels."""
    return [Level(n, source, trust, dict(row)) for n, trust, row in recycling.recycled(adjacency, context)]


def told(tree: Mapping[Path, float], path: Path, source: int) -> list[Level]:
    """What another drafter's tree (each node's probability behind its parent) says behind a path of it."""
    parts = {node[-1]: prob for node, prob in tree.items() if node[:-1] == path}
    return [Level(TOLD_TOKENS, source, TOLD_TRUST, parts)] if parts else []


def longest_first(levels: Iterable[Level]) -> list[Level]:
    """The order in which levels are asked; of equal contexts the earlier source's first."""
    return sorted(levels, key=lambda level: (-level.n_tokens, level.source))


def blend(levels: Iterable[Level], least: float, calibration: Calibration) -> dict[int, tuple[float, Level]]:
    """The probability of each token, and the longest context that knows it."""
    probs: dict[int, tuple[float, Level]] = {}
    left = 1.0
    for level in longest_first(levels):
        if left < max(draft.NEGLIGIBLE, least):
            break
        share = left * calibration.trusted(level)
        left -= share
        for token, part in level.parts.items():
            if token != draft.END:
                prob, longest = probs.get(token, (0.0, level))
                probs[token] = prob + share * part, longest
    return probs


class Calibration:
    """What was promised and what came, by kind: of paths, and of what levels take and leave."""

    def __init__(self) -> None:
        self.promised: defaultdict[Cell, float] = defaultdict(float)
        self.came: defaultdict[Cell, float] = defaultdict(float)
        self.takes: defaultdict[Cell, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.leaves: defaultdict[Cell, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def trusted(self, level: Level) -> float:
        """The share of a level, its odds multiplied by how much levels of its kind had of what came."""
        (took, promised), (left, unpromised) = self.takes[level.kind], self.leaves[level.kind]
        prior = SHARE_PRIOR if level.continued else TOLD_PRIOR
        odds = (took + prior) / (promised + prior) / ((left + prior) / (unpromised + prior))
        return level.share * odds / (level.share * odds + 1.0 - level.share)

    def learn_shares(self, levels: Iterable[Level], token: int) -> None:
        """``token`` came: each level hears how much of its probability was its own (expectation of a mixture)."""
        asked = longest_first(levels)
        own, left = [], 1.0
        for level in asked:
            share = self.trusted(level)
            own.append(left * share * level.parts.get(token, 0.0))
            left *= 1.0 - share
        total = sum(own) + left * UNNAMED
        reached = 1.0
        for level, prob in zip(asked, own, strict=True):
            for part, found, share in (
                (self.takes[level.kind], prob / total, level.share),
                (self.leaves[level.kind], max(reached - prob / total, 0.0), 1.0 - level.share),
            ):
                part[0] += found
                part[1] += reached * share
            reached = max(reached - prob / total, 0.0)

    def correct(self, cell: Cell, prob: float) -> float:
        """The promise of a path, times how often promises of its kind were kept; the first are taken on trust."""
        return prob * (self.came[cell] + PRIOR) / (self.promised[cell] + PRIOR)

    def learn(
        self,
        tree: Mapping[Path, Node],
        tokens: Sequence[int],
        levels_behind: Callable[[Path], Iterable[Level]],
    ) -> None:
        """Every node is judged, but for those of which the tokens do not say: they end right before.

        So are the levels behind the text and behind every accepted node.
        """
        for path, node in tree.items():
            n = min(len(path) - 1, len(tokens))
            if len(path) <= len(tokens) or path[:n] != tuple(tokens[:n]):
                self.promised[node.cell] += node.claim
                self.came[node.cell] += path == tuple(tokens[: len(path)])
        for n in range(len(tokens)):
            self.learn_shares(levels_behind(tuple(tokens[:n])), tokens[n])
            if tuple(tokens[: n + 1]) not in tree:
                break

    def fade(self) -> None:
        """Only so many promises are remembered; the counters of a drafter do so when a stream ends."""
        for cell, promised in list(self.promised.items()):
            kept = MEMORY / max(promised, MEMORY)
            self.promised[cell], self.came[cell] = promised * kept, self.came[cell] * kept
        for kind, takes in self.takes.items():
            leaves = self.leaves[kind]
            kept = CONTEXT_MEMORY / max(takes[1] + leaves[1], CONTEXT_MEMORY)
            takes[:], leaves[:] = [x * kept for x in takes], [x * kept for x in leaves]


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
        for token, (prob, level) in blend(levels_behind(path), min_prob / max(above, claim_above), calibration).items():
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

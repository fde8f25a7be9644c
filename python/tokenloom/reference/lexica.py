"""How does a batch, a pair of tokenizers or a reader come by its own vocabulary? The rules, without any data structure.

Sources: Feher, Vulić, Minixhofer, *Retrofitting Large Language Models with Dynamic Tokenization* (2024).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["dynamic", "merge", "union"]


def dynamic(
    batch: Sequence[Sequence[bytes]], n_merges: int, may_join: Callable[[bytes, bytes], bool]
) -> list[list[bytes]]:
    """Joins the most frequent pair of neighbours of a batch, ``n_merges`` times or until there is none.

    Every step counts all pairs anew; ``max`` keeps the first of equals, and pairs are met in the order of the batch.
    """
    sequences = [list(sequence) for sequence in batch]
    for _ in range(n_merges):
        pairs = itertools.chain.from_iterable(map(itertools.pairwise, sequences))
        counts = Counter(pair for pair in pairs if may_join(*pair))
        if not counts:
            break
        best = max(counts, key=lambda pair: counts[pair])
        sequences = [_joined(sequence, best) for sequence in sequences]
    return sequences


def _joined(sequence: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    out: list[bytes] = []
    i = 0
    while i < len(sequence):
        if tuple(sequence[i : i + 2]) == pair:
            out.append(sequence[i] + sequence[i + 1])
            i += 2
        else:
            out.append(sequence[i])
            i += 1
    return out


Pair = tuple[bytes, bytes]


def merge(parts: Iterable[bytes], ranks: Mapping[Pair, int]) -> list[bytes]:
    """Byte pair encoding: the pair of the lowest rank, the leftmost of several, again and again."""
    parts = list(parts)
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]
        if not pairs:
            return parts
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def union(first: Mapping[Pair, int], second: Mapping[Pair, int]) -> tuple[dict[Pair, int], list[bytes], list[bytes]]:
    """The merges of two byte-level tokenizers in one, the tokens that the first lacks, and the bridges to them."""
    ranks, known = dict(first), {left + right for left, right in first}
    theirs = dict.fromkeys(left + right for left, right in sorted(second, key=lambda pair: second[pair]))
    new = [token for token in theirs if token not in known]
    bridges: list[bytes] = []
    for token in new:
        place = 0
        while len(parts := merge((bytes([byte]) for byte in token), ranks)) > 1:
            # The next pair behind the last one that was joined; from the start where none is left.
            starts = list(itertools.accumulate(map(len, parts), initial=0))
            i = next((i for i, start in enumerate(starts[:-2]) if start >= place), 0)
            ranks[parts[i], parts[i + 1]] = len(ranks)
            joined = parts[i] + parts[i + 1]
            place = starts[i] + len(joined)
            if joined not in known and joined not in theirs and joined not in bridges:
                bridges.append(joined)
    return ranks, new, bridges

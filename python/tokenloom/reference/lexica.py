"""How does a batch, a pair of tokenizers or a reader come by its own vocabulary? The rules, without any data structure.

Sources: Feher, Vulić, Minixhofer, *Retrofitting Large Language Models with Dynamic Tokenization* (2024).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

__all__ = ["dynamic"]


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

"""The exactness tools by their definitions, on vocabularies small enough to write down.

``tokens`` maps ids to bytes. Everything here enumerates; nothing is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["align", "best", "fewest", "segmentations", "settled"]


def segmentations(tokens: Mapping[int, bytes], data: bytes) -> Iterator[list[int]]:
    """Every sequence of ids whose bytes joined are ``data``.

    >>> list(segmentations({1: b"a", 2: b"b", 3: b"ab"}, b"ab"))
    [[1, 2], [3]]
    """
    if not data:
        yield []
    for id, token in tokens.items():
        if token and data.startswith(token):
            for rest in segmentations(tokens, data[len(token) :]):
                yield [id, *rest]


def fewest(tokens: Mapping[int, bytes], data: bytes) -> list[int]:
    """The segmentation of the fewest tokens, longest tokens first.

    >>> fewest({1: b"a", 2: b"aa", 3: b"aaa"}, b"aaaa")
    [3, 1]
    """
    return min(segmentations(tokens, data), key=lambda ids: (len(ids), [-len(tokens[id]) for id in ids]))


def best(tokens: Mapping[int, bytes], data: bytes, scores: Mapping[int, float], k: int) -> list[float]:
    """The ``k`` largest sums of scores.

    >>> best({1: b"a", 2: b"aa"}, b"aa", {1: -1.0, 2: -1.5}, 2)
    [-1.5, -2.0]
    """
    return sorted((sum(scores[id] for id in ids) for ids in segmentations(tokens, data)), reverse=True)[:k]


def settled(encode: Callable[[bytes], Sequence[int]], data: bytes, endings: Iterable[bytes]) -> int:
    """How many of the first tokens of ``data`` stay when each of ``endings`` is appended."""
    ids = list(encode(data))
    n_settled = len(ids)
    for ending in endings:
        longer = list(encode(data + ending))
        same = (at for at in range(n_settled) if at >= len(longer) or longer[at] != ids[at])
        n_settled = next(same, n_settled)
    return n_settled


def align(a: Sequence[bytes], b: Sequence[bytes]) -> list[tuple[int, int, int, int]]:
    """The finest grouping of two ways to cut one text, as ``(i0, i1, j0, j1)``; no token is empty.

    >>> align([b"ab", b"c", b"d"], [b"a", b"bc", b"d"])
    [(0, 2, 0, 2), (2, 3, 2, 3)]
    """
    ends_a = [sum(map(len, a[: at + 1])) for at in range(len(a))]
    ends_b = [sum(map(len, b[: at + 1])) for at in range(len(b))]
    spans = []
    i = j = 0
    for end in sorted(set(ends_a) & set(ends_b)):
        i1, j1 = ends_a.index(end) + 1, ends_b.index(end) + 1
        spans.append((i, i1, j, j1))
        i, j = i1, j1
    return spans

"""Which tokens will the model probably say?

A drafter proposes tokens behind the committed text; :mod:`tokenloom.verify` keeps those that the model says anyway. All
drafters are used alike: ``begin`` opens a stream, ``propose`` drafts, ``commit`` says what came, ``end`` closes.

>>> import tokenloom as tl
>>> drafter = tl.draft.Suffix()
>>> stream = drafter.begin([5, 6, 7, 8, 9, 5, 6, 7])
>>> stream.propose(budget=3).tokens.tolist()
[8, 9, 5]
>>> stream.commit([8, 1])
>>> stream.end()
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom._streams import Drafter, NativeDrafter, Stream, TreeBatch

__all__ = ["DraftTree", "Drafter", "Stream", "Suffix", "TreeBatch"]

_DEFAULT_MAX_BYTES = 256 * 2**20


class Suffix(NativeDrafter):
    """Drafts what followed earlier occurrences of the latest tokens.

    Every stream is indexed as it grows, its prompt included; a stream that has ended goes into a history that all
    streams of the drafter share. A proposal blends what followed every matching suffix in both, and goes on while the
    chain is probable enough. Committing a token takes constant time on average and a proposal time in proportion to
    its tokens, however long the streams are.

    SuffixDecoding (Oliaro et al., 2024) drafts from the same counts; the blend is prediction by partial matching
    (Cleary and Witten, 1984, section 2).

    Args:
        max_depth: longest match, in tokens, from 1 to 65536.
        max_bytes: memory of the history of ended streams; 256 MiB where None, 0 for no history. Open streams come on
            top, with about 70 bytes a token.
        min_prob: a token is drafted when the probability that the whole chain up to it is right is at least this. The
            default suits hardware on which a few more rows cost nothing; take 0.1 to 0.3 where every row costs.

    Raises:
        DraftError: an argument is out of range.
    """

    __slots__ = ("max_bytes", "max_depth", "min_prob")

    max_depth: int
    """Longest match, in tokens."""

    max_bytes: int
    """Budget of the history, in bytes; ``n_bytes`` is never above it."""

    min_prob: float
    """Least probability of a drafted chain."""

    def __init__(self, max_depth: int = 64, max_bytes: int | None = None, min_prob: float = 0.023) -> None:
        self.max_depth, self.min_prob = max_depth, min_prob
        self.max_bytes = _DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        super().__init__(_core.Drafter.suffix(self.max_depth, self.max_bytes, self.min_prob))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.max_depth, self.max_bytes, self.min_prob, self._drafter.documents()))

    def __repr__(self) -> str:
        return f"Suffix(max_depth={self.max_depth}, max_bytes={self.max_bytes}, min_prob={self.min_prob})"


def _restore(max_depth: int, max_bytes: int, min_prob: float, documents: list[NDArray[np.uint32]]) -> Suffix:
    drafter = Suffix(max_depth, max_bytes, min_prob)
    for document in documents:
        drafter.begin(document).end()
    return drafter

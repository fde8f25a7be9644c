"""Which tokens will the model probably say?

A drafter proposes tokens behind the committed text; :mod:`tokenloom.verify` keeps those that the model says anyway.

>>> import tokenloom as tl
>>> drafter = tl.draft.Suffix()
>>> stream = drafter.begin([5, 6, 7, 8, 9, 5, 6, 7])
>>> stream.propose(budget=3).tokens.tolist()
[8, 9, 5]
>>> stream.commit([8, 1])
>>> stream.end()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree

__all__ = ["DraftTree", "Stream", "Suffix"]

_DEFAULT_MAX_BYTES = 256 * 2**20


class Suffix:
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

    __slots__ = ("_drafter",)

    def __init__(self, max_depth: int = 64, max_bytes: int | None = None, min_prob: float = 0.023) -> None:
        self._drafter = _core.Suffix(max_depth, _DEFAULT_MAX_BYTES if max_bytes is None else max_bytes, min_prob)

    @property
    def max_depth(self) -> int:
        """Longest match, in tokens."""
        return self._drafter.max_depth

    @property
    def max_bytes(self) -> int:
        """Budget of the history, in bytes."""
        return self._drafter.max_bytes

    @property
    def min_prob(self) -> float:
        """Least probability of a drafted chain."""
        return self._drafter.min_prob

    @property
    def n_bytes(self) -> int:
        """Memory held by the history, never above ``max_bytes``."""
        return self._drafter.n_bytes

    @property
    def n_tokens(self) -> int:
        """Tokens in the history, one mark for the end of each stream included."""
        return self._drafter.n_tokens

    def begin(self, prompt_ids: ArrayLike | Sequence[int]) -> Stream:
        """Open a stream with its prompt.

        Args:
            prompt_ids: token ids, integer[n] or a sequence of ints, possibly empty.

        Raises:
            ArrayError: not a one-dimensional integer array or sequence.
            DraftError: an id is negative or above 2**31 - 1.
        """
        return Stream(self._drafter.begin(prompt_ids))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.max_depth, self.max_bytes, self.min_prob, self._drafter.documents()))

    def __repr__(self) -> str:
        return f"Suffix(max_depth={self.max_depth}, max_bytes={self.max_bytes}, min_prob={self.min_prob})"


class Stream:
    """One text that grows; made by :meth:`Suffix.begin`. Use it as a context manager to have it ended.

    Calls from several threads take turns. A stream cannot be pickled: pickle the drafter.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: _core.Stream) -> None:
        self._stream = stream

    @property
    def n_tokens(self) -> int:
        """Tokens of the text, prompt included; 0 once the stream has ended."""
        return self._stream.n_tokens

    @property
    def n_bytes(self) -> int:
        """Memory held by the index of the stream; 0 once it has ended."""
        return self._stream.n_bytes

    def propose(self, budget: int = 64) -> DraftTree:
        """Draft at most ``budget`` tokens behind the text: a chain, empty where nothing is probable enough.

        Raises:
            DraftError: the stream has ended, or the budget is negative.
        """
        return self._stream.propose(budget)

    def commit(self, ids: ArrayLike | Sequence[int]) -> None:
        """Append tokens that are now part of the text, drafted or not. All of them are taken, or none.

        Args:
            ids: token ids, integer[n] or a sequence of ints.

        Raises:
            ArrayError: not a one-dimensional integer array or sequence.
            DraftError: the stream has ended, or an id is negative or above 2**31 - 1.
        """
        self._stream.commit(ids)

    def end(self) -> None:
        """Close the stream, free its index and put its text into the drafter's history. A second call does nothing."""
        self._stream.end()

    def occurrence(self) -> tuple[int, int, int] | None:
        """What the stream's own text says about its latest tokens, or None where the last token is new.

        Returns:
            ``(n_tokens, n_continued, latest)``: the length of the longest suffix that occurred before (at most
            ``max_depth``), how often it was followed by a token, and the index of the token that followed it last.

        Raises:
            DraftError: the stream has ended.
        """
        return self._stream.occurrence()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _restore(max_depth: int, max_bytes: int, min_prob: float, documents: list[NDArray[np.uint32]]) -> Suffix:
    drafter = Suffix(max_depth, max_bytes, min_prob)
    for document in documents:
        drafter.begin(document).end()
    return drafter

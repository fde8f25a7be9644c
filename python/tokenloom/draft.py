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

import os
from typing import Any, Self

from tokenloom._core import draft as _core
from tokenloom._core.draft import DraftTree
from tokenloom._streams import Drafter, NativeDrafter, Stream, TreeBatch

__all__ = ["DraftTree", "Drafter", "Stream", "Suffix", "TreeBatch"]

_DEFAULT_MAX_BYTES = 256 * 2**20


class Suffix(NativeDrafter):
    """Drafts what followed earlier occurrences of the latest tokens.

    Every stream is indexed as it grows, its prompt included; a stream that has ended goes into a history that all
    streams of the drafter share. A proposal blends what followed every matching suffix in both, and takes the most
    probable nodes, wherever they branch. Committing a token takes constant time on average and a proposal time in
    proportion to its tokens, however long the streams are.

    SuffixDecoding (Oliaro et al., 2024) drafts from the same counts; the blend is prediction by partial matching
    (Cleary and Witten, 1984, section 2).

    Args:
        max_depth: longest match, in tokens, from 1 to 65536.
        max_bytes: memory of the history of ended streams, 8 bytes a token; 256 MiB where None, 0 for no history. Open
            streams come on top, with about 70 bytes a token.
        min_prob: a token is drafted when the probability that it and all before it are right is at least this. The
            default suits hardware on which a few more rows cost little; take 0.1 to 0.3 where every row costs.
        share_prompts: whether the history takes the prompts of ended streams too, or only what was committed.

    Raises:
        DraftError: an argument is out of range.
    """

    __slots__ = ("max_bytes", "max_depth", "min_prob", "share_prompts")

    max_depth: int
    """Longest match, in tokens."""

    max_bytes: int
    """Budget of the history, in bytes; ``n_bytes`` is never above it."""

    min_prob: float
    """Least probability of a drafted node."""

    share_prompts: bool
    """Does the history take prompts?"""

    def __init__(
        self,
        max_depth: int = 64,
        max_bytes: int | None = None,
        min_prob: float = 0.05,
        *,
        share_prompts: bool = True,
    ) -> None:
        self.max_depth, self.min_prob, self.share_prompts = max_depth, min_prob, share_prompts
        self.max_bytes = _DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
        super().__init__(_core.Drafter.suffix(max_depth, self.max_bytes, min_prob, share_prompts))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history to a file, 8 bytes a token, that appears whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        self._drafter.save(path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        max_depth: int = 64,
        max_bytes: int | None = None,
        min_prob: float = 0.05,
        *,
        share_prompts: bool = True,
        mapped: bool = False,
    ) -> Self:
        """A drafter that begins with the history in a file.

        Args:
            path: a file that :meth:`save` wrote.
            max_depth: as in the constructor; the file serves any.
            max_bytes: as in the constructor; the newest segments of the file that fit are kept.
            min_prob: as in the constructor.
            share_prompts: as in the constructor.
            mapped: use the file where it lies: processes share its pages, it counts nothing towards ``max_bytes`` and
                is never evicted. It must not be changed meanwhile (``save`` replaces a file, which is fine).

        Raises:
            OSError: the file cannot be read.
            FormatError: the file is no history, of another version or byte order, or damaged.
        """
        drafter = cls(max_depth, max_bytes, min_prob, share_prompts=share_prompts)
        drafter._drafter.load(path, mapped)
        return drafter

    def __reduce__(self) -> tuple[Any, ...]:
        options = (self.max_depth, self.max_bytes, self.min_prob, self.share_prompts)
        return (_restore, (type(self), *options, self._drafter.to_bytes()))

    def __repr__(self) -> str:
        return f"Suffix(max_depth={self.max_depth}, max_bytes={self.max_bytes}, min_prob={self.min_prob})"


def _restore(
    cls: type[Suffix], max_depth: int, max_bytes: int, min_prob: float, share_prompts: bool, history: bytes
) -> Suffix:
    drafter = cls(max_depth, max_bytes, min_prob, share_prompts=share_prompts)
    drafter._drafter.add_bytes(history)
    return drafter

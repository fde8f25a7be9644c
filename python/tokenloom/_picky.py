"""What is left of a training that takes merges back?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import lexica as _core
from tokenloom.tokenizer import Ids, Ragged, Text, Tokenizer

__all__ = ["Picky"]


@dataclass(frozen=True, eq=False)
class Picky:
    """The tokens of :func:`tokenloom.lexica.picky`, and how they came to be.

    Attributes:
        tokenizer: Byte pair encoding by all merges, removed tokens included, whose ids follow ``n_kept``. Saved, it
            is a stock ``tokenizer.json``.
        n_kept: Ids below it are the vocabulary.
        events: What happened, in order: ``[0, left, right, result]`` is a merge, ``[1, token, part, ...]`` a split.
        splits: By removed token, the tokens that stand for it in the end.
    """

    tokenizer: Tokenizer
    n_kept: int
    events: Ragged
    splits: Ragged

    @cached_property
    def _replay(self) -> _core.Events:
        return _core.Events(self.tokenizer._core, self.n_kept, self.events.values, self.events.offsets)

    def encode(self, text: Text) -> NDArray[np.uint32]:
        """The ids of a text, all below ``n_kept``: the events applied in the order in which they happened.

        Raises:
            PatternError: The split pattern gives up on the text.
        """
        return self._replay.encode(self.tokenizer._core, text)

    def split(self, ids: Ids) -> NDArray[np.uint32]:
        """Ids of ``tokenizer`` with every removed token replaced by what stands for it.

        Nearly what :meth:`encode` gives, from ids that any library made of the saved file: the parts of a removed token
        are not merged with what stands beside them.
        """
        given = np.asarray(ids, dtype=np.int64)
        lengths = np.ones(len(given), dtype=np.int64)
        removed = given >= self.n_kept
        at = given[removed] - self.n_kept
        lengths[removed] = np.diff(self.splits.offsets)[at]
        out = np.repeat(given, lengths).astype(np.uint32)
        starts = np.cumsum(lengths) - lengths
        for start, row in zip(starts[removed].tolist(), at.tolist(), strict=True):
            parts = self.splits[row]
            out[start : start + len(parts)] = parts
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return (Picky, (self.tokenizer, self.n_kept, self.events, self.splits))

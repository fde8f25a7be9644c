"""What does a reader remember?"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenloom._core import lexica as _core
from tokenloom._corpus import Block

__all__ = ["Lexicon", "ReaderFields", "documents_of"]


@dataclass(frozen=True)
class ReaderFields:
    """How a reader learns, as ``_core.lexica`` reads it."""

    n_epochs: int
    life: int
    max_chars: int
    memory_in: float
    memory_out: float
    update_rate: float
    max_gap: int


@dataclass(frozen=True)
class Lexicon:
    """Chunks in the order of their worth.

    Attributes:
        chunks: The first one is worth most.
        max_chars: The most characters that are looked at.
    """

    chunks: tuple[str, ...]
    max_chars: int

    @cached_property
    def _core(self) -> _core.Lexicon:
        return _core.Lexicon(list(self.chunks), self.max_chars)

    def segment(self, text: str) -> list[str]:
        """The text cut by the longest chunks that match; a character that none matches stands for itself."""
        data, cuts = text.encode("utf-8", "replace"), self._core.ends(text.encode("utf-8", "replace").decode()).tolist()
        return [data[start:end].decode() for start, end in itertools.pairwise([0, *cuts])]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Lexicon, (self.chunks, self.max_chars))


def documents_of(blocks: Iterable[Block]) -> list[list[str]]:
    """Every document as its lines, without endings and empty ones; of a block of lines, each line."""
    texts: list[str] = []
    for block in blocks:
        units: list[str | bytes] = [block.lines] if block.lines is not None else block.units or []
        for unit in units:
            text = unit.decode(errors="replace") if isinstance(unit, bytes) else unit
            texts += text.split("\n") if block.lines is not None else [text]
    documents = [[line for line in text.split("\n") if line] for text in texts]
    return [document for document in documents if document]

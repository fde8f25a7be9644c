"""What is known of a corpus before it is trained on?

Its distinct words and how often each occurs: little beside the corpus, and sums of parts. So parts are counted where
they lie, each by a process of its own, and added up.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tokenloom._core import train as _core
from tokenloom._training import size_of
from tokenloom.errors import FormatError, TrainError

__all__ = ["Counts"]

_MAGIC = b"tokenloom counts 1\n"


class Counts:
    """How often each word of a corpus occurs, for one cut or, for SuperBPE, two. Made by :func:`tokenloom.train.count`.

    For the boundless mode the second table holds runs of words instead.

    Counts add up (``a + b``, :meth:`merge`), can be saved, loaded and pickled, and stand for a corpus in
    :func:`tokenloom.train.bpe` and :func:`tokenloom.train.superbpe`.

    Example:
        >>> import tokenloom as tl
        >>> parts = [tl.train.count([text], tl.patterns.GPT2, progress=False) for text in ("a b", "b c")]
        >>> dict((parts[0] + parts[1]).items())[b" b"]
        1
    """

    __slots__ = ("_cuts", "_words")

    def __init__(self, cuts: list[list[str]], words: list[_core.WordCounts]) -> None:
        self._cuts = cuts
        self._words = words

    @property
    def cuts(self) -> list[list[str]]:
        """The patterns of each cut, in the order in which they apply."""
        return [list(patterns) for patterns in self._cuts]

    def __len__(self) -> int:
        """Distinct words, of all cuts."""
        return sum(map(len, self._words))

    @property
    def n_bytes(self) -> int:
        """Bytes of the distinct words, of all cuts."""
        return sum(words.n_bytes for words in self._words)

    def items(self, cut: int = 0) -> Iterator[tuple[bytes, int]]:
        """The words of one cut and how often each occurs."""
        return iter(self._words[cut].items())

    def merge(self, other: Counts, weight: int = 1) -> Counts:
        """Add the counts of another part of the corpus, ``weight`` times, to these, which are returned.

        Raises:
            TrainError: The other part was cut in another way.
        """
        if not isinstance(other, Counts) or other._cuts != self._cuts:
            found = other._cuts if isinstance(other, Counts) else type(other).__name__
            raise TrainError(f"expected counts by the patterns {self._cuts}, found {found}")
        times = size_of("weight", weight)
        both = zip(self._words, other._words, strict=True)
        self._words = [_core.WordCounts.merged([(mine, 1), (theirs, times)]) for mine, theirs in both]
        return self

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.cuts, list(self._words)).merge(other)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file that :meth:`load` reads. It appears whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            with tempfile.TemporaryDirectory(dir=target.parent) as folder, partial.open("wb") as file:
                self._write(file, Path(folder))
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _write(self, file: BinaryIO, folder: Path) -> None:
        parts = [folder / str(cut) for cut in range(len(self._words))]
        for part, words in zip(parts, self._words, strict=True):
            words.save(part)
        header = {"cuts": self._cuts, "sizes": [part.stat().st_size for part in parts]}
        file.write(_MAGIC + json.dumps(header).encode() + b"\n")
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Counts:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: It is no such file, or damaged.
            OSError: It cannot be read.
        """
        with open(path, "rb") as file:
            return cls._read(file)

    @classmethod
    def from_bytes(cls, data: bytes) -> Counts:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            FormatError: It is nothing of that kind, or damaged.
        """
        return cls._read(io.BytesIO(data))

    def to_bytes(self) -> bytes:
        """All of it, to be sent somewhere."""
        parts = [words.to_bytes() for words in self._words]
        header = {"cuts": self._cuts, "sizes": [len(part) for part in parts]}
        return b"".join([_MAGIC, json.dumps(header).encode(), b"\n", *parts])

    @classmethod
    def _read(cls, file: BinaryIO) -> Counts:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise FormatError("expected counts of tokenloom, found other bytes")
        try:
            header = json.loads(file.readline())
            parts = [file.read(size) for size in header["sizes"]]
            return cls(header["cuts"], [_core.WordCounts.from_bytes(part) for part in parts])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise FormatError(f"the counts are damaged: {error}") from error

    def __reduce__(self) -> tuple[object, ...]:
        return (Counts.from_bytes, (self.to_bytes(),))

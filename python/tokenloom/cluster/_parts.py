"""What does a worker do, and what becomes of its results?

A task counts the texts it is given and hands on its counts as bytes, early enough that neither it nor a row of a table
grows without bound. Other tasks add some of them up. The caller adds up what is left, in memory or in a folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenloom._core import train as _core
from tokenloom._corpus import Reader, Units
from tokenloom._counting import Store
from tokenloom._counts import Counts
from tokenloom._training import RUNS, cuts_of
from tokenloom.errors import MissingDependencyError, TrainError

__all__ = ["PART", "Task", "gathered", "merged", "pyarrow"]

PART = "part"
"""The column of counts as bytes."""
_ROWS = 1024
_BYTES_PER_PART = 256 << 20


@dataclass(frozen=True)
class Task:
    """How texts are counted; goes to the workers."""

    cuts: list[list[str]]
    runs: bool
    units: Units

    @classmethod
    def of(
        cls, pattern: str | Sequence[str], stage2_pattern: str | Sequence[str] | None, runs: bool, units: Units
    ) -> Task:
        """The task of the arguments of :func:`tokenloom.train.count`.

        Raises:
            TrainError: They contradict each other.
            PatternError: A pattern does not compile. Better here than on every worker.
        """
        task = cls(cuts_of(pattern, stage2_pattern, runs), runs, units)
        task.counter()
        return task

    def counter(self) -> _core.WordCounter:
        """Counts on the thread of the caller: an engine runs a task for each processor."""
        return _core.WordCounter([*self.cuts], None, self.runs, 1)

    def counts(self, words: list[_core.WordCounts]) -> Counts:
        """What was counted, with the patterns."""
        return Counts(self.cuts + [RUNS] * self.runs, words)

    def count(self, columns: Iterable[Any]) -> Iterator[bytes]:
        """The counts of Arrow columns of texts, as bytes, one part or more."""
        counter = self.counter()
        n_parts = 0
        for block in Reader(self.units).blocks(text for column in columns for text in _texts(column)):
            counter.add(block.units or [], 1)
            if counter.n_bytes > _BYTES_PER_PART:
                yield self.counts(counter.finish()).to_bytes()
                n_parts += 1
        last = counter.finish()
        if any(map(len, last)) or not n_parts:
            yield self.counts(last).to_bytes()


def _texts(column: Any) -> Iterator[str | bytes]:
    for start in range(0, len(column), _ROWS):
        yield from (text for text in column.slice(start, _ROWS).to_pylist() if text is not None)


def merged(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The sum of some parts, as bytes, one part or more."""
    total: Counts | None = None
    for part in parts:
        counts = Counts.from_bytes(part)
        total = counts if total is None else total.merge(counts)
        if total.n_bytes > _BYTES_PER_PART:
            yield total.to_bytes()
            total = None
    if total is not None:
        yield total.to_bytes()


def gathered(task: Task, parts: Iterable[bytes], folder: Any) -> Counts:
    """The sum of all parts: in memory, or in a folder whose files are read when they are needed.

    Raises:
        OSError: The folder cannot be written.
    """
    if folder is None:
        total = task.counts(task.counter().finish())
        for part in parts:
            total.merge(Counts.from_bytes(part))
        return total
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise TrainError(f"folder must be empty, found files in {path}")
    store = Store(path, "", is_checkpoint=False)
    for part in parts:
        store.add(Counts.from_bytes(part)._words, (0, 0), is_counted=False)
    return task.counts(store.words() or task.counter().finish())


def pyarrow() -> Any:
    """The module, which every worker needs.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise MissingDependencyError("counting on a cluster needs pyarrow: pip install tokenloom[data]") from None

"""How is a corpus counted within a limit of memory, and how does a counting that was stopped go on?

Counts stay in memory until they take half of the limit; then they become sorted files that training reads side by
side. A checkpoint is the same files and a line that says how far the corpus was read: it is written every half minute,
and each file appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenloom._core import tokenizer as _compiled
from tokenloom._core import train as _core
from tokenloom._corpus import Corpus, Reader, n_bytes_of_files
from tokenloom._progress import Bar
from tokenloom.errors import TrainError

__all__ = ["Store", "count_words", "opened_store"]

_SECONDS_PER_CHECKPOINT = 30.0
_MAX_RUNS = 64
_STATE = "state.json"
_MERGES = "merges-{}.bin"
_MAX_STAGES = 3


class Store:
    """A folder with the files of one training."""

    def __init__(self, folder: Path | None, fingerprint: str, is_checkpoint: bool) -> None:
        self._folder = folder
        self.is_checkpoint = is_checkpoint
        self._fingerprint = fingerprint
        self._next_checkpoint = time.monotonic() + _SECONDS_PER_CHECKPOINT
        self.state: dict[str, Any] = {"fingerprint": fingerprint, "position": [0, 0], "runs": [], "is_counted": False}
        path = folder / _STATE if folder is not None and is_checkpoint else None
        if path is not None and path.exists():
            try:
                self.state = json.loads(path.read_text())
            except ValueError as error:
                raise TrainError(f"{path} is damaged: {error}") from error
            if self.state.get("fingerprint") != fingerprint:
                raise TrainError(
                    f"{folder} holds the checkpoint of another training\n"
                    f"hint: it was started with {self.state.get('fingerprint')}, now it is {fingerprint}"
                )

    @property
    def folder(self) -> Path:
        """Where the files are; a temporary folder is made when it is first asked for."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tokenloom-train-"))
        return self._folder

    @property
    def is_made(self) -> bool:
        """Whether there is a folder already."""
        return self._folder is not None

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.is_checkpoint and time.monotonic() >= self._next_checkpoint

    def spill(self, counter: _core.WordCounter, position: tuple[int, int], is_counted: bool) -> None:
        """Write all counts as sorted files, and how far they go."""
        self.add(counter.finish(), position, is_counted)

    def add(self, counted: Sequence[_core.WordCounts], position: tuple[int, int], is_counted: bool) -> None:
        """The same for counts that were taken out or came from elsewhere."""
        runs = self.state["runs"]
        number = 1 + max((int(name.split("-")[2]) for names in runs for name in names), default=-1)
        fresh = [names[:] for names in runs] or [[] for _ in counted]
        for cut, (words, names) in enumerate(zip(counted, fresh, strict=True)):
            if len(words):
                name = f"words-{cut}-{number}"
                words.save(self.folder / name)
                names.append(name)
        gone: list[str] = []
        for cut, names in enumerate(fresh):
            if len(names) > _MAX_RUNS:
                name = f"words-{cut}-{number + 1}"
                _core.WordCounts.of_files([self.folder / old for old in names]).save(self.folder / name)
                gone += names
                names[:] = [name]
        self.state |= {"runs": fresh, "position": list(position), "is_counted": is_counted}
        self.write_state()
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)

    def write_state(self) -> None:
        """Say what the folder holds, if another run may ask."""
        if self.is_checkpoint:
            self._write(_STATE, json.dumps(self.state).encode())
        self._next_checkpoint = time.monotonic() + _SECONDS_PER_CHECKPOINT

    def save_merges(self, stage: int, merges: bytes) -> None:
        """Keep the merges that were made in a stage so far."""
        self._write(_MERGES.format(stage), merges)
        self._next_checkpoint = time.monotonic() + _SECONDS_PER_CHECKPOINT

    def merges(self) -> list[tuple[int, bytes]]:
        """The merges that were kept of each stage."""
        if not self.is_checkpoint:
            return []
        paths = ((stage, self.folder / _MERGES.format(stage)) for stage in range(_MAX_STAGES))
        return [(stage, path.read_bytes()) for stage, path in paths if path.exists()]

    def words(self) -> list[_core.WordCounts]:
        """All counts, in files."""
        return [_core.WordCounts.of_files([self.folder / name for name in names]) for names in self.state["runs"]]

    def clear(self) -> None:
        """Remove the files of a training that is done; the folder if nothing else is in it.

        What names others goes before them, so that a run that is killed on the way can be started again.
        """
        merges = [self.folder / _MERGES.format(stage) for stage in range(_MAX_STAGES)]
        for path in [*merges, self.folder / _STATE, *self.folder.glob("words-*")]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _write(self, name: str, data: bytes) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_bytes(data)
        partial.replace(self.folder / name)


@contextmanager
def opened_store(checkpoint: Any, fingerprint: str) -> Iterator[Store]:
    """The folder of a training: the checkpoint's, or a temporary one that is made when it is needed.

    Raises:
        TrainError: The folder holds another training.
        OSError: The folder cannot be made.
    """
    if checkpoint is not None:
        folder = Path(checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(folder, fingerprint, is_checkpoint=True)
        yield store
        store.clear()
        return
    store = Store(None, fingerprint, is_checkpoint=False)
    try:
        yield store
    finally:
        if store.is_made:
            shutil.rmtree(store.folder, ignore_errors=True)


def count_words(
    corpus: Corpus,
    reader: Reader,
    cuts: Sequence[list[str] | None],
    tokenizer: _compiled.Tokenizer | None,
    counts_runs: bool,
    n_threads: int,
    store: Store | None,
    limit: int | None,
    shown: Bar,
) -> list[_core.WordCounts]:
    """The words of ``corpus`` by each of ``cuts``, in memory or in the files of ``store``; then the runs, if asked for.

    Raises:
        TrainError: The corpus is no corpus.
        OSError: A file cannot be read or written.
        PatternError: A pattern gives up on a unit.
    """
    if store is not None and store.state["is_counted"]:
        return store.words()
    counter = _core.WordCounter(list(cuts), tokenizer, counts_runs, n_threads)
    n_items, offset = store.state["position"] if store is not None else (0, 0)
    n_total = n_bytes_of_files(corpus)
    n_read = 0
    for block in reader.blocks(corpus, n_items, offset):
        if block.units is not None:
            counter.add(block.units, block.weight)
        if block.lines:
            counter.add_lines(block.lines, block.weight)
        n_read += block.n_read
        shown.stage("reading", n_read, n_total, unit="B")
        if store is not None and (store.is_due() or (limit is not None and counter.n_bytes > limit // 2)):
            store.spill(counter, (block.n_items, block.offset), is_counted=False)
    if store is None or not (store.is_checkpoint or store.state["runs"]):
        return counter.finish()
    store.spill(counter, (0, 0), is_counted=True)
    return store.words()

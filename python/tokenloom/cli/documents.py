"""Which documents does a command read?

A document is a whole file, all of stdin, or with ``lines`` each line without its ending. Documents go on in batches of
a few megabytes, so that an encoder can use its threads and memory stays bounded by a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["batches", "n_bytes_of", "read_documents"]

_BATCH_BYTES = 8 << 20
_BATCH_DOCUMENTS = 1 << 16


def read_documents(files: Iterable[Path], lines: bool) -> Iterator[bytes]:
    """The documents of ``files``, or of stdin where there are none; ``-`` is stdin, too."""
    for path in list(files) or [Path("-")]:
        if str(path) == "-":
            yield from _split(sys.stdin.buffer, lines)
        else:
            with path.open("rb") as stream:
                yield from _split(stream, lines)


def _split(stream: BinaryIO, lines: bool) -> Iterator[bytes]:
    if lines:
        for line in stream:
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    else:
        yield stream.read()


def batches(documents: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The documents in order, some at a time."""
    batch: list[bytes] = []
    n_bytes = 0
    for document in documents:
        batch.append(document)
        n_bytes += len(document)
        if n_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def n_bytes_of(files: Iterable[Path]) -> int | None:
    """How much there is to read; None where that is not known."""
    paths = list(files)
    if not paths or not all(path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)

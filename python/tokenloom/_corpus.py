"""What is a corpus, and how is it read?

One ``str`` is a path or a glob. A path object or an open file, alone or in an iterable, is a file. Every ``str`` or
``bytes`` item of an iterable is a document. Files are read line by line, documents as they are.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

from tokenloom._core.train import WordCounter
from tokenloom.errors import TrainError

__all__ = ["Corpus", "count_words", "files_of", "n_bytes_of_files"]

Corpus: TypeAlias = "str | os.PathLike[str] | IO[Any] | Iterable[str | bytes | os.PathLike[str] | IO[Any]]"

_BLOCK_BYTES = 4 << 20


def count_words(corpus: Corpus, counter: WordCounter, advance: Callable[[int], object]) -> None:
    """Give every unit of ``corpus`` to ``counter``.

    Args:
        corpus: What to read; see the module.
        counter: Cuts and counts the units.
        advance: Is told how many characters (of ``str``) or bytes were given since the last time.

    Raises:
        TrainError: An item is none of the above, or no file matches.
        OSError: A file cannot be read.
        PatternError: The pattern gives up on a unit.
    """
    documents: list[str | bytes] = []
    size = 0
    for index, item in enumerate(_items(corpus)):
        if isinstance(item, (str, bytes)):
            documents.append(item)
            size += len(item) + 1
            if size >= _BLOCK_BYTES:
                counter.add(documents)
                advance(size)
                documents, size = [], 0
        elif isinstance(item, os.PathLike):
            with open(item, "rb") as file:
                _count_lines(file, counter, advance)
        elif hasattr(item, "read"):
            _count_lines(item, counter, advance)
        else:
            raise TrainError(
                f"corpus item {index} must be a str or bytes document, a path object or an open file, "
                f"found {type(item).__name__}"
            )
    counter.add(documents)
    advance(size)


def files_of(path_or_glob: str) -> list[Path]:
    """The file of a path, or the files that a glob matches, sorted.

    Raises:
        TrainError: There is none.
    """
    exists = os.path.exists(path_or_glob)
    paths = [path_or_glob] if exists else sorted(glob.glob(path_or_glob, recursive=True))
    files = [Path(path) for path in paths if not os.path.isdir(path)]
    if not files:
        raise TrainError(
            f"no file matches {path_or_glob!r}\n"
            "hint: a document goes into a list, the files of a folder are spelled 'folder/**/*.txt'"
        )
    return files


def n_bytes_of_files(corpus: Corpus) -> int | None:
    """The size of a corpus of paths; ``None`` if it holds anything else or can be read only once."""
    if not isinstance(corpus, (str, os.PathLike, list, tuple)):
        return None
    sizes = [os.stat(item).st_size if isinstance(item, os.PathLike) else None for item in _items(corpus)]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _items(corpus: Any) -> Iterator[Any]:
    if isinstance(corpus, str):
        return iter(files_of(corpus))
    if isinstance(corpus, os.PathLike) or hasattr(corpus, "read"):
        return iter((corpus,))
    if isinstance(corpus, (bytes, bytearray, memoryview)) or not isinstance(corpus, Iterable):
        raise TrainError(
            f"corpus must be a path, an open file or an iterable of documents, found {type(corpus).__name__}"
        )
    return iter(corpus)


def _count_lines(file: IO[Any], counter: WordCounter, advance: Callable[[int], object]) -> None:
    tail: list[bytes] = []  # the beginning of a line whose end was not read yet
    while block := file.read(_BLOCK_BYTES):
        data = block.encode("utf-8", "surrogatepass") if isinstance(block, str) else bytes(block)
        advance(len(data))
        cut = data.rfind(b"\n") + 1
        if cut:
            counter.add_lines(b"".join([*tail, data[:cut]]))
            tail = []
        tail.append(data[cut:])
    counter.add_lines(b"".join(tail))

"""What is a corpus, and how is it read?

One ``str`` is a path or a glob. A path object or an open file, alone or in an iterable, is a file. Every ``str`` or
``bytes`` item of an iterable is a document, and so is the text column of every mapping (a row of a data set). Files
are read line by line, documents as they are. ``.gz``, ``.bz2``, ``.xz`` and ``.zst`` files are unpacked as they are
read; the rows of ``.jsonl`` and ``.parquet`` files are documents.

Whatever it is, a corpus becomes blocks of a few megabytes that know where they end, so that a later run can go on
there.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import importlib
import io
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, cast

from tokenloom.errors import MissingDependencyError, TrainError

__all__ = ["Block", "Corpus", "Reader", "Units", "files_of", "n_bytes_of_files"]

Corpus: TypeAlias = (
    "str | os.PathLike[str] | IO[Any] | Iterable[str | bytes | os.PathLike[str] | IO[Any] | Mapping[str, Any]]"
)
Units: TypeAlias = Literal["auto", "lines", "documents"]

_BLOCK_BYTES = 4 << 20
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError)


@dataclass(frozen=True)
class Block:
    """Some units, and how far the corpus was read with them."""

    units: list[str | bytes] | None
    """Documents."""
    lines: bytes | None
    """Lines, each with its ending, one behind the other."""
    weight: int
    n_read: int
    """Bytes or characters that were read since the block before."""
    n_items: int
    """Items of the corpus that are read to their end."""
    offset: int
    """Bytes or rows of the next item that are read."""


@dataclass(frozen=True)
class Reader:
    """How the items of a corpus are read."""

    units: Units = "auto"
    column: str = "text"
    weights: Sequence[int] | None = None

    def blocks(self, corpus: Corpus, n_items: int = 0, offset: int = 0) -> Iterator[Block]:
        """The corpus from a place on that an earlier block told.

        Raises:
            TrainError: An item is none of the above, a packed file is damaged, or no file matches.
            OSError: A file cannot be read.
        """
        documents: list[str | bytes] = []
        size = 0
        for index, item in enumerate(_items(corpus)):
            weight = self._weight(index)
            if index < n_items:
                continue
            if _is_file(item):
                if documents:
                    yield self._documents(documents, self._weight(index - 1), size, index, 0)
                    documents, size = [], 0
                yield from self._file(item, index, weight, offset if index == n_items else 0)
                continue
            document = self._document(item, index)
            changes = self.weights is not None and documents and weight != self._weight(index - 1)
            if changes:
                yield self._documents(documents, self._weight(index - 1), size, index, 0)
                documents, size = [], 0
            documents.append(document)
            size += len(document) + 1
            if size >= _BLOCK_BYTES:
                yield self._documents(documents, weight, size, index + 1, 0)
                documents, size = [], 0
        if documents:
            yield self._documents(documents, weight, size, index + 1, 0)

    def _weight(self, index: int) -> int:
        if self.weights is None:
            return 1
        if index >= len(self.weights):
            raise TrainError(f"expected a weight for every item of the corpus, found {len(self.weights)}")
        return self.weights[index]

    def _document(self, item: object, index: int) -> str | bytes:
        if isinstance(item, Mapping):
            item = item.get(self.column)
        if isinstance(item, (str, bytes)):
            return item
        raise TrainError(
            f"corpus item {index} must be a str or bytes document, a path object, an open file or a mapping with the "
            f"column {self.column!r}, found {type(item).__name__}"
        )

    def _documents(self, texts: list[str | bytes], weight: int, n_read: int, n_items: int, offset: int) -> Block:
        if self.units != "lines":
            return Block(texts, None, weight, n_read, n_items, offset)
        encoded = (text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts)
        # A document ends its last line, with or without an ending: units are split after a line feed only.
        lines = [line for text in encoded for line in io.BytesIO(text)]
        return Block(list(lines), None, weight, n_read, n_items, offset)

    def _file(self, item: Any, index: int, weight: int, offset: int) -> Iterator[Block]:
        with _opened(item) as (file, kind):
            if kind == "parquet":
                yield from self._rows(_parquet_rows(file, self.column), index, weight, offset)
            elif kind == "jsonl":
                yield from self._rows(_json_rows(file, self.column), index, weight, offset)
            elif self.units == "documents":
                text = file.read()
                yield Block([text], None, weight, len(text), index + 1, 0)
            else:
                yield from _lines(file, index, weight, offset)

    def _rows(self, rows: Iterator[str | bytes], index: int, weight: int, offset: int) -> Iterator[Block]:
        documents: list[str | bytes] = []
        size = 0
        at = -1
        for at, row in enumerate(rows):
            if at < offset:
                continue
            documents.append(row)
            size += len(row) + 1
            if size >= _BLOCK_BYTES:
                yield self._documents(documents, weight, size, index, at + 1)
                documents, size = [], 0
        yield self._documents(documents, weight, size, index + 1, 0)


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
    """The size of a corpus of plain paths; ``None`` if it holds anything else or can be read only once."""
    if not isinstance(corpus, (str, os.PathLike, list, tuple)):
        return None
    n_bytes = 0
    for item in _items(corpus):
        if not isinstance(item, os.PathLike) or _kind_of(os.fspath(item)) != ("", "lines"):
            return None
        n_bytes += os.stat(item).st_size
    return n_bytes


def _items(corpus: Any) -> Iterator[Any]:
    if isinstance(corpus, str):
        return iter(files_of(corpus))
    if _is_file(corpus):
        return iter((corpus,))
    if isinstance(corpus, (bytes, bytearray, memoryview, Mapping)) or not isinstance(corpus, Iterable):
        raise TrainError(
            f"corpus must be a path, an open file or an iterable of documents, found {type(corpus).__name__}"
        )
    return iter(corpus)


def _is_file(item: object) -> bool:
    return isinstance(item, os.PathLike) or hasattr(item, "read")


_PACKED: dict[str, Callable[[Any], IO[bytes]]] = {
    ".gz": lambda path: cast("IO[bytes]", gzip.open(path, "rb")),
    ".bz2": lambda path: cast("IO[bytes]", bz2.open(path, "rb")),
    ".xz": lambda path: cast("IO[bytes]", lzma.open(path, "rb")),
    ".zst": lambda path: _open_zst(path),
}


def _kind_of(path: str) -> tuple[str, str]:
    """How a file is packed, and what is in it, by its name."""
    stem, suffix = os.path.splitext(path)
    packed = suffix if suffix in _PACKED else ""
    inner = os.path.splitext(stem)[1] if packed else suffix
    return packed, {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}.get(inner, "lines")


@contextmanager
def _opened(item: Any) -> Iterator[tuple[Any, str]]:
    if not isinstance(item, os.PathLike):
        yield item, "lines"
        return
    packed, kind = _kind_of(os.fspath(item))
    opener = _PACKED.get(packed, lambda path: open(path, "rb"))
    try:
        with opener(item) as file:
            yield file, kind
    except OSError as error:
        # What the system says has a number, what an unpacker says of its input has none.
        if error.errno is not None:
            raise
        raise TrainError(f"{os.fspath(item)} is damaged: {error}") from error
    except _DAMAGE as error:
        raise TrainError(f"{os.fspath(item)} is damaged: {error}") from error


class _Unzstd(io.RawIOBase):
    """The content of a ``.zst`` file, frame by frame; one that is cut off is an error (``zstandard.open`` reads it)."""

    _N_PACKED_BYTES = 4096  # few, since each may stand for tens of kilobytes

    def __init__(self, file: IO[bytes], new_frame: Callable[[], Any], error: type[Exception]) -> None:
        self._file, self._new_frame, self._error = file, new_frame, error
        self._frame: Any = None
        self._packed = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            self._packed = self._packed or self._file.read(self._N_PACKED_BYTES)
            if not self._packed and self._frame is None:
                return 0
            if not self._packed:
                raise EOFError("the file ends inside a frame")
            self._unpack()
        n_bytes = min(len(buffer), len(self._ready))
        buffer[:n_bytes], self._ready = self._ready[:n_bytes], self._ready[n_bytes:]
        return n_bytes

    def _unpack(self) -> None:
        self._frame = self._frame or self._new_frame()
        try:
            self._ready = self._frame.decompress(self._packed)
        except self._error as error:
            raise OSError(str(error)) from error
        self._packed = b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_zst(path: Any) -> IO[bytes]:
    for name in ("compression.zstd", "zstandard"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        new_frame = module.ZstdDecompressor
        if name == "zstandard":
            new_frame = module.ZstdDecompressor().decompressobj
        file = _Unzstd(open(path, "rb"), new_frame, module.ZstdError)
        return cast("IO[bytes]", io.BufferedReader(file, 1 << 17))
    raise MissingDependencyError("reading .zst files needs Python 3.14 or the package zstandard")


def _parquet_rows(file: IO[bytes], column: str) -> Iterator[str | bytes]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError("reading .parquet files needs pyarrow: pip install tokenloom[data]") from None
    invalid = importlib.import_module("pyarrow").ArrowInvalid
    try:
        table = parquet.ParquetFile(file)
        if column not in table.schema_arrow.names:
            raise TrainError(f"expected a column {column!r}, found {', '.join(table.schema_arrow.names)}")
        for batch in table.iter_batches(1024, columns=[column]):
            yield from (row for row in batch.column(0).to_pylist() if row is not None)
    except invalid as error:
        raise OSError(str(error)) from error


def _json_rows(file: Iterable[bytes], column: str) -> Iterator[str | bytes]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[column]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainError(f"line {number} must be a JSON object with the column {column!r}: {error!r}") from error
        if not isinstance(text, str):
            raise TrainError(f"column {column!r} of line {number} must be a string, found {type(text).__name__}")
        yield text


def _lines(file: IO[Any], index: int, weight: int, offset: int) -> Iterator[Block]:
    position = _skip(file, offset)
    tail: list[bytes] = []  # the beginning of a line whose end was not read yet
    while block := file.read(_BLOCK_BYTES):
        data = block.encode("utf-8", "surrogatepass") if isinstance(block, str) else bytes(block)
        cut = data.rfind(b"\n") + 1
        lines = b""
        if cut:
            lines = b"".join([*tail, data[:cut]])
            tail = []
            position += len(lines)
        tail.append(data[cut:])
        yield Block(None, lines, weight, len(data), index, position)
    yield Block(None, b"".join(tail), weight, 0, index + 1, 0)


def _skip(file: IO[Any], offset: int) -> int:
    """Bring a file to a place in its bytes."""
    if offset and hasattr(file, "seekable") and file.seekable() and not hasattr(file, "encoding"):
        file.seek(offset)
        return offset
    left = offset
    while left:
        # A character has at most four bytes.
        block = file.read(max(1, min(left, _BLOCK_BYTES) // 4))
        if not block:
            raise TrainError("the corpus is shorter than it was when the checkpoint was written")
        left -= len(block.encode("utf-8", "surrogatepass") if isinstance(block, str) else block)
    return offset

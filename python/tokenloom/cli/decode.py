"""``tokenloom decode``: which text are these ids?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np

from tokenloom.cli.loading import load_tokenizer
from tokenloom.cli.progress import byte_progress
from tokenloom.errors import FormatError

__all__ = ["decode"]


@click.command(
    epilog="Example: tokenloom encode tokenizer.json 'the cat' | tokenloom decode tokenizer.json\n\n"
    "Example: tokenloom decode tokenizer.json --file ids.npy --output text.txt"
)
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.argument("ids", type=int, nargs=-1)
@click.option(
    "--file",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A .npy array, a .jsonl of encode, or whitespace-separated ids; may be given again.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the text to this file.")
@click.option("--skip-special", is_flag=True, help="Leave special tokens out.")
def decode(
    tokenizer: Path, ids: tuple[int, ...], files: tuple[Path, ...], output: Path | None, skip_special: bool
) -> None:
    """Print the text of IDS, of files of ids, or of the whitespace-separated ids on stdin.

    Bytes that are not UTF-8 are kept. Where documents are told apart (a .jsonl, or a .npy with .offsets.npy beside it)
    a line ending follows each.
    """
    if ids and files:
        raise click.UsageError("give IDS or --file, not both")
    loaded = load_tokenizer(tokenizer)
    special = np.array(sorted(loaded.special_tokens.values()) if skip_special else [], np.int64)
    with _sink(output) as sink, byte_progress("decode", sum(path.stat().st_size for path in files) or None) as advance:
        for row, is_document, n_bytes in _rows(ids, files):
            kept = row[~np.isin(row, special)] if len(special) else row
            sink.write(loaded.decode_bytes(kept))
            if is_document:
                sink.write(b"\n")
            advance(n_bytes)
    if output is None and sys.stdout.isatty():
        click.echo()


def _rows(ids: tuple[int, ...], files: tuple[Path, ...]) -> Iterator[tuple[Any, bool, int]]:
    """Arrays of ids, whether each is a whole document, and how many bytes of a file it took."""
    if ids:
        yield np.array(ids, np.int64), False, 0
    elif not files:
        yield _parse(sys.stdin.read(), "stdin"), False, 0
    for path in files:
        if path.suffix == ".npy":
            yield from _array_rows(path)
        elif path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as stream:
                for number, line in enumerate(stream, 1):
                    yield _json_row(line, f"{path}, line {number}"), True, len(line)
        else:
            yield _parse(path.read_text(encoding="utf-8"), str(path)), False, path.stat().st_size


def _array_rows(path: Path) -> Iterator[tuple[Any, bool, int]]:
    values, cuts_path = _load_array(path), path.with_suffix(".offsets.npy")
    if cuts_path.is_file():
        cuts = _load_array(cuts_path)
        for start, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            yield values[start:end], True, (end - start) * values.itemsize
        return
    yield values, False, values.nbytes


def _load_array(path: Path) -> Any:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path}: expected a .npy array: {error}") from error
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise FormatError(f"{path}: expected integers in one dimension, found {found.dtype} of shape {found.shape}")
    return found


def _json_row(line: str, where: str) -> Any:
    try:
        record = json.loads(line)
        return np.array(record["ids"] if isinstance(record, dict) else record, np.int64)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise FormatError(f"{where}: expected a list of ids, or an object with ids") from error


def _parse(text: str, where: str) -> Any:
    words = text.replace(",", " ").replace("[", " ").replace("]", " ").split()
    try:
        return np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError) as error:
        raise click.UsageError(f"expected whitespace-separated ids in {where}: {error}") from error


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with output.open("wb") as stream:
            yield stream

"""``tokenloom encode``: which ids is this text?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import numpy as np

from tokenloom.cli.documents import batches, n_bytes_of, read_documents
from tokenloom.cli.loading import load_tokenizer
from tokenloom.cli.progress import byte_progress

if TYPE_CHECKING:
    from tokenloom import Tokenizer

__all__ = ["encode"]


@click.command(
    epilog="Example: echo 'the cat' | tokenloom encode tokenizer.json\n\n"
    "Example: tokenloom encode tokenizer.json --file books.txt --lines --output ids.npy"
)
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.argument("text", required=False)
@click.option(
    "--file",
    "files",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    multiple=True,
    help="Encode this file; may be given again. - is stdin.",
)
@click.option("--lines", is_flag=True, help="Each line is a document, without its line ending.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write .npy or .jsonl, see below.")
@click.option("--count", is_flag=True, help="Print how many tokens there are, not which.")
@click.option("--offsets", is_flag=True, help="Where each token stands in its document.")
@click.option("--special", is_flag=True, help="Add the special tokens that the file asks for around a text.")
@click.option("--ordinary", is_flag=True, help="Special tokens that stand in a text are ordinary text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a document, for programs.")
@click.option("--threads", type=click.IntRange(1), help="At most so many; default: every core.")
def encode(
    tokenizer: Path,
    text: str | None,
    files: tuple[Path, ...],
    lines: bool,
    output: Path | None,
    count: bool,
    offsets: bool,
    special: bool,
    ordinary: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Print the token ids of TEXT, of files, or of all of stdin, with the TOKENIZER in a file or a model folder.

    A document's ids are one line; with --offsets each token is one: id, first and last byte, and its text. A .npy file
    holds all ids as uint32; for more than one document, or with --lines, a second file (.offsets.npy, int64) says where
    each starts and where the last one ends. A .jsonl file and --json hold an object a document: ids, n_tokens, n_bytes
    and, with --offsets, byte_offsets and char_offsets.
    """
    if text is not None and files:
        raise click.UsageError("give TEXT or --file, not both")
    suffix = None if output is None else output.suffix
    if suffix not in (None, ".npy", ".jsonl"):
        raise click.BadParameter(f"expected a name that ends in .npy or .jsonl, found {output}", param_hint="--output")
    if suffix == ".npy" and (offsets or as_json or count):
        raise click.UsageError("a .npy file holds ids alone: leave --offsets, --json and --count out, or name a .jsonl")
    documents = read_documents(files, lines) if text is None else iter([text.encode("utf-8", "surrogateescape")])
    job = _Job(load_tokenizer(tokenizer), special, ordinary, offsets, threads)
    total = None if text is not None else n_bytes_of(files)
    with byte_progress(f"encode {len(files) or 1} file(s)", total) as advance:
        if suffix == ".npy":
            assert output is not None
            _write_arrays(job, documents, output, lines or len(files) > 1, advance)
            return
        with _sink(output) as sink:
            _write_lines(job, documents, sink, "json" if as_json or suffix else "count" if count else "ids", advance)


class _Job:
    """How documents become rows of ids."""

    def __init__(self, tokenizer: Tokenizer, special: bool, ordinary: bool, offsets: bool, threads: int | None) -> None:
        self.tokenizer = tokenizer
        self.offsets = offsets
        self._threads = threads
        self._options: dict[str, Any] = {
            "add_special_tokens": special,
            "allowed_special": () if ordinary else "all",
        }

    def rows(self, batch: list[bytes]) -> Any:
        return self.tokenizer.encode_batch(batch, self._threads, **self._options)

    def spans(self, document: bytes) -> Any:
        return self.tokenizer.encode_with_offsets(document, **self._options)


def _write_lines(job: _Job, documents: Iterator[bytes], sink: TextIO, kind: str, advance: Any) -> None:
    for batch in batches(documents):
        if job.offsets and kind != "count":
            for document in batch:
                _write_spans(job, document, sink, kind)
        else:
            for document, row in zip(batch, job.rows(batch), strict=True):
                if kind == "json":
                    record = {"ids": row.tolist(), "n_tokens": len(row), "n_bytes": len(document)}
                    sink.write(json.dumps(record) + "\n")
                elif kind == "count":
                    sink.write(f"{len(row)}\n")
                else:
                    sink.write(" ".join(map(str, row.tolist())) + "\n")
        advance(sum(map(len, batch)))


def _write_spans(job: _Job, document: bytes, sink: TextIO, kind: str) -> None:
    found = job.spans(document)
    if kind == "json":
        record = {
            "ids": found.ids.tolist(),
            "n_tokens": len(found.ids),
            "n_bytes": len(document),
            "byte_offsets": found.byte_offsets.tolist(),
            "char_offsets": found.char_offsets.tolist(),
        }
        sink.write(json.dumps(record) + "\n")
        return
    for token, (start, end) in zip(found.ids.tolist(), found.byte_offsets.tolist(), strict=True):
        text = document[start:end].decode("utf-8", "backslashreplace")
        sink.write(f"{token}\t{start}\t{end}\t{json.dumps(text, ensure_ascii=False)}\n")


def _write_arrays(job: _Job, documents: Iterator[bytes], path: Path, many: bool, advance: Any) -> None:
    values: list[Any] = []
    lengths: list[Any] = [np.zeros(1, np.int64)]
    for batch in batches(documents):
        rows = job.rows(batch)
        values.append(rows.values)
        lengths.append(np.diff(rows.offsets))
        advance(sum(map(len, batch)))
    np.save(path, np.concatenate(values) if values else np.empty(0, np.uint32))
    if many:
        np.save(path.with_suffix(".offsets.npy"), np.cumsum(np.concatenate(lengths)))


@contextmanager
def _sink(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
    else:
        with output.open("w", encoding="utf-8") as stream:
            yield stream

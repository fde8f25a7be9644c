"""How is a job built from an engine that encodes and decodes?

An engine's ``load(tokenizer)`` gives a :class:`Codec`; the operations below, by name in :data:`OPERATIONS`, make jobs
of it. Every answer is the ids as little-endian uint32, or the decoded text, so that interfaces of all kinds can be
compared. NumPy is imported only where it is used: what an engine's process holds in memory is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benches.job import Job

Vocabulary = dict[str, str]
Load = Callable[[Vocabulary], "Codec"]


@dataclass(frozen=True)
class Codec:
    """The fastest documented entry points of one loaded tokenizer; None where there is no such interface."""

    encode_list: Callable[[str], list[int]] | None = None
    encode_array: Callable[[str], Any] | None = None
    """To an array or a buffer of ids."""
    batch_list: Callable[[list[str]], list[list[int]]] | None = None
    """On two threads."""
    batch_array: Callable[[list[str]], Any] | None = None
    """On two threads."""
    flat: Callable[[Any], Any] | None = None
    """All ids of what ``encode_array`` or ``batch_array`` returned, one after the other; for the comparison only."""
    decode: Callable[[Any], str] | None = None
    to_ids: Callable[[list[int]], Any] = list
    """The form of ids that ``decode`` takes; not timed."""


def _interface(codec: Codec, name: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] | None = getattr(codec, name)
    if found is None:
        raise NotImplementedError(f"no interface for {name}")
    return found


def _read(path: str) -> str:
    return Path(path).read_bytes().decode()


def _bytes_of(ids: Any) -> bytes:
    import numpy as np

    if isinstance(ids, bytes):
        ids = np.frombuffer(ids, np.uint32)
    return np.asarray(ids, dtype="<u4").tobytes()


def _answer(codec: Codec, name: str) -> Callable[[Any], bytes]:
    if name.endswith("array") and codec.flat is not None:
        flat = codec.flat
        return lambda found: _bytes_of(flat(found))
    if name.startswith("batch"):
        return lambda rows: b"".join(map(_bytes_of, rows))
    return _bytes_of


def _encode(name: str, load: Load, arguments: dict[str, Any]) -> Job:
    """Round k encodes the text of file k in one call."""
    codec = load(arguments["tokenizer"])
    encode = _interface(codec, name)
    texts = [_read(path) for path in arguments["texts"]]
    return Job(
        rounds=[partial(encode, text) for text in texts],
        answer=_answer(codec, name),
        warm_up=partial(encode, _read(arguments["warm_up"])),
    )


def documents_of(text: str, n_chars: int) -> list[str]:
    """The text in pieces of ``n_chars`` characters, the last one left out."""
    return [text[start : start + n_chars] for start in range(0, len(text) - n_chars + 1, n_chars)]


def _calls(name: str, load: Load, arguments: dict[str, Any]) -> Job:
    """Round k makes one call for each of ``n_calls`` pieces of file k, or for the same ``text`` again and again."""
    codec = load(arguments["tokenizer"])
    encode = _interface(codec, name)
    answer = _answer(codec, name)
    n_calls = arguments["n_calls"]
    if "text" in arguments:
        rounds = [[arguments["text"]] * n_calls] * arguments["n_rounds"]
        warm_up = rounds[0]
    else:
        pieces = [documents_of(_read(path), arguments["n_chars"])[:n_calls] for path in arguments["texts"]]
        rounds, warm_up = pieces, documents_of(_read(arguments["warm_up"]), arguments["n_chars"])[:n_calls]

    def run(texts: Sequence[str]) -> list[Any]:
        return [encode(text) for text in texts]

    return Job(
        rounds=[partial(run, texts) for texts in rounds],
        answer=lambda found: b"".join(map(answer, found)),
        warm_up=partial(run, warm_up),
    )


def _batch(name: str, load: Load, arguments: dict[str, Any]) -> Job:
    """Round k encodes the documents of the k-th group of files in one call."""
    codec = load(arguments["tokenizer"])
    encode = _interface(codec, name)
    n_chars = arguments["n_chars"]

    def documents(paths: list[str]) -> list[str]:
        return [document for path in paths for document in documents_of(_read(path), n_chars)]

    return Job(
        rounds=[partial(encode, documents(paths)) for paths in arguments["groups"]],
        answer=_answer(codec, name),
        warm_up=partial(encode, documents(arguments["warm_up"])),
    )


def _decode(load: Load, arguments: dict[str, Any]) -> Job:
    """Round k decodes the ids of file k: in one call, or in ``n_calls`` calls of ``n_ids`` ids each."""
    codec = load(arguments["tokenizer"])
    decode = _interface(codec, "decode")
    n_ids, n_calls = arguments.get("n_ids"), arguments.get("n_calls", 1)

    def prepare(path: str) -> list[Any]:
        import numpy as np

        ids = np.load(path).tolist()
        size = n_ids or len(ids)
        return [codec.to_ids(ids[start : start + size]) for start in range(0, size * n_calls, size)]

    def run(rows: list[Any]) -> list[str]:
        return [decode(ids) for ids in rows]

    return Job(
        rounds=[partial(run, prepare(path)) for path in arguments["ids"]],
        answer=lambda texts: "".join(texts).encode(),
        warm_up=partial(run, prepare(arguments["warm_up"])),
    )


def _first_call(load: Load, arguments: dict[str, Any]) -> Job:
    """A round loads the file and encodes a first text; run in a fresh process."""

    def run() -> Any:
        codec = load(arguments["tokenizer"])
        encode = codec.encode_list or codec.encode_array
        assert encode is not None
        return codec, encode(arguments["text"])

    return Job(rounds=[run] * arguments["n_rounds"], answer=lambda found: _bytes_of(found[1]))


OPERATIONS: dict[str, Callable[[Load, dict[str, Any]], Job]] = {
    "encode_list": partial(_encode, "encode_list"),
    "encode_array": partial(_encode, "encode_array"),
    "calls_list": partial(_calls, "encode_list"),
    "calls_array": partial(_calls, "encode_array"),
    "batch_list": partial(_batch, "batch_list"),
    "batch_array": partial(_batch, "batch_array"),
    "decode": _decode,
    "first_call": _first_call,
}

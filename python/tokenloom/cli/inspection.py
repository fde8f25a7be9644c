"""What is there to know about a tokenizer?

Everything is counted over the vocabulary through the public class, so it holds for every file format. A token counts as
*reached by itself* if encoding its own bytes gives it alone; one that is not may still appear inside a longer text, or
never, as the leftovers of a training run do. Where the steps of a file are interpreted (WordPiece, Unigram), tokens are
strings, shown as the file has them; what they stand for depends on their place, so that is not counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenloom._core import tokenizer as compiled
from tokenloom.errors import TokenloomError, UnknownTokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenloom import Tokenizer

__all__ = ["SAMPLE", "Inspection", "Piece", "inspect", "sample_for", "segment", "show"]

SAMPLE = (
    "The quick brown fox doesn't jump over 12,345 lazy dogs.\n"
    "def area(r: float) -> float:\n    return 3.14159 * r ** 2\n"
    "Größe naïve café · 你好，世界 · Привет, мир · こんにちは · नमस्ते · 한국어 · 👩\u200d👩\u200d👧\n"
)
"""Prose, code, numbers, eight scripts and an emoji of several characters."""

_N_SHOWN = 20
_MAX_SHOWN_BYTES = 64


@dataclass(frozen=True)
class Piece:
    """One token of a segmentation: its id, its bytes (of a string: as the file has it), and whether it is special."""

    id: int
    data: bytes
    special: bool


@dataclass(frozen=True)
class Inspection:
    """What :func:`inspect` found; every field is plain data."""

    stages: list[dict[str, str]]
    """Part, action and engine of each step from text to ids."""
    vocab_size: int
    """One more than the largest id."""
    n_tokens: int
    n_special: int
    special_tokens: dict[str, int]
    n_reached: int | None
    """Tokens that are not special and that encoding their own bytes gives alone; none where tokens are strings."""
    n_not_reached: int | None
    not_reached: list[dict[str, Any]]
    """The first of them."""
    n_bytes_covered: int | None
    """How many of the 256 bytes have a token of their own; none where tokens are strings."""
    bytes_missing: list[int] | None
    n_tokens_by_length: dict[int, int]
    """Length in bytes to number of tokens."""
    mean_length: float
    longest: list[dict[str, Any]]
    n_with_inner_space: int
    """Tokens that reach across a space: superwords."""
    n_not_utf8: int
    """Tokens that are no text by themselves."""

    def record(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def inspect(tokenizer: Tokenizer) -> Inspection:
    """Measure ``tokenizer``; some tenths of a second for 200,000 tokens."""
    special = tokenizer.special_tokens
    tokens = _tokens(tokenizer)
    ordinary = {token: data for token, data in tokens.items() if token not in set(special.values())}
    missed = _missed(tokenizer, ordinary)
    missing = [byte for byte in range(256) if not _has(tokenizer, bytes([byte]))] if tokenizer.is_compiled else None
    lengths = Counter(map(len, ordinary.values()))
    longest = sorted(ordinary, key=lambda token: (-len(ordinary[token]), token))[:_N_SHOWN]
    return Inspection(
        stages=[stage._asdict() for stage in tokenizer.stages()],
        vocab_size=tokenizer.vocab_size,
        n_tokens=len(tokens),
        n_special=len(special),
        special_tokens=special,
        n_reached=None if missed is None else len(ordinary) - len(missed),
        n_not_reached=None if missed is None else len(missed),
        not_reached=[_shown(token, ordinary[token]) for token in (missed or [])[:_N_SHOWN]],
        n_bytes_covered=None if missing is None else 256 - len(missing),
        bytes_missing=missing,
        n_tokens_by_length=dict(sorted(lengths.items())),
        mean_length=sum(map(len, ordinary.values())) / max(1, len(ordinary)),
        longest=[_shown(token, ordinary[token]) for token in longest],
        n_with_inner_space=sum(b" " in _spaced(tokenizer, data).strip(b" ") for data in ordinary.values()),
        n_not_utf8=sum(not _is_text(data) for data in ordinary.values()),
    )


def segment(tokenizer: Tokenizer, text: str) -> list[Piece]:
    """The tokens of ``text`` in order."""
    special = set(tokenizer.special_tokens.values())
    data_of = _reader(tokenizer)
    return [Piece(token, data_of(token), token in special) for token in tokenizer.encode_list(text)]


def sample_for(tokenizer: Tokenizer) -> str:
    """The lines of :data:`SAMPLE` that ``tokenizer`` has tokens for: one without an unknown token may refuse some."""
    lines = SAMPLE.splitlines(keepends=True)
    return "".join(line for line in lines if _ids(tokenizer, line) is not None)


def show(data: bytes) -> str:
    """Bytes as one printable line: text where they are UTF-8, ``<0xE4>`` for the others, controls by name."""
    text = data.decode("utf-8", "surrogateescape")
    return "".join(map(_show_character, text))


def _show_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"<0x{code - 0xDC00:02X}>"
    if character in "\n\r\t":
        return {"\n": "↵", "\r": "␍", "\t": "⇥"}[character]
    return character if character.isprintable() else f"<U+{code:04X}>"


def _reader(tokenizer: Tokenizer) -> Callable[[int], bytes]:
    machine = tokenizer._machine
    if isinstance(machine, compiled.Tokenizer):
        return machine.token_bytes
    return lambda token: machine.token_text(token).encode()


def _tokens(tokenizer: Tokenizer) -> dict[int, bytes]:
    found, data_of = {}, _reader(tokenizer)
    for token in range(tokenizer.vocab_size):
        try:
            found[token] = data_of(token)
        except UnknownTokenError:
            continue  # ids may have gaps
    return found


def _missed(tokenizer: Tokenizer, tokens: dict[int, bytes]) -> list[int] | None:
    """The tokens that their own bytes do not give alone; none where tokens are strings."""
    if not tokenizer.is_compiled:
        return None
    rows = tokenizer.encode_batch(tokens.values(), allowed_special=())
    alone = np.diff(rows.offsets) == 1
    first = np.full(len(tokens), -1, np.int64)
    first[alone] = rows.values[rows.offsets[:-1][alone]]
    ids = np.fromiter(tokens, np.int64, len(tokens))
    missed: list[int] = ids[first != ids].tolist()
    return missed


def _ids(tokenizer: Tokenizer, text: str) -> list[int] | None:
    try:
        return tokenizer.encode_list(text, allowed_special=())
    except TokenloomError:
        return None


def _spaced(tokenizer: Tokenizer, data: bytes) -> bytes:
    return data if tokenizer.is_compiled else data.replace("\u2581".encode(), b" ")


def _has(tokenizer: Tokenizer, data: bytes) -> bool:
    try:
        tokenizer.token_id(data)
    except UnknownTokenError:
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(token: int, data: bytes) -> dict[str, Any]:
    text = show(data[:_MAX_SHOWN_BYTES]).replace(" ", "␣") + ("…" if len(data) > _MAX_SHOWN_BYTES else "")
    return {"id": token, "n_bytes": len(data), "text": text}

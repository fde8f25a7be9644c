"""What does the compiled trainer need to be told?

Options as their users write them become the plain fields that ``_core.train`` reads; everything that contradicts its
type is refused here, everything that contradicts another option in the core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tokenloom._core import tokenizer as _compiled
from tokenloom._core import train as _core
from tokenloom.errors import TrainError, UnsupportedFeatureError
from tokenloom.tokenizer import Tokenizer

__all__ = [
    "ALL_BYTES",
    "RUNS",
    "StageFields",
    "Start",
    "Veto",
    "bytes_of",
    "compiled_machine",
    "cuts_of",
    "patterns_of",
    "size_of",
    "start_of",
    "threads_of",
]

ALL_BYTES = bytes(range(256))
RUNS = ["runs of words"]
"""What stands in the place of a cut whose words are runs of those of another."""


@dataclass(frozen=True)
class Veto:
    """Which merged tokens are refused, however frequent. The rules are compiled; each sees the token's bytes alone.

    Example:
        >>> import tokenloom as tl
        >>> tl.train.Veto(max_words=2).refuses(" by the way")
        True
    """

    max_words: int | None = None
    """The most words: non-empty pieces between spaces, so that a leading part of a word counts as one."""
    forbidden: Iterable[str | bytes] = ()
    """No token holds any of these."""
    max_bytes: int | None = None
    """The most bytes."""
    max_chars: int | None = None
    """The most characters; a part of one counts as one."""
    whole_characters: bool = False
    """A token is whole characters, or a part of a single one: no character is cut at a token's end but inside it."""
    one_script: bool = False
    """All letters of a token are of one script. Han and kana count as one."""

    def __post_init__(self) -> None:
        for name in ("max_words", "max_bytes", "max_chars"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, size_of(name, getattr(self, name)))
        if isinstance(self.forbidden, (str, bytes)):
            raise TrainError(f"forbidden must be several strings, found the single {self.forbidden!r}")
        object.__setattr__(self, "forbidden", tuple(map(bytes_of, self.forbidden)))

    def refuses(self, token: str | bytes) -> bool:
        """Whether a token may not be made."""
        return _core.refuses(self, bytes_of(token))


@dataclass(frozen=True)
class StageFields:
    """One stage, as ``_core.train`` reads it."""

    vocab_size: int
    min_frequency: int
    max_token_length: int | None
    veto: Veto
    max_inherited: int | None = None
    drops_unused: bool = False


@dataclass(frozen=True)
class Start:
    """What a training starts from, as ``_core.train`` reads it."""

    special_tokens: list[str] = field(default_factory=list)
    initial_alphabet: bytes = ALL_BYTES
    limit_alphabet: int | None = None
    seed_merges: list[tuple[bytes, bytes]] = field(default_factory=list)
    tokenizer: _compiled.Tokenizer | None = None


def start_of(
    special_tokens: Sequence[str],
    initial_alphabet: bytes | Iterable[int] | None,
    limit_alphabet: int | None,
    seed_merges: Iterable[tuple[str | bytes, str | bytes]] | None,
    resume: Tokenizer | None,
) -> Start:
    """What a training starts from.

    Raises:
        TrainError: An option is of another type.
        UnsupportedFeatureError: ``resume`` is no compiled BPE tokenizer.
    """
    if isinstance(special_tokens, str):
        raise TrainError(f"special_tokens must be a sequence of str, found the str {special_tokens!r}")
    special = list(special_tokens)
    for index, token in enumerate(special):
        if not isinstance(token, str):
            raise TrainError(f"special token {index} must be a str, found {type(token).__name__}")
    return Start(
        special,
        ALL_BYTES if initial_alphabet is None else bytes(initial_alphabet),
        None if limit_alphabet is None else size_of("limit_alphabet", limit_alphabet),
        [(bytes_of(left), bytes_of(right)) for left, right in seed_merges or ()],
        None if resume is None else compiled_machine(resume),
    )


def compiled_machine(tokenizer: Tokenizer, name: str = "resume") -> _compiled.Tokenizer:
    """The compiled machine of a tokenizer that is extended; ``name`` is the argument it came as.

    Raises:
        TrainError: It is no tokenizer.
        UnsupportedFeatureError: It has none.
    """
    if not isinstance(tokenizer, Tokenizer):
        raise TrainError(f"{name} must be a tokenloom.Tokenizer, found {type(tokenizer).__name__}")
    machine = tokenizer._machine
    if isinstance(machine, _compiled.Tokenizer):
        return machine
    definition = machine.definition
    model = json.loads(definition.to_json(False))["model"]["type"]
    if model != "BPE":
        raise UnsupportedFeatureError(f"{name} must be a BPE tokenizer, found a {model} model")
    raise UnsupportedFeatureError(
        f"{name} must be a BPE tokenizer that the compiled machine runs; this one is interpreted"
        + (f"\nhint: {definition.reason}" if definition.reason else "")
    )


def bytes_of(text: str | bytes) -> bytes:
    """The bytes of a text that may be given either way."""
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    raise TrainError(f"expected a str or bytes, found {type(text).__name__}")


def patterns_of(pattern: str | Sequence[str]) -> list[str]:
    """One pattern, or several that cut one after the other, as a list."""
    return [pattern] if isinstance(pattern, str) else list(pattern)


def cuts_of(pattern: str | Sequence[str], stage2_pattern: str | Sequence[str] | None, runs: bool) -> list[list[str]]:
    """The cuts by which a corpus is counted; its runs are counted beside them.

    Raises:
        TrainError: Two cuts and runs are asked for.
    """
    if runs and stage2_pattern is not None:
        raise TrainError("counts are of two patterns or of one and its runs, not both")
    return [patterns_of(pattern)] + ([] if stage2_pattern is None else [patterns_of(stage2_pattern)])


def size_of(name: str, value: int) -> int:
    """An option that counts something.

    Raises:
        TrainError: It is no count.
    """
    try:
        count = value.__index__()
    except AttributeError:
        raise TrainError(f"{name} must be an int, found {type(value).__name__}") from None
    if not 0 <= count < 1 << 63:
        raise TrainError(f"{name} must be between 0 and 2**63 - 1, found {count}")
    return count


def threads_of(threads: int | None) -> int:
    """How many threads to use; all processors by default."""
    n_threads = len(os.sched_getaffinity(0)) if threads is None else size_of("threads", threads)
    if not 1 <= n_threads <= 1024:
        raise TrainError(f"threads must be between 1 and 1024, found {n_threads}")
    return n_threads

"""Which tokens does a Python function on the text so far allow?

The function is asked about texts, never about the vocabulary: a check costs one call, a batch of checks one call of the
batch form if there is one. Answers are remembered by text, for all states of the constraint together, because particles
that share a context ask the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._constraint import Constraint, Ids, State, end_tokens, kept, not_allowed
from tokenloom.errors import ConstraintError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Predicate"]

_MAX_REMEMBERED_BYTES = 1 << 24


class Predicate(Constraint):
    """A constraint that asks a Python function. Made by :func:`tokenloom.control.predicate`."""

    __slots__ = ("_memo", "_n_memo_bytes", "batch", "complete", "eos", "fn", "special", "tokenizer")

    def __init__(
        self,
        fn: Callable[[bytes], bool],
        tokenizer: Tokenizer,
        complete: Callable[[bytes], bool] | None,
        eos: Collection[int] | None,
        batch: Callable[[list[bytes]], Sequence[bool]] | None = None,
    ) -> None:
        self.fn, self.tokenizer, self.complete, self.batch = fn, tokenizer, complete, batch
        self.eos = frozenset(end_tokens(tokenizer, eos))
        self.special = frozenset(tokenizer.special_tokens.values())
        self._memo: dict[bytes, bool] = {}
        self._n_memo_bytes = 0

    def start(self) -> State:
        """The state before the first token."""
        return _PredicateState(self, ())

    def ask(self, prefixes: list[bytes]) -> list[bool]:
        """What the function says about each prefix; each is put to it once."""
        memo = self._memo
        fresh = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in memo]
        answers = dict(zip(fresh, self._answers(fresh), strict=True))
        verdicts = [answers[prefix] if prefix in answers else memo[prefix] for prefix in prefixes]
        n_bytes = sum(map(len, fresh)) + 64 * len(fresh)
        if self._n_memo_bytes + n_bytes > _MAX_REMEMBERED_BYTES:
            # Another dictionary, not an empty one: other threads may be reading this.
            self._memo, self._n_memo_bytes = {}, 0
        self._memo.update(answers)
        self._n_memo_bytes += n_bytes
        return verdicts

    def _answers(self, prefixes: list[bytes]) -> list[bool]:
        if self.batch is not None and len(prefixes) > 1:
            try:
                answers = [bool(answer) for answer in self.batch(prefixes)]
            except Exception as error:
                _note(error, prefixes[0], f" and {len(prefixes) - 1} more")
                raise
            if len(answers) != len(prefixes):
                raise ConstraintError(f"expected {len(prefixes)} verdicts of the batch, found {len(answers)}")
            return answers
        answers = []
        for prefix in prefixes:
            try:
                answers.append(bool(self.fn(prefix)))
            except Exception as error:
                _note(error, prefix)
                raise
        return answers

    def __reduce__(self) -> tuple[Any, ...]:
        return (Predicate, (self.fn, self.tokenizer, self.complete, self.eos, self.batch))


def _note(error: Exception, prefix: bytes, more: str = "") -> None:
    error.add_note(f"while the constraint asked about the text {prefix[-200:]!r}{more}")


class _PredicateState:
    """The tokens taken, each with the bytes up to and with it; one tuple, so that readers see it whole."""

    __slots__ = ("_constraint", "_path")

    def __init__(self, constraint: Predicate, path: tuple[tuple[int, bytes], ...]) -> None:
        self._constraint, self._path = constraint, path

    @property
    def ids(self) -> NDArray[np.uint32]:
        return np.array([id for id, _ in self._path], dtype=np.uint32)

    @property
    def prefix(self) -> bytes:
        return self._path[-1][1] if self._path else b""

    def _has_ended(self) -> bool:
        return bool(self._path) and self._path[-1][0] in self._constraint.eos

    def _extended(self, id: int) -> bytes | None:
        """The prefix with one more token; None for ids that spell no text."""
        if id in self._constraint.special:
            return None
        try:
            return self.prefix + self._constraint.tokenizer.token_bytes(id)
        except KeyError:
            return None

    def mask(self) -> None:
        return None

    def fill_mask(self, out: Any) -> bool:
        return False

    def check(self, id: int) -> bool:
        return bool(self.check_many([id])[0])

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        wanted = np.asarray(ids).tolist()
        allowed = np.zeros(len(wanted), dtype=np.bool_)
        if self._has_ended():
            return allowed
        places, texts = [], []
        for place, id in enumerate(wanted):
            if id in self._constraint.eos:
                allowed[place] = self.is_accepting()
            elif (extended := self._extended(id)) is not None:
                places.append(place)
                texts.append(extended)
        allowed[places] = self._constraint.ask(texts)
        return allowed

    def fork(self) -> State:
        return _PredicateState(self._constraint, self._path)

    def advance(self, id: int) -> None:
        if not self.check(id):
            raise not_allowed(id, self)
        extended = self.prefix if id in self._constraint.eos else self._extended(int(id))
        self._path = (*self._path, (int(id), extended or b""))

    def rollback(self, n: int) -> None:
        self._path = self._path[: kept(n, len(self._path), self)]

    def is_accepting(self) -> bool:
        complete = self._constraint.complete
        if self._has_ended() or complete is None:
            return True
        try:
            return bool(complete(self.prefix))
        except Exception as error:
            _note(error, self.prefix)
            raise

    def forced(self) -> NDArray[np.uint32]:
        return np.empty(0, dtype=np.uint32)

"""Which tokens does an automaton of the user's own allow, that reads bytes one by one?

The automaton keeps its own stack: ``feed`` reads a byte or refuses it, ``undo`` forgets bytes. A check feeds one token
and takes it back; a mask walks the trie of the vocabulary and leaves a branch at the first byte that is refused. A fork
copies the automaton.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenloom._constraint import Constraint, Ids, State, copy_words, core_tokenizer, end_tokens, kept, not_allowed
from tokenloom._core import control as _core
from tokenloom.errors import ConstraintError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Feeding", "ReadsBytes"]


class ReadsBytes(Protocol):
    """An automaton that reads bytes and can take them back. Forks use ``copy.deepcopy``."""

    def feed(self, byte: int) -> bool:
        """Read a byte; False, and as before, where no complete text goes on so."""

    def undo(self, n: int) -> None:
        """Forget the last ``n`` bytes."""

    def is_complete(self) -> bool:
        """Whether the text may end here."""


class Feeding(Constraint):
    """A constraint that feeds an automaton. Made by :func:`tokenloom.control.automaton`."""

    __slots__ = ("eos", "make", "special", "tokenizer")

    def __init__(self, make: Callable[[], ReadsBytes], tokenizer: Tokenizer, eos: Collection[int] | None) -> None:
        core_tokenizer(tokenizer)
        self.make, self.tokenizer = make, tokenizer
        self.eos = frozenset(end_tokens(tokenizer, eos))
        self.special = frozenset(tokenizer.special_tokens.values())

    def start(self) -> State:
        """The state before the first token."""
        return _FeedingState(self, self.make(), [])

    def __reduce__(self) -> tuple[Any, ...]:
        return (Feeding, (self.make, self.tokenizer, self.eos))


class _FeedingState:
    __slots__ = ("_automaton", "_constraint", "_taken")

    def __init__(self, constraint: Feeding, automaton: ReadsBytes, taken: list[tuple[int, bytes]]) -> None:
        self._constraint, self._automaton, self._taken = constraint, automaton, taken

    @property
    def ids(self) -> NDArray[np.uint32]:
        return np.array([id for id, _ in self._taken], dtype=np.uint32)

    @property
    def prefix(self) -> bytes:
        return b"".join(text for _, text in self._taken)

    def _has_ended(self) -> bool:
        return bool(self._taken) and self._taken[-1][0] in self._constraint.eos

    def _spelled(self, id: int) -> bytes | None:
        if id in self._constraint.special:
            return None
        try:
            return self._constraint.tokenizer.token_bytes(id)
        except KeyError:
            return None

    def _fed(self, text: bytes) -> bool:
        """Feed all of ``text``, or nothing."""
        n_fed = 0
        try:
            for byte in text:
                if not self._automaton.feed(byte):
                    break
                n_fed += 1
        except BaseException:
            self._automaton.undo(n_fed)
            raise
        if n_fed < len(text):
            self._automaton.undo(n_fed)
        return n_fed == len(text)

    def mask(self) -> NDArray[np.int32]:
        constraint, ended = self._constraint, self._has_ended()
        if ended:
            return np.zeros(-(-constraint.tokenizer.vocab_size // 32), dtype=np.int32)
        words = _core.walk_mask(core_tokenizer(constraint.tokenizer), self._automaton.feed, self._automaton.undo)
        if accepting := self.is_accepting():
            bits = words.view(np.uint32)
            for id in constraint.eos:
                bits[id // 32] |= np.uint32(1 << id % 32)
        if not accepting and not words.any():
            step = len(self._taken)
            message = f"no token can follow after {step} tokens and the text is not complete"
            raise ConstraintError(message, prefix=self.prefix, step=step)
        return words

    def fill_mask(self, out: Any) -> bool:
        return copy_words(self.mask(), out)

    def check(self, id: int) -> bool:
        if self._has_ended():
            return False
        if id in self._constraint.eos:
            return self.is_accepting()
        text = self._spelled(int(id))
        if text is None or not self._fed(text):
            return False
        self._automaton.undo(len(text))
        return True

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        return np.fromiter((self.check(id) for id in np.asarray(ids).tolist()), dtype=np.bool_)

    def fork(self) -> State:
        return _FeedingState(self._constraint, copy.deepcopy(self._automaton), list(self._taken))

    def advance(self, id: int) -> None:
        if not self._has_ended():
            if id in self._constraint.eos:
                if self.is_accepting():
                    self._taken.append((int(id), b""))
                    return
            elif (text := self._spelled(int(id))) is not None and self._fed(text):
                self._taken.append((int(id), text))
                return
        raise not_allowed(id, self)

    def rollback(self, n: int) -> None:
        left = kept(n, len(self._taken), self)
        self._automaton.undo(sum(len(text) for _, text in self._taken[left:]))
        del self._taken[left:]

    def is_accepting(self) -> bool:
        return self._has_ended() or bool(self._automaton.is_complete())

    def forced(self) -> NDArray[np.uint32]:
        return np.empty(0, dtype=np.uint32)

"""Which tokens keep a text the way the encoder would write it?

The law of canonical sequences is that of the byte level; here it gets end tokens and the protocol of constraints.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._constraint import Constraint, Ids, State, copy_words, end_tokens, kept, not_allowed
from tokenloom._core.bytelevel import CanonicalLaw
from tokenloom._core.bytelevel import Sequence as TokenSequence
from tokenloom._core.tokenizer import Tokenizer as CompiledTokenizer
from tokenloom.errors import ConstraintError, UnsupportedFeatureError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Canonical"]


class Canonical(Constraint):
    """A constraint that keeps to canonical encodings. Made by :func:`canonical`."""

    __slots__ = ("_law", "context", "eos", "tokenizer")

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int], eos: Collection[int] | None) -> None:
        if not isinstance(tokenizer._core, CompiledTokenizer):
            raise UnsupportedFeatureError("the canonical filter needs byte pair encoding that is compiled")
        self.tokenizer, self.context = tokenizer, tuple(int(id) for id in context)
        self.eos = frozenset(end_tokens(tokenizer, eos))
        self._law = CanonicalLaw(tokenizer._core)

    def start(self) -> State:
        """The state before the first token.

        Raises:
            ConstraintError: no encoding starts with the context.
        """
        here = self._law.sequence([])
        for step, id in enumerate(self.context):
            pushed = here.pushed(id)
            if pushed is None:
                prefix = self.tokenizer.decode_bytes(list(self.context[:step]))
                message = f"no encoding starts with the context up to token {id} at position {step}"
                raise ConstraintError(message, prefix=prefix, step=step)
            here = pushed
        return _CanonicalState(self, here, ())

    def __reduce__(self) -> tuple[Any, ...]:
        return (Canonical, (self.tokenizer, self.context, self.eos))


class _CanonicalState:
    """The sequence before the first token, and each token taken with the sequence up to it."""

    __slots__ = ("_constraint", "_first", "_path")

    def __init__(
        self, constraint: Canonical, first: TokenSequence, path: tuple[tuple[int, TokenSequence], ...]
    ) -> None:
        self._constraint, self._first, self._path = constraint, first, path

    @property
    def ids(self) -> NDArray[np.uint32]:
        return np.array([id for id, _ in self._path], dtype=np.uint32)

    @property
    def prefix(self) -> bytes:
        tokenizer, eos = self._constraint.tokenizer, self._constraint.eos
        return b"".join(tokenizer.token_bytes(id) for id, _ in self._path if id not in eos)

    def _here(self) -> TokenSequence:
        return self._path[-1][1] if self._path else self._first

    def _has_ended(self) -> bool:
        return bool(self._path) and self._path[-1][0] in self._constraint.eos

    def mask(self) -> NDArray[np.int32]:
        here, constraint = self._here(), self._constraint
        words = here.mask()
        if self._has_ended():
            words[:] = 0
        bits = words.view(np.uint32)
        for id in constraint._law.symbols.tolist():
            allowed = id in constraint.eos and not self._has_ended() and here.ends()
            bit = np.uint32(1 << id % 32)
            bits[id // 32] = bits[id // 32] | bit if allowed else bits[id // 32] & ~bit
        return words

    def fill_mask(self, out: Any) -> bool:
        return copy_words(self.mask(), out)

    def check(self, id: int) -> bool:
        return self._pushed(int(id)) is not None

    def _pushed(self, id: int) -> TokenSequence | None:
        constraint = self._constraint
        if self._has_ended() or (id not in constraint.eos and id in constraint._law.symbols) or id < 0:
            return None
        return self._here().pushed(id)

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        words = self.mask().view(np.uint32)
        wanted = np.asarray(ids, dtype=np.int64)
        known = (wanted >= 0) & (wanted < 32 * len(words))
        places = np.where(known, wanted, 0)
        bits: NDArray[np.bool_] = (words[places // 32] >> (places % 32).astype(np.uint32) & 1).astype(np.bool_)
        return bits & known

    def fork(self) -> State:
        return _CanonicalState(self._constraint, self._first, self._path)

    def advance(self, id: int) -> None:
        pushed = self._pushed(int(id))
        if pushed is None:
            raise not_allowed(id, self)
        self._path = (*self._path, (int(id), pushed))

    def rollback(self, n: int) -> None:
        self._path = self._path[: kept(n, len(self._path), self)]

    def is_accepting(self) -> bool:
        return self._has_ended() or self._here().ends()

    def forced(self) -> NDArray[np.uint32]:
        return np.empty(0, dtype=np.uint32)

"""Which tokens may come next, end tokens included?

A constraint speaks about text; whether the text may end is its ``is_accepting``. The gate joins the two: an end token
is allowed exactly where the constraint accepts, whatever the constraint thinks of that token's bytes. It also counts
every token it was asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._mask_words import fitted, set_bit
from tokenloom.errors import ConstraintError

__all__ = ["Gate"]


class Gate:
    """One prompt's constraint state together with the tokens that end a text.

    Args:
        state: what ``constraint.start()`` returned.
        eos: the end tokens.
        n_tokens: size of the vocabulary.
    """

    def __init__(self, state: Any, eos: frozenset[int], n_tokens: int) -> None:
        self._state = state
        self._eos = eos
        self._eos_ids = np.array(sorted(eos), dtype=np.int64)
        self._n_tokens = n_tokens
        self.n_checks = 0
        self._has_mask: bool | None = None

    @property
    def state(self) -> Any:
        """The constraint's state."""
        return self._state

    @property
    def eos(self) -> frozenset[int]:
        """The end tokens."""
        return self._eos

    @property
    def has_mask(self) -> bool:
        """Whether the constraint knows masks, or must be asked about single tokens."""
        if self._has_mask is None:
            try:
                self._has_mask = self._state.mask() is not None
            except ConstraintError:
                self._has_mask = True
        return self._has_mask

    def __call__(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        self.n_checks += 1
        if token in self._eos:
            return bool(self._state.is_accepting())
        return bool(self._state.check(token))

    def check_many(self, tokens: Sequence[int] | NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each of ``tokens`` may come next, bool[n]."""
        ids = np.asarray(tokens, dtype=np.uint32)
        self.n_checks += len(ids)
        allowed = np.array(self._state.check_many(ids), dtype=np.bool_)
        allowed[np.isin(ids, self._eos_ids)] = bool(self._state.is_accepting())
        return allowed

    def mask(self) -> NDArray[np.int32] | None:
        """One bit a token, packed into int32 words, 1 = may come next; None for constraints that have no mask."""
        words = self._state.mask()
        if words is None:
            return None
        # As wide as the logits that are drawn from, which may be wider or narrower than the constraint's vocabulary.
        packed = fitted(words, self._n_tokens)
        for token in self._eos:
            if token < self._n_tokens:
                set_bit(packed, token, self.is_accepting())
        return packed

    def is_accepting(self) -> bool:
        """Whether the text so far may end here."""
        return bool(self._state.is_accepting())

    def forced(self) -> list[int]:
        """The tokens that must come next, as far as the constraint knows; not while the text may end."""
        forced = getattr(self._state, "forced", None)
        if forced is None or self.is_accepting():
            return []
        ids = [int(token) for token in forced()]
        ends = [at for at, token in enumerate(ids) if token in self._eos or token >= self._n_tokens]
        return ids[: ends[0]] if ends else ids

    def advance(self, token: int) -> None:
        """The text goes on with ``token``."""
        self._state.advance(token)

    def rollback(self, n_tokens: int) -> None:
        """Forget the last ``n_tokens`` tokens."""
        if n_tokens:
            self._state.rollback(n_tokens)

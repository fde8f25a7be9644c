"""What is every constraint, whoever decides?

A constraint is shared, a state belongs to one text. Compiled constraints decide in the core; a predicate, an automaton
in Python and the canonical filter decide here. ``a & b`` is compiled too where both are.
"""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import control as _core
from tokenloom._core.tokenizer import Tokenizer as CompiledTokenizer
from tokenloom.errors import ArrayError, ConstraintError, UnsupportedFeatureError
from tokenloom.tokenizer import Tokenizer

__all__ = [
    "END_TOKENS",
    "Compiled",
    "Conjunction",
    "Constraint",
    "Grammar",
    "Ids",
    "State",
    "copy_words",
    "core_state",
    "core_tokenizer",
    "end_tokens",
    "fill_masks",
    "kept",
    "not_allowed",
    "words_of",
]

Ids: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]

END_TOKENS = frozenset(
    {
        "</s>",
        "<eos>",
        "<end_of_turn>",
        "<|END_OF_TURN_TOKEN|>",
        "<|call|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|im_end|>",
        "<|return|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    }
)
"""The special tokens that end a text where the caller does not say which do."""


@runtime_checkable
class State(Protocol):
    """How far one text has come. Ids that are no token are not allowed, never an error of ``check``."""

    @property
    def ids(self) -> NDArray[np.uint32]:
        """The tokens taken so far, uint32 ``[n]``."""

    @property
    def prefix(self) -> bytes:
        """The bytes of the tokens taken so far, without end tokens."""

    def mask(self) -> NDArray[np.int32] | None:
        """The allowed tokens as packed words, int32 ``[ceil(V / 32)]``, or None where only ``check`` can tell.

        Bit ``id % 32`` of word ``id // 32`` is 1 where the token is allowed, as in xgrammar, llguidance and vLLM.

        Raises:
            ConstraintError: nothing is allowed and the text is not complete.
        """

    def fill_mask(self, out: Any) -> bool:
        """Write the mask into memory of the caller's.

        Args:
            out: int32 ``[n_words]``, NumPy or torch on the CPU, without gaps; words beyond the mask become 0.

        Returns:
            False, and ``out`` as it was, where there is no mask.

        Raises:
            ConstraintError: as :meth:`mask`.
        """

    def check(self, id: int) -> bool:
        """Whether the token is allowed: its bit of the mask."""

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        """Whether each token is allowed, bool ``[n]``."""

    def fork(self) -> State:
        """A state of its own at the same place."""

    def advance(self, id: int) -> None:
        """Take a token.

        Raises:
            ConstraintError: it is not allowed; the state is as before.
        """

    def rollback(self, n: int) -> None:
        """Take back the last ``n`` tokens.

        Raises:
            ConstraintError: fewer were taken; the state is as before.
        """

    def is_accepting(self) -> bool:
        """Whether the text is complete, so that an end token is allowed, or was taken."""

    def forced(self) -> NDArray[np.uint32]:
        """The tokens that must come next, uint32 ``[n]``: the encoder's choice for the bytes without alternative."""


class Constraint(ABC):
    """What a text must satisfy. ``a & b`` is satisfied where both are."""

    __slots__ = ()

    @abstractmethod
    def start(self) -> State:
        """The state before the first token."""

    def __and__(self, other: Constraint) -> Conjunction:
        if not isinstance(other, Constraint):
            return NotImplemented
        return Conjunction(self, other)


class Compiled(Constraint):
    """A constraint that the core walks, with masks. Made by :func:`tokenloom.control.json_schema` and its like."""

    __slots__ = ("_core", "_made_from")

    def __init__(
        self, kind: str, arguments: tuple[Any, ...], tokenizer: Tokenizer, eos: Collection[int] | None
    ) -> None:
        ends = end_tokens(tokenizer, eos)
        self._made_from = (kind, arguments, tokenizer, ends)
        self._core = getattr(_core.Constraint, kind)(*arguments, core_tokenizer(tokenizer), ends)

    @property
    def eos(self) -> frozenset[int]:
        """The tokens that end a text."""
        return frozenset(self._made_from[-1])

    def start(self) -> State:
        """The state before the first token."""
        return _CompiledState(self._core.start())

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self._made_from)


class Grammar(Compiled):
    """A constraint that a grammar describes: a JSON Schema, a regular expression, or rules."""

    __slots__ = ()


class Conjunction(Constraint):
    """A constraint that is satisfied where all its parts are. Made by ``a & b``.

    Its mask is the parts' masks joined, or None if a part has none. Each part may be satisfiable and the conjunction
    not: that shows as a dead end where no token is left.
    """

    __slots__ = ("_core", "parts")

    def __init__(self, *parts: Constraint) -> None:
        flat: list[Constraint] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Conjunction) else [part])
        self.parts: tuple[Constraint, ...] = tuple(flat)
        compiled = [part for part in flat if isinstance(part, Compiled)]
        self._core = _core.Constraint.conjunction([part._core for part in compiled]) if compiled else None

    def start(self) -> State:
        """The state before the first token."""
        # The core's parts come first: they are the cheapest to say no.
        states: list[State] = [] if self._core is None else [_CompiledState(self._core.start())]
        states += [part.start() for part in self.parts if not isinstance(part, Compiled)]
        return states[0] if len(states) == 1 else _ConjunctionState(states)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Conjunction, self.parts)


class _CompiledState:
    """A state of the core."""

    __slots__ = ("core",)

    def __init__(self, core: _core.State) -> None:
        self.core = core

    @property
    def ids(self) -> NDArray[np.uint32]:
        return self.core.ids

    @property
    def prefix(self) -> bytes:
        return self.core.prefix

    def mask(self) -> NDArray[np.int32]:
        return self.core.mask()

    def fill_mask(self, out: Any) -> bool:
        self.core.fill_mask(words_of(out, 1))
        return True

    def check(self, id: int) -> bool:
        try:
            return self.core.check(id)
        except OverflowError:
            return False

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        return self.core.check_many(ids)

    def fork(self) -> State:
        return _CompiledState(self.core.fork())

    def advance(self, id: int) -> None:
        try:
            self.core.advance(id)
        except OverflowError:
            raise not_allowed(id, self) from None

    def rollback(self, n: int) -> None:
        try:
            self.core.rollback(n)
        except OverflowError:
            kept(n, len(self.ids), self)
            raise

    def is_accepting(self) -> bool:
        return self.core.is_accepting()

    def forced(self) -> NDArray[np.uint32]:
        return self.core.forced()


class _ConjunctionState:
    __slots__ = ("_parts",)

    def __init__(self, parts: list[State]) -> None:
        self._parts = parts

    @property
    def ids(self) -> NDArray[np.uint32]:
        return self._parts[0].ids

    @property
    def prefix(self) -> bytes:
        return self._parts[0].prefix

    def mask(self) -> NDArray[np.int32] | None:
        joined: NDArray[np.int32] | None = None
        for part in self._parts:
            words = part.mask()
            if words is None:
                return None
            joined = words if joined is None else joined & words
        if joined is not None and not joined.any() and not self.is_accepting():
            step = len(self.ids)
            message = f"no token can follow after {step} tokens and the text is not complete"
            raise ConstraintError(message, prefix=self.prefix, step=step)
        return joined

    def fill_mask(self, out: Any) -> bool:
        return copy_words(self.mask(), out)

    def check(self, id: int) -> bool:
        return all(part.check(id) for part in self._parts)

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        ids = np.asarray(ids)
        allowed = np.ones(len(ids), dtype=np.bool_)
        for part in self._parts:
            allowed[allowed] = part.check_many(ids[allowed])
        return allowed

    def fork(self) -> State:
        return _ConjunctionState([part.fork() for part in self._parts])

    def advance(self, id: int) -> None:
        for n, part in enumerate(self._parts):
            try:
                part.advance(id)
            except BaseException:
                for done in self._parts[:n]:
                    done.rollback(1)
                raise

    def rollback(self, n: int) -> None:
        kept(n, len(self.ids), self)
        for part in self._parts:
            part.rollback(n)

    def is_accepting(self) -> bool:
        return all(part.is_accepting() for part in self._parts)

    def forced(self) -> NDArray[np.uint32]:
        """What the first part forces, as far as the others allow it."""
        ids = next((ids for part in self._parts if len(ids := part.forced())), np.empty(0, dtype=np.uint32))
        ahead = self.fork()
        for n, id in enumerate(ids.tolist()):
            if not ahead.check(id):
                return ids[:n]
            ahead.advance(id)
        return ids


def core_state(state: Any) -> _core.State | None:
    """The state in the core, where the constraint is compiled."""
    return state.core if isinstance(state, _CompiledState) else None


def fill_masks(states: Sequence[State | None], out: Any, threads: int | None = None) -> NDArray[np.bool_]:
    """Fill a row of a bitmask for every text of a batch.

    Rows are filled side by side without the interpreter lock; states that decide in Python are asked afterwards.

    Args:
        states: one a row; None for a text without a constraint, whose row allows everything.
        out: int32 ``[n, n_words]``, NumPy or torch on the CPU, without gaps: what vLLM and xgrammar call a token
            bitmask, bit ``id % 32`` of word ``id // 32`` is 1 where the token is allowed.
        threads: at most this many, the caller's among them; the others sleep between calls and go with the tokenizer.
            Every usable core where None.

    Returns:
        bool ``[n]``: False where a state has no mask; such a row allows everything, and ``check`` must be asked.

    Raises:
        ArrayError: ``out`` has another dtype or shape.
        ConstraintError: a text has come to a dead end; names it.
    """
    words = words_of(out, 2)
    if len(words) != len(states):
        raise ArrayError(
            f"expected out with a row for each of {len(states)} states, found {len(words)}", argument="out"
        )
    own = [core_state(state) for state in states]
    _core.fill_masks(own, words, n_threads(threads))
    has_mask = np.ones(len(states), dtype=np.bool_)
    for row, state in enumerate(states):
        if state is not None and own[row] is None:
            has_mask[row] = state.fill_mask(words[row])
    return has_mask


def n_threads(threads: int | None) -> int:
    """The number of threads that is meant."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"expected at least 1 thread, found {threads}")
    return threads


def words_of(out: Any, n_dimensions: int) -> NDArray[np.uint32]:
    """The caller's memory as words; nothing is copied.

    Raises:
        ArrayError: it is no writable int32 array of that many dimensions without gaps.
    """
    try:
        array = out if isinstance(out, np.ndarray) else np.asarray(out)
    except (RuntimeError, TypeError) as error:  # a tensor elsewhere, or one that records what is done to it
        raise ArrayError(f"expected out in memory that can be written, found {error}", argument="out") from error
    shares = array is out or hasattr(out, "__array_interface__") or hasattr(out, "data_ptr")
    fits = array.dtype in (np.int32, np.uint32) and array.ndim == n_dimensions
    if not (shares and fits and array.flags.c_contiguous and array.flags.writeable):
        raise ArrayError(
            f"expected out of dtype int32 with {n_dimensions} dimensions, writable and without gaps, found "
            f"{type(out).__name__} {list(array.shape)} of {array.dtype}",
            argument="out",
        )
    return array.view(np.uint32)


def copy_words(mask: NDArray[np.int32] | None, out: Any) -> bool:
    """Copy a mask into the caller's memory; False where there is none."""
    if mask is None:
        return False
    words = words_of(out, 1)
    n = min(len(words), len(mask))
    words[:n] = mask[:n].view(np.uint32)
    words[n:] = 0
    return True


def not_allowed(id: int, state: State) -> ConstraintError:
    """The error of a token that cannot be taken."""
    step = len(state.ids)
    return ConstraintError(f"token {id} is not allowed after {step} tokens", prefix=state.prefix, step=step)


def kept(n: int, step: int, state: State) -> int:
    """How many of ``step`` tokens are left without the last ``n``.

    Raises:
        ConstraintError: fewer were taken.
    """
    if not 0 <= n <= step:
        raise ConstraintError(f"cannot take back {n} tokens of {step}", prefix=state.prefix, step=step)
    return step - n


def end_tokens(tokenizer: Tokenizer, eos: Collection[int] | None) -> list[int]:
    """The tokens that end a text: the caller's, or those known by name.

    Raises:
        ConstraintError: one is no token.
    """
    if eos is None:
        return sorted(id for name, id in tokenizer.special_tokens.items() if name in END_TOKENS)
    ends = sorted(operator.index(id) for id in eos)
    for id in (*ends[:1], *ends[-1:]):
        if not 0 <= id < tokenizer.vocab_size:
            raise ConstraintError(f"end token {id} is not below {tokenizer.vocab_size}, the size of the vocabulary")
    return ends


def core_tokenizer(tokenizer: Tokenizer) -> CompiledTokenizer:
    """The compiled tokenizer, whose tokens are bytes.

    Raises:
        UnsupportedFeatureError: it is interpreted.
    """
    if not isinstance(tokenizer._core, CompiledTokenizer):
        raise UnsupportedFeatureError(
            "constraints need a tokenizer that is compiled: its tokens must be bytes of the text"
        )
    return tokenizer._core

"""Which tokens may come next, and what does a rejected draw weigh?

A constraint is compiled once for a tokenizer; ``start()`` gives a state that walks one text. States answer for all
tokens at once (``mask``) where that is possible, and always for single tokens (``check``). See
``docs/concepts/control.md``.

>>> import numpy as np, tokenloom as tl
>>> logprobs = np.log([0.5, 0.3, 0.2])
>>> token, log_weight, n_checks = tl.control.awrs(logprobs, lambda token: token != 0, rng=1)
>>> token in (1, 2), round(np.exp(log_weight), 6) in (0.2, 0.3, 0.5)
(True, True)
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import control as _core
from tokenloom._core.bytelevel import CanonicalLaw
from tokenloom._core.bytelevel import Sequence as TokenSequence
from tokenloom._core.tokenizer import Tokenizer as CompiledTokenizer
from tokenloom.errors import ConstraintError, ParamsError, UnsupportedFeatureError
from tokenloom.sample import Rng
from tokenloom.tokenizer import Tokenizer

__all__ = [
    "END_TOKENS",
    "Canonical",
    "Conjunction",
    "Constraint",
    "Grammar",
    "Predicate",
    "State",
    "awrs",
    "canonical",
    "json_schema",
    "lark",
    "predicate",
    "regex",
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


class Grammar(Constraint):
    """A constraint that knows the mask of all allowed tokens. Made by :func:`json_schema` and its like."""

    __slots__ = ("_core", "_made_from")

    def __init__(self, kind: str, source: str, tokenizer: Tokenizer, eos: Collection[int] | None) -> None:
        ends = _end_tokens(tokenizer, eos)
        self._made_from = (kind, source, tokenizer, ends)
        self._core = _core.Grammar(kind, source, tokenizer._core, ends)

    def start(self) -> State:
        """The state before the first token."""
        return self._core.start()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Grammar, self._made_from)


class Predicate(Constraint):
    """A constraint that asks a Python function. Made by :func:`predicate`."""

    __slots__ = ("complete", "eos", "fn", "special", "tokenizer")

    def __init__(
        self,
        fn: Callable[[bytes], bool],
        tokenizer: Tokenizer,
        complete: Callable[[bytes], bool] | None,
        eos: Collection[int] | None,
    ) -> None:
        self.fn, self.tokenizer, self.complete = fn, tokenizer, complete
        self.eos = frozenset(_end_tokens(tokenizer, eos))
        self.special = frozenset(tokenizer.special_tokens.values())

    def start(self) -> State:
        """The state before the first token."""
        return _PredicateState(self, ())


class Canonical(Constraint):
    """A constraint that keeps to canonical encodings. Made by :func:`canonical`."""

    __slots__ = ("_law", "context", "eos", "tokenizer")

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int], eos: Collection[int] | None) -> None:
        if not isinstance(tokenizer._core, CompiledTokenizer):
            raise UnsupportedFeatureError("the canonical filter needs byte pair encoding that is compiled")
        self.tokenizer, self.context = tokenizer, tuple(int(id) for id in context)
        self.eos = frozenset(_end_tokens(tokenizer, eos))
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


class Conjunction(Constraint):
    """A constraint that is satisfied where all its parts are. Made by ``a & b``.

    Its mask is the parts' masks joined, or None if a part has none. Each part may be satisfiable and the conjunction
    not: that shows as a dead end where no token is left.
    """

    __slots__ = ("parts",)

    def __init__(self, *parts: Constraint) -> None:
        self.parts = parts

    def start(self) -> State:
        """The state before the first token."""
        return _ConjunctionState([part.start() for part in self.parts])


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

    def check(self, id: int) -> bool:
        if self._has_ended():
            return False
        if id in self._constraint.eos:
            return self.is_accepting()
        extended = self._extended(int(id))
        return extended is not None and bool(self._constraint.fn(extended))

    def check_many(self, ids: Ids) -> NDArray[np.bool_]:
        return np.fromiter((self.check(id) for id in np.asarray(ids).tolist()), dtype=np.bool_)

    def fork(self) -> State:
        return _PredicateState(self._constraint, self._path)

    def advance(self, id: int) -> None:
        if not self.check(id):
            raise _not_allowed(id, self)
        extended = self.prefix if id in self._constraint.eos else self._extended(int(id))
        self._path = (*self._path, (int(id), extended or b""))

    def rollback(self, n: int) -> None:
        self._path = self._path[: _kept(n, len(self._path), self)]

    def is_accepting(self) -> bool:
        complete = self._constraint.complete
        return self._has_ended() or complete is None or bool(complete(self.prefix))

    def forced(self) -> NDArray[np.uint32]:
        return np.empty(0, dtype=np.uint32)


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
            raise _not_allowed(id, self)
        self._path = (*self._path, (int(id), pushed))

    def rollback(self, n: int) -> None:
        self._path = self._path[: _kept(n, len(self._path), self)]

    def is_accepting(self) -> bool:
        return self._has_ended() or self._here().ends()

    def forced(self) -> NDArray[np.uint32]:
        return np.empty(0, dtype=np.uint32)


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
        if not self.check(id):
            raise _not_allowed(id, self)
        parts = [part.fork() for part in self._parts]
        for part in parts:
            part.advance(id)
        self._parts = parts

    def rollback(self, n: int) -> None:
        _kept(n, len(self.ids), self)
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


def _not_allowed(id: int, state: State) -> ConstraintError:
    step = len(state.ids)
    return ConstraintError(f"token {id} is not allowed after {step} tokens", prefix=state.prefix, step=step)


def _kept(n: int, step: int, state: State) -> int:
    if not 0 <= n <= step:
        raise ConstraintError(f"cannot take back {n} tokens of {step}", prefix=state.prefix, step=step)
    return step - n


def _end_tokens(tokenizer: Tokenizer, eos: Collection[int] | None) -> list[int]:
    if eos is None:
        return sorted(id for name, id in tokenizer.special_tokens.items() if name in END_TOKENS)
    return sorted(int(id) for id in eos)


def json_schema(
    schema: Mapping[str, Any] | bool | str, tokenizer: Tokenizer, eos: Collection[int] | None = None
) -> Constraint:
    """Texts that are JSON and satisfy a JSON Schema.

    The schema is compiled by ``llguidance``; a keyword that it does not support is an error, never left out. Members
    come in the order of ``properties``; white space between tokens of JSON is allowed. References must be inside the
    schema (``#/...``).

    Args:
        schema: a mapping, True or False, or JSON text.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: the schema is not JSON, not a schema, not satisfiable, or uses an unsupported keyword.

    Geng et al., "JSONSchemaBench" (2025) compares engines and says what is covered.
    """
    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConstraintError(f"the JSON Schema cannot be written as JSON: {error}") from error
    return Grammar("json_schema", text, tokenizer, eos)


def regex(pattern: str, tokenizer: Tokenizer, eos: Collection[int] | None = None) -> Constraint:
    r"""Texts that a regular expression matches as a whole.

    Args:
        pattern: the syntax of Rust's ``regex`` crate, Unicode; no look-around, no back-references.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.

    Raises:
        ConstraintError: the pattern cannot be compiled.
    """
    return Grammar("regex", pattern, tokenizer, eos)


def lark(grammar: str, tokenizer: Tokenizer, eos: Collection[int] | None = None) -> Constraint:
    """Texts of a context-free grammar.

    Args:
        grammar: in ``llguidance``'s dialect of Lark; the text is what ``start`` derives.
        tokenizer: whose tokens the texts are made of.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`. The grammar does not
            spell them.

    Raises:
        ConstraintError: the grammar cannot be compiled.
    """
    return Grammar("lark", grammar, tokenizer, eos)


def predicate(
    fn: Callable[[bytes], bool],
    tokenizer: Tokenizer,
    complete: Callable[[bytes], bool] | None = None,
    eos: Collection[int] | None = None,
) -> Constraint:
    """Texts whose every token keeps ``fn(prefix)`` true.

    ``mask()`` of its states is None: use ``check``, or :func:`awrs` for samples with weights. What ``fn`` raises is
    raised unchanged.

    Args:
        fn: takes the bytes so far, the new token's included; they may end inside a character. Monotone: once
            false, false for every longer text.
        tokenizer: whose tokens the texts are made of.
        complete: whether a text may end; by default every text may.
        eos: the tokens that end a text; by default the special tokens named in :data:`END_TOKENS`.
    """
    return Predicate(fn, tokenizer, complete, eos)


def canonical(tokenizer: Tokenizer, context: Sequence[int] = (), eos: Collection[int] | None = None) -> Constraint:
    r"""Text is written as ``tokenizer.encode`` would write it.

    A token is allowed where some text's encoding starts with the tokens so far and it. Models that were trained on
    encoded text put little mass elsewhere; what they put there is lost to the text they mean. Has masks, which cost
    about one pass over the vocabulary's bits.

    Args:
        tokenizer: of the class that :class:`tokenloom.bytelevel.ByteModel` takes.
        context: the tokens of the prompt, where the first token is to fit them.
        eos: the tokens that may end the text, where it may end; found by name if not given.

    Raises:
        UnsupportedFeatureError: the tokenizer's splits cannot be followed byte by byte.

    Vieira et al., "Language models over canonical byte-pair encodings" (2025), section 3.

    >>> import tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={"</s>": 257})
    >>> state = tl.control.canonical(toy).start()
    >>> state.advance(97)
    >>> state.check(98), state.check(99), state.check(257)
    (False, True, True)
    """
    return Canonical(tokenizer, context, eos)


def awrs(
    logprobs: ArrayLike,
    check: Callable[[int], bool] | Any,
    rng: int | Rng,
    estimator: Literal["recursive"] = "recursive",
) -> tuple[int, float, int]:
    """Draw a token that ``check`` allows, and the weight that makes up for the tokens it forbids.

    Tokens are checked in the order in which plain sampling with the same rng would draw them without replacement; the
    first allowed one is returned. For every function f, the mean of ``exp(log_weight) * f(token)`` over seeds is the
    sum of ``p(t) * f(t)`` over the allowed tokens t: the weight is unbiased for the allowed mass and proper for the
    token. If everything is allowed, the token is that of plain sampling and the weight is the mass of the row.

    Adaptive weighted rejection sampling (Lipkin et al., 2025, section 4).

    Args:
        logprobs: natural log-probabilities, float32 or float64[V], after temperature, truncation and masks; need not be
            normalised, the weight then includes their mass.
        check: takes a token id and returns whether it may come next; or an object with ``check_many(ids) -> bool[n]``
            (ids uint32[n]), which is asked for batches of 2, 4, ... 64 tokens; or an object with ``check``.
        rng: an int seed (position 0), or a :class:`tokenloom.Rng`.
        estimator: ``"recursive"``: one check more than the first allowed token needs.

    Returns:
        ``(token, log_weight, n_checks)``; ``(-1, -inf, n_checks)`` where every token with mass is forbidden.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: NaN or +inf, or nothing above -inf.
        ParamsError: an unknown estimator.
        Exception: whatever ``check`` raises, as it is.
    """
    if estimator != "recursive":
        raise ParamsError(f"expected estimator 'recursive', found {estimator!r}")
    return _core.awrs(np.ascontiguousarray(logprobs), check, rng)

"""What do several byte models say together? Public in ``tokenloom.bytelevel``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenloom.errors import DistributionError, ParamsError
from tokenloom.sample import Params
from tokenloom.sample import sample as sample_tokens

__all__ = ["Ensemble", "EnsembleState", "State", "pool", "sample"]


class State(Protocol):
    """The bytes so far: a :class:`ByteState` or an :class:`EnsembleState`."""

    def next_byte(self) -> NDArray[np.float64]:
        """The natural log-probabilities of the next byte, float64 ``[257]``; slot 256 is an added token or the end."""

    def push(self, byte: int) -> None:
        """Go on with a byte."""

    def pop(self, n: int = 1) -> None:
        """Take back the last ``n`` bytes that were pushed."""

    def fork(self) -> State:
        """A state of its own at the same place."""


class Model(Protocol):
    """A :class:`ByteModel` or an :class:`Ensemble`."""

    def start(self, prompt: bytes = b"") -> State:
        """The state behind a prompt."""


class Ensemble:
    r"""Several byte models as one: bytes are what models with different vocabularies have in common.

    Args:
        models: byte models, ensembles among them.
        weights: one a model. A mixture's are made to sum to one, 1 each where not given. A product's are exponents,
            ``1 / n`` each where not given. They may be negative: ``Ensemble([base, expert, anti], [1, a, -a],
            "product")`` is proxy tuning.
        rule: ``"mixture"``: the weighted mean of the members' probabilities at every byte. A member under which the
            bytes so far are impossible drops out, the others share its weight. ``"product"``: the weighted product,
            normalised; all members must be able to go on, and a byte that one of them rules out is ruled out.

    Raises:
        ParamsError: no model, an unknown rule, or weights that do not fit.

    Liu et al., "Tuning language models by proxy" (2024).

    >>> import numpy as np, tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)}
    >>> one = tl.Tokenizer.from_tiktoken("one", pat_str=r"\s|\S+", mergeable_ranks=ranks, special_tokens={})
    >>> more = {**ranks, b"ab": 256}
    >>> two = tl.Tokenizer.from_tiktoken("two", pat_str=r"\s|\S+", mergeable_ranks=more, special_tokens={})
    >>> flat = lambda n: lambda contexts: np.full((len(contexts), n), -np.log(n))
    >>> model = tl.bytelevel.ByteModel
    >>> pool = Ensemble([model(flat(256), one), model(flat(257), two)])
    >>> p = np.exp(pool.start(b"a").next_byte())
    >>> bool(p[ord("b")] > p[ord("c")]), round(float(p.sum()), 12)
    (True, 1.0)
    """

    __slots__ = ("models", "rule", "weights")

    def __init__(
        self,
        models: Sequence[Model],
        weights: Sequence[float] | None = None,
        rule: Literal["mixture", "product"] = "mixture",
    ) -> None:
        if not models:
            raise ParamsError("expected at least one model, found none")
        if strangers := [model for model in models if not hasattr(model, "start")]:
            raise ParamsError(f"expected byte models or ensembles, found {type(strangers[0]).__name__}")
        if rule not in ("mixture", "product"):
            raise ParamsError(f"expected rule 'mixture' or 'product', found {rule!r}")
        given = np.full(len(models), 1 / len(models)) if weights is None else np.array(weights, dtype=np.float64)
        fits = given.shape == (len(models),) and bool(np.isfinite(given).all())
        if not fits or (rule == "mixture" and (given.min() < 0 or given.sum() <= 0)):
            raise ParamsError(f"expected a finite weight for each of {len(models)} models, found {weights}")
        self.models = tuple(models)
        self.rule: Literal["mixture", "product"] = rule
        self.weights: tuple[float, ...] = tuple((given / given.sum() if rule == "mixture" else given).tolist())

    def start(self, prompt: bytes = b"") -> EnsembleState:
        """The state behind a prompt.

        Raises:
            DistributionError: no member (of a product: not every member) has an encoding that begins with the prompt.
        """
        members: list[State | None] = []
        for model in self.models:
            try:
                members.append(model.start(prompt))
            except DistributionError as error:
                if self.rule == "product" or _is_broken(error):
                    raise
                members.append(None)
        if not any(members):
            raise DistributionError("no member of the ensemble has an encoding that begins with the prompt")
        return EnsembleState(self, members)

    def score(self, text: bytes) -> float:
        """The natural log-probability of ``text``: the sum over its bytes. One call of each model a byte."""
        state, total = self.start(), 0.0
        for at, byte in enumerate(text):
            total += float(state.next_byte()[byte])
            if total == -np.inf:
                return total
            if at + 1 < len(text):
                state.push(byte)
        return total

    def sample(
        self, prompt: bytes = b"", max_bytes: int = 256, params: Params | None = None, seed: int = 0
    ) -> tuple[bytes, NDArray[np.float64]]:
        """Draw bytes until an added token or the end comes; see :func:`sample`. Truncation applies to the pool."""
        return sample(self.start(prompt), max_bytes, params, seed)


class EnsembleState:
    """The bytes so far under all members. Made by :meth:`Ensemble.start`; used like :class:`ByteState`."""

    __slots__ = ("_ensemble", "_members", "_past")

    def __init__(self, ensemble: Ensemble, members: list[State | None]) -> None:
        self._ensemble, self._members = ensemble, members
        # Members that the last byte silenced, and the same of the bytes before it.
        self._past: tuple[dict[int, State], Any] | None = None

    @property
    def alive(self) -> tuple[bool, ...]:
        """Which members can go on."""
        return tuple(member is not None for member in self._members)

    def next_byte(self) -> NDArray[np.float64]:
        """The natural log-probabilities of the next byte under the pool, float64 ``[257]``.

        Raises:
            DistributionError: the members of a product have no byte in common, no member can go on, or a member's row
                holds NaN or more than 0, which never counts as dropping out.
        """
        ensemble = self._ensemble
        laws, weights = [], []
        for member, weight in zip(self._members, ensemble.weights, strict=True):
            if member is None:
                continue
            try:
                laws.append(member.next_byte())
                weights.append(weight)
            except DistributionError as error:
                if ensemble.rule == "product" or _is_broken(error):
                    raise
        pooled = pool(np.array(laws).reshape(-1, 257), np.array(weights), ensemble.rule)
        if not np.isfinite(pooled).any():
            raise DistributionError("the members of the ensemble have no byte in common")
        return pooled

    def push(self, byte: int) -> None:
        """Go on with a byte.

        Raises:
            DistributionError: no member (of a product: not every member) can; the state is as before.
            ParamsError: no byte.
        """
        check_byte(byte)
        silenced: dict[int, State] = {}
        for at, member in enumerate(self._members):
            if member is None:
                continue
            try:
                member.push(byte)
            except DistributionError:
                silenced[at] = member
        alive = [at for at, member in enumerate(self._members) if member is not None and at not in silenced]
        if not alive or (silenced and self._ensemble.rule == "product"):
            for at in alive:
                member = self._members[at]
                assert member is not None
                member.pop()
            raise DistributionError(f"byte {byte} ends the encodings of members {sorted(silenced)} of the ensemble")
        for at in silenced:
            self._members[at] = None
        self._past = (silenced, self._past)

    def pop(self, n: int = 1) -> None:
        """Take back the last ``n`` bytes that were pushed.

        Raises:
            ParamsError: fewer were pushed; the state is as before.
        """
        check_count(n)
        past = self._past
        for _ in range(n):
            if past is None:
                raise ParamsError(f"expected at most the bytes that were pushed, found {n} to take back")
            past = past[1]
        for _ in range(n):
            for member in self._members:
                if member is not None:
                    member.pop()
            assert self._past is not None
            silenced, self._past = self._past
            # Forks share what is silent, so what speaks again is a fork of its own.
            for at, member in silenced.items():
                self._members[at] = member.fork()

    def fork(self) -> EnsembleState:
        """A state of its own at the same place."""
        fork = EnsembleState(self._ensemble, [member and member.fork() for member in self._members])
        fork._past = self._past
        return fork


def check_byte(byte: int) -> None:
    """A byte is an integer from 0 to 255."""
    if not 0 <= byte < 256:
        raise ParamsError(f"expected a byte from 0 to 255, found {byte}")


def check_count(n: int) -> None:
    """How many bytes to draw, or to take back."""
    if n < 0:
        raise ParamsError(f"expected at least 0 bytes, found {n}")


def _is_broken(error: DistributionError) -> bool:
    """Whether a row of the model was no distribution, rather than one without the bytes asked about."""
    return error.row is not None


def pool(log_probs: NDArray[np.float64], weights: NDArray[np.float64], rule: str) -> NDArray[np.float64]:
    """Members' laws ``[n, 257]`` as one, natural logarithms; all minus infinity where nothing is left."""
    if not len(log_probs):
        return np.full(257, -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        if rule == "mixture":
            pooled = np.logaddexp.reduce(log_probs + np.log(weights)[:, None], axis=0)
        else:
            possible = np.isfinite(log_probs).all(axis=0)
            pooled = np.where(possible, weights @ np.where(possible, log_probs, 0.0), -np.inf)
        total = np.logaddexp.reduce(pooled)
    if total == -np.inf:
        return np.full(257, -np.inf)
    normed: NDArray[np.float64] = pooled - total
    return normed


def sample(
    state: State, max_bytes: int = 256, params: Params | None = None, seed: int = 0
) -> tuple[bytes, NDArray[np.float64]]:
    """Draw bytes until an added token or the end comes. Temperature and truncation apply to bytes, not to tokens.

    Args:
        state: is pushed along.
        max_bytes: bytes at most; not negative.
        params: sampling rules.
        seed: the draw at byte ``i`` depends on the law, the seed and ``i``.

    Returns:
        The bytes, and the natural log-probability of each under the model, rules aside.
    """
    check_count(max_bytes)
    drawn, log_probs = bytearray(), []
    for position in range(max_bytes):
        law = state.next_byte()
        row = law[None].astype(np.float32)
        token = int(
            sample_tokens(row, params or Params(), seeds=np.array([seed], np.uint64), positions=position).tokens[0]
        )
        if token == 256:
            break
        drawn.append(token)
        log_probs.append(law[token])
        state.push(token)
    return bytes(drawn), np.array(log_probs, dtype=np.float64)

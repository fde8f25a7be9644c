"""How is the next token drawn from logits, reproducibly?

A draw is a race: token ``t`` arrives after an exponential waiting time divided by its probability, and the first to
arrive is taken. Waiting times are a pure function of (seed, position, token, purpose), so a request draws the same
tokens alone or in any batch, and truncation never changes the noise. See ``docs/concepts/sample.md``.

>>> import numpy as np, tokenloom as tl
>>> logits = np.array([[1.0, 3.0, 2.0, -1.0]], dtype=np.float32)
>>> drawn = tl.sample.sample(logits, tl.sample.Params(temperature=0.7, top_k=2), seeds=7, positions=0)
>>> int(drawn.tokens[0]) in (1, 2)
True
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import sample as _core
from tokenloom._core.sample import Rng
from tokenloom.errors import ArrayError, DistributionError, ParamsError

__all__ = [
    "MAX_VOCAB",
    "Params",
    "Purpose",
    "Rng",
    "Sampled",
    "SampledWithMargins",
    "Status",
    "distribution",
    "keep_set",
    "rules_of",
    "sample",
    "seeds",
    "waiting_times",
]

ORDERS = ("hf",)
#: The widest row that can be drawn from.
MAX_VOCAB = _core.MAX_VOCAB


class Purpose(enum.IntEnum):
    """What a random number is used for; two purposes never share one. AWRS pass ``n`` is ``AWRS + n``."""

    SAMPLE = 0
    DRAFT = 1
    ACCEPT = 2
    RESIDUAL = 3
    AWRS = 4
    RESAMPLE = 0x4000_0000


class Status(enum.IntEnum):
    """Why a row has no token."""

    OK = 0
    #: An allowed logit is NaN or +inf.
    NOT_FINITE = 1
    #: No token is allowed, or every allowed logit is -inf.
    EMPTY = 2


@dataclass(frozen=True, slots=True)
class Params:
    """The sampling rules of a request. The default of each field switches its rule off.

    Rules apply in the order of Hugging Face's processors, each to the renormalised survivors of the one before.
    Tokens are ordered by (logit, falling; id, rising), and a cut through equal values is exact; the processors keep
    every token that ties with the last one.

    Attributes:
        temperature: Logits are divided by it; 0 takes the best token, ties to the smallest id, and ignores the rest.
        top_k: Keep this many of the best tokens (Fan et al. 2018); 0 keeps all.
        top_p: Keep the shortest prefix, best first, whose mass reaches it (Holtzman et al. 2020).
        min_p: Keep tokens with at least this share of the best one's probability (Nguyen et al. 2025).
        typical_p: Keep the tokens whose surprise is closest to the entropy, up to this mass (Meister et al. 2023).
        order: The order of the rules. ``"hf"`` is the only one there is.

    Raises:
        ParamsError: A field is out of its range; the message names it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    order: str = "hf"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ParamsError(f"expected order to be one of {', '.join(map(repr, ORDERS))}, found {self.order!r}")
        _core.check_params(self.temperature, self.top_k, self.top_p, self.min_p, self.typical_p)


class Sampled(NamedTuple):
    """One drawn token a row: NumPy arrays, or torch tensors where the logits were one.

    Attributes:
        tokens: int64[B]; -1 where the row could not be drawn from.
        logprobs: float32[B], natural logarithm of the probability with which the rules draw the token (0 where the
            temperature is 0); NaN where there is no token.
        status: int8[B], a :class:`Status`.
    """

    tokens: Any
    logprobs: Any
    status: Any


class SampledWithMargins(NamedTuple):
    """:class:`Sampled`, and how clear each choice was.

    Attributes:
        tokens: See :class:`Sampled`.
        logprobs: See :class:`Sampled`.
        status: See :class:`Sampled`.
        margins: float32[B], nats: the gap between the logarithms of the two best arrival times (between the two best
            logits where the temperature is 0); ``inf`` with one candidate. Logits that move by less than half of it
            cannot change the token, as long as the same tokens are kept.
    """

    tokens: Any
    logprobs: Any
    status: Any
    margins: Any


Rules: TypeAlias = tuple[
    NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]


@overload
def sample(
    logits: Any,
    params: Params | Sequence[Params] = ...,
    seeds: Any = ...,
    positions: Any = ...,
    mask: Any = ...,
    *,
    purpose: int = ...,
    return_margins: Literal[False] = ...,
) -> Sampled: ...


@overload
def sample(
    logits: Any,
    params: Params | Sequence[Params] = ...,
    seeds: Any = ...,
    positions: Any = ...,
    mask: Any = ...,
    *,
    purpose: int = ...,
    return_margins: Literal[True],
) -> SampledWithMargins: ...


def sample(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    seeds: Any = 0,
    positions: Any = 0,
    mask: Any = None,
    *,
    purpose: int = Purpose.SAMPLE,
    return_margins: bool = False,
) -> Sampled | SampledWithMargins:
    """Draw one token a row. The same (logits, params, seed, position) gives the same token in every batch.

    Args:
        logits: float[B, V], NumPy or torch (CPU or CUDA). Draws are made in float32; wider rows are rounded first.
        params: One :class:`Params`, or one a row.
        seeds: uint64[B]; one int serves a single row only, see :func:`seeds`.
        positions: int64[B], at least 0: the absolute position of the token that is drawn; one int serves all rows.
        mask: int32[B, ceil(V / 32)] or one such row; bit ``t % 32`` of word ``t // 32`` set allows token ``t``.
        purpose: What the random numbers are for: :class:`Purpose`.
        return_margins: Return :class:`SampledWithMargins`.

    Returns:
        Tokens, log-probabilities and statuses. A row that cannot be drawn from has token -1 and a status, and changes
        nothing in the others.

    Raises:
        ArrayError: An array has the wrong dtype or shape.
    """
    if _is_torch(logits):
        from tokenloom.torch import sampling

        drawn = sampling.sample(logits, params, seeds, positions, mask, purpose)
    else:
        rows = _rows(logits)
        n_rows, n_vocab = rows.shape
        drawn = SampledWithMargins(
            *_core.draw(
                _float32(rows),
                rules_of(params, n_rows),
                checked_seeds(seeds, n_rows),
                checked_positions(positions, n_rows),
                checked_mask(mask, n_rows, n_vocab),
                purpose,
            )
        )
    return drawn if return_margins else Sampled(*drawn[:3])


def keep_set(
    logits: ArrayLike, params: Params | Sequence[Params] = Params(), mask: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Which tokens the rules keep: bool[B, V]. Arguments as in :func:`sample`.

    Raises:
        DistributionError: A row has no token; ``error.row`` says which.
    """
    rows = _rows(logits)
    flags, statuses = _core.keep_sets(
        _float32(rows), rules_of(params, len(rows)), checked_mask(mask, len(rows), rows.shape[1])
    )
    _check(statuses)
    return flags


def distribution(
    logits: ArrayLike, params: Params | Sequence[Params] = Params(), mask: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The distribution that :func:`sample` draws from: float64[B, V] probabilities. Arguments as in :func:`sample`.

    The kept tokens are those of the draw (chosen in float32); their probabilities are exact to float64, also for
    float64 logits. The draw itself rounds weights to float32: a relative error below 1e-6.

    Raises:
        DistributionError: A row has no token; ``error.row`` says which.
    """
    rows = _rows(logits)
    exact = np.ascontiguousarray(rows) if rows.dtype == np.float64 else None
    probs, statuses = _core.probabilities(
        _float32(rows), exact, rules_of(params, len(rows)), checked_mask(mask, len(rows), rows.shape[1])
    )
    _check(statuses)
    return probs


def seeds(seed: int | Rng, n_rows: int) -> NDArray[np.uint64]:
    """Unrelated seeds for the rows of a batch, uint64[n_rows]: rows that shared one would share their noise."""
    return _core.derive_seeds(seed, n_rows)


def waiting_times(rng: int | Rng, n_tokens: int, purpose: int = Purpose.SAMPLE) -> NDArray[np.float32]:
    """The exponential waiting times of tokens ``0 .. n_tokens`` at this seed and position, float32[n_tokens]."""
    return _core.waiting_times(rng, purpose, n_tokens)


def rules_of(params: Params | Sequence[Params], n_rows: int) -> Rules:
    """The fields of one :class:`Params`, or of one a row, as arrays (temperature, top_k, top_p, min_p, typical_p)."""
    each = [params] if isinstance(params, Params) else list(params)
    if not isinstance(params, Params) and len(each) != n_rows:
        raise ArrayError(f"expected one Params or one a row ({n_rows}), found {len(each)}", argument="params")
    for item in each:
        if not isinstance(item, Params):
            raise ArrayError(f"expected params to be tokenloom.sample.Params, found {type(item).__name__}")
    return (
        np.array([item.temperature for item in each], dtype=np.float64),
        np.array([min(item.top_k, 2**63 - 1) for item in each], dtype=np.int64),
        np.array([item.top_p for item in each], dtype=np.float64),
        np.array([item.min_p for item in each], dtype=np.float64),
        np.array([item.typical_p for item in each], dtype=np.float64),
    )


def _is_torch(array: object) -> bool:
    return any(cls.__module__.partition(".")[0] == "torch" for cls in type(array).__mro__)


def _check(statuses: Sequence[int]) -> None:
    reasons = {Status.NOT_FINITE: "an allowed logit is NaN or +inf", Status.EMPTY: "no allowed logit is above -inf"}
    for row, status in enumerate(statuses):
        if status != Status.OK:
            raise DistributionError(
                f"expected a row to draw from, found that {reasons[Status(status)]} at row {row}", row=row
            )


def _rows(logits: ArrayLike) -> NDArray[Any]:
    rows = np.asarray(logits)
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 8:
        raise ArrayError(f"expected logits of dtype float16, float32 or float64, found {rows.dtype}", argument="logits")
    if rows.ndim != 2:
        hint = "\nhint: logits[None] is a batch of one row" if rows.ndim == 1 else ""
        raise ArrayError(f"expected logits of shape [B, V], found {list(rows.shape)}{hint}", argument="logits")
    return rows


def _float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite: NOT_FINITE or impossible
        return np.ascontiguousarray(rows, dtype=np.float32)


def _integers(values: Any, n_rows: int, argument: str, broadcast: bool) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 0 and (broadcast or n_rows == 1):
        array = np.broadcast_to(array, (n_rows,))
    if array.shape != (n_rows,):
        hint = "\nhint: tokenloom.sample.seeds(seed, n_rows) gives each row its own" if array.ndim == 0 else ""
        raise ArrayError(f"expected {argument} of shape [{n_rows}], found {list(array.shape)}{hint}", argument=argument)
    if array.size and array.dtype.kind not in "iu":
        raise ArrayError(f"expected {argument} of an integer dtype, found {array.dtype}", argument=argument)
    return array


def checked_seeds(values: Any, n_rows: int) -> NDArray[np.uint64]:
    """Seeds as uint64[B]."""
    if isinstance(values, int) and not 0 <= values < 2**64:
        raise ArrayError(f"expected seeds between 0 and 2**64 - 1, found {values}", argument="seeds")
    # int64 seeds, all that torch has, are read as the same 64 bits.
    return np.ascontiguousarray(_integers(values, n_rows, "seeds", broadcast=False).astype(np.uint64))


def checked_positions(values: Any, n_rows: int) -> NDArray[np.uint64]:
    """Positions as uint64[B]."""
    array = _integers(values, n_rows, "positions", broadcast=True)
    if array.size and int(array.min()) < 0:
        raise ArrayError(f"expected positions of at least 0, found {array.min()}", argument="positions")
    return np.ascontiguousarray(array.astype(np.uint64))


def checked_mask(mask: Any, n_rows: int, n_vocab: int) -> NDArray[np.uint32] | None:
    """A mask as uint32[B, ceil(V / 32)]."""
    if mask is None:
        return None
    words = np.asarray(mask)
    n_words = -(-n_vocab // 32)
    if words.dtype not in (np.int32, np.uint32):
        raise ArrayError(f"expected mask of dtype int32 or uint32, found {words.dtype}", argument="mask")
    if words.shape not in ((n_rows, n_words), (n_words,)):
        raise ArrayError(f"expected mask of shape [{n_rows}, {n_words}], found {list(words.shape)}", argument="mask")
    return np.ascontiguousarray(np.broadcast_to(words, (n_rows, n_words))).view(np.uint32)

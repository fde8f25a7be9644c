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
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Literal, NamedTuple, SupportsFloat, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._combining import BeamStep, beam_step, cap, contrast, guide
from tokenloom._core import sample as _core
from tokenloom._core.sample import Rng
from tokenloom._sample_arrays import (
    check,
    checked_mask,
    checked_positions,
    checked_seeds,
    checked_texts,
    float32,
    rows_of_logits,
)
from tokenloom.errors import ArrayError, ParamsError

__all__ = [
    "MAX_VOCAB",
    "QUANTILES",
    "BeamStep",
    "Bfloat16Bits",
    "DistinctDraws",
    "Draws",
    "LogitStats",
    "Params",
    "Purpose",
    "Rng",
    "Sampled",
    "SampledWithMargins",
    "Status",
    "beam_step",
    "cap",
    "contrast",
    "distribution",
    "draw",
    "guide",
    "keep_set",
    "process",
    "sample",
    "sample_distinct",
    "seeds",
    "waiting_times",
]

#: The widest row that can be drawn from.
MAX_VOCAB = _core.MAX_VOCAB
#: The shares of the mass at which :class:`LogitStats` gives the surprise.
QUANTILES = _core.QUANTILES


class Purpose(enum.IntEnum):
    """What a random number is used for; two purposes never share one. AWRS pass ``n`` is ``AWRS + n``."""

    SAMPLE = 0
    DRAFT = 1
    ACCEPT = 2
    RESIDUAL = 3
    AWRS = 4
    RESAMPLE = 0x4000_0000
    #: The coin of XTC: one a position, whatever is drawn, because it decides about the distribution itself.
    XTC = 0x4000_0001


class Status(enum.IntEnum):
    """Why a row has no token."""

    OK = 0
    #: An allowed logit is NaN or +inf.
    NOT_FINITE = 1
    #: No token is allowed, or every allowed logit is -inf.
    EMPTY = 2


Tokens: TypeAlias = Sequence[int]


@dataclass(frozen=True, slots=True)
class Params:
    """The sampling rules of a request. The default of each field switches its rule off.

    Bias, penalties and bans change single logits and come first; the other rules apply in ``order``, each to the
    renormalised survivors of the one before. Definitions, papers and the three hosts' differences:
    ``docs/concepts/sample.md``.

    Attributes:
        temperature: Logits are divided by it; 0 takes the best token of what is left, ties to the smallest id.
        top_k: Keep this many of the best tokens (Fan et al. 2018); 0 keeps all.
        top_p: Keep the shortest prefix, best first, whose mass reaches it (Holtzman et al. 2020).
        min_p: Keep tokens with at least this share of the best one's probability (Nguyen et al. 2025).
        typical_p: Keep the tokens whose surprise is closest to the entropy, up to this mass (Meister et al. 2023).
        order: ``"hf"``, ``"vllm"``, ``"llamacpp"``, ``"joint"`` (top-p of the whole distribution and top-k) or a tuple
            of ``temperature``, ``top_k``, ``top_k_with_ties``, ``top_p``, ``min_p``, ``typical_p``,
            ``typical_p_with_ties``, ``epsilon_cutoff``, ``eta_cutoff``, ``top_n_sigma``, ``p_less``, ``xtc``,
            ``mirostat``, each at most once; what is not listed is not applied.
        dynatemp_range: The temperature lies between ``temperature`` plus and minus this, growing with the entropy.
        dynatemp_exponent: The power of the entropy's share of its maximum.
        epsilon_cutoff: Keep tokens with at least this probability (Hewitt et al. 2022).
        eta_cutoff: Keep tokens with at least ``min(eta, sqrt(eta) e^-H)`` (Hewitt et al. 2022).
        top_n_sigma: Keep logits within this many standard deviations of the best (Tang et al. 2024).
        p_less: 1 keeps tokens with at least ``sum p^2``, 2 with ``(V sum p^2 - 1) / (V - 1)`` (Tan et al. 2025).
        xtc_probability: How often XTC removes the obvious choices, all but the least likely of them.
        xtc_threshold: The probability of an obvious choice; above 0.5 switches XTC off.
        mirostat: 1 or 2, the version (Basu et al. 2021); the state goes in and out of :func:`draw`.
        mirostat_tau: The surprise aimed at, in bits.
        mirostat_eta: The learning rate.
        repetition_penalty: Divides positive logits of seen tokens, multiplies others (Keskar et al. 2019).
        frequency_penalty: Taken from a logit for each time the token was seen.
        presence_penalty: Taken once from the logit of a seen token. With ``order="vllm"`` both see the output alone.
        penalty_last_n: The three penalties look at this many of the last tokens; -1 at all.
        dry_multiplier: Factor of DRY: a token that would continue a repetition of ``n >= dry_allowed_length`` tokens
            loses ``dry_multiplier * dry_base ** (n - dry_allowed_length)``.
        dry_base: Its base.
        dry_allowed_length: Shorter repetitions are free.
        dry_last_n: DRY looks at this many of the last tokens; -1 at all.
        dry_breakers: Sequences of tokens that a repetition may not reach across.
        no_repeat_ngram_size: No sequence of this many tokens may come twice.
        bias: Added to logits: ``{token: bias}`` or ``{(token, token, ...): bias}``, which biases the last one where the
            text ends with the others; ``-inf`` forbids.
        bad_words: Sequences of tokens that may not appear. With ``order="vllm"`` the output alone is looked at.
        allowed_ids: Tokens that may be drawn; empty allows all.
        min_tokens: ``stop_ids`` are forbidden until the output has this many tokens.
        stop_ids: Tokens that end the text.

    Raises:
        ParamsError: A field is out of its range; the message names it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    order: str | tuple[str, ...] = "hf"
    _: KW_ONLY
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    top_n_sigma: float = 0.0
    p_less: int = 0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = -1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_last_n: int = -1
    dry_breakers: Sequence[Tokens] = ()
    no_repeat_ngram_size: int = 0
    bias: Mapping[int | Tokens, float] | Sequence[tuple[Tokens, float]] = ()
    bad_words: Sequence[Tokens] = ()
    allowed_ids: Tokens = ()
    min_tokens: int = 0
    stop_ids: Tokens = ()
    rules: _core.Rules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for each in fields(self):
            if isinstance(each.default, float):
                put(each.name, _number(each.name, getattr(self, each.name)))
            elif isinstance(each.default, int):
                put(each.name, _count(each.name, getattr(self, each.name)))
        put("order", self.order if isinstance(self.order, str) else tuple(_iterable("order", self.order)))
        pairs = _iterable("bias", self.bias.items() if isinstance(self.bias, Mapping) else self.bias)
        put("bias", tuple(_phrase(pair) for pair in pairs))
        for name in ("dry_breakers", "bad_words"):
            put(name, tuple(_tuple(name, tokens) for tokens in _iterable(name, getattr(self, name))))
        put("allowed_ids", _tuple("allowed_ids", self.allowed_ids))
        put("stop_ids", _tuple("stop_ids", self.stop_ids))
        put("rules", _core.Rules(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_params, ({each.name: getattr(self, each.name) for each in fields(self) if each.init},))


def _params(values: dict[str, Any]) -> Params:
    return Params(**values)


def _number(name: str, value: Any) -> float:
    if isinstance(value, str) or not isinstance(value, SupportsFloat):
        raise ParamsError(f"expected {name} to be a number, found {value!r}")
    return float(value)


def _count(name: str, value: Any) -> int:
    """A count is cut to what 64 bits hold: more than a text ever has."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ParamsError(f"expected {name} to be an integer, found {value!r}") from None
    limit = 2**31 if name in ("p_less", "mirostat") else 2**63
    if name in ("p_less", "mirostat") and number < 0:
        raise ParamsError(f"expected {name} 0, 1 or 2, found {number}")
    return max(min(number, limit - 1), -limit)


def _iterable(name: str, values: Any) -> Iterable[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ParamsError(f"expected {name} to be a sequence, found {values!r}")
    return values


def _phrase(pair: Any) -> tuple[tuple[int, ...], float]:
    try:
        tokens, bias = pair
    except (TypeError, ValueError):
        raise ParamsError(f"expected bias to be pairs of tokens and a number, found {pair!r}") from None
    is_one = isinstance(tokens, (int, np.integer))
    return _tuple("bias", (tokens,) if is_one else tokens), _number("bias", bias)


def _tuple(name: str, tokens: Any) -> tuple[int, ...]:
    try:
        ids = tuple(operator.index(token) for token in _iterable(name, tokens))
    except TypeError:
        raise ParamsError(f"expected token ids in {name}, found {tokens!r}") from None
    if any(not 0 <= token < 2**32 for token in ids):
        raise ParamsError(f"expected token ids between 0 and 2**32 - 1 in {name}, found {ids}")
    return ids


def _checked_purpose(purpose: int) -> None:
    """Bit 31 of the word belongs to the second half of a token's number."""
    if not 0 <= purpose < 2**31:
        raise ParamsError(f"expected a purpose between 0 and 2**31 - 1, found {purpose}")


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


class LogitStats(NamedTuple):
    """What the model's own distribution looks like: temperature 1, no mask, no penalties. Natural logarithms.

    Attributes:
        log_norm: float32[B], the logarithm of the sum of ``e**logit``.
        entropy: float32[B], the mean of the surprise ``-log p``.
        varentropy: float32[B], the variance of the surprise.
        collision: float32[B], ``sum p**2``: how often two draws agree.
        max_logprob: float32[B], of the best token.
        margin: float32[B], the gap between the two best logits.
        rank: int64[B], how many tokens are better than the drawn one.
        mass_above: float32[B], their probability.
        quantiles: float32[B, 6], the surprise of the token at which the mass of the best tokens reaches each of
            :data:`QUANTILES`.
    """

    log_norm: Any
    entropy: Any
    varentropy: Any
    collision: Any
    max_logprob: Any
    margin: Any
    rank: Any
    mass_above: Any
    quantiles: Any


class Draws(NamedTuple):
    """Everything about one draw a row: NumPy arrays, or torch tensors where the logits were one.

    Attributes:
        tokens: See :class:`Sampled`.
        logprobs: See :class:`Sampled`.
        status: See :class:`Sampled`.
        margins: See :class:`SampledWithMargins`.
        raw_logprobs: float32[B], of the same tokens under the model: temperature 1, no mask, no penalties.
        mirostat_mu: float32[B], the state to pass with the next position, in bits.
        stats: :class:`LogitStats`.
        top_tokens: int64[B, n_top], best first; -1 where fewer can be drawn.
        top_logprobs: float32[B, n_top], theirs under the model or the rules; ``-inf`` where there is none.
    """

    tokens: Any
    logprobs: Any
    status: Any
    margins: Any
    raw_logprobs: Any
    mirostat_mu: Any
    stats: LogitStats
    top_tokens: Any
    top_logprobs: Any


class DistinctDraws(NamedTuple):
    """Tokens of a row drawn one after the other, none twice.

    Attributes:
        tokens: int64[B, n], in the order of the draws; -1 where a row has fewer.
        logprobs: float64[B, n], of each token in a single draw.
        keys: float64[B, n], the log-probability and Gumbel noise; they fall.
        status: int8[B], a :class:`Status`.
    """

    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    keys: NDArray[np.float64]
    status: NDArray[np.int8]


class Bfloat16Bits(NamedTuple):
    """Logits in bfloat16, which NumPy does not have.

    Attributes:
        bits: uint16[B, V].
    """

    bits: NDArray[np.uint16]


@overload
def sample(
    logits: Any,
    params: Params | Sequence[Params] = ...,
    seeds: Any = ...,
    positions: Any = ...,
    mask: Any = ...,
    history: Any = ...,
    *,
    prompt_lengths: Any = ...,
    purpose: int = ...,
    return_margins: Literal[False] = ...,
    threads: int | None = ...,
) -> Sampled: ...


@overload
def sample(
    logits: Any,
    params: Params | Sequence[Params] = ...,
    seeds: Any = ...,
    positions: Any = ...,
    mask: Any = ...,
    history: Any = ...,
    *,
    prompt_lengths: Any = ...,
    purpose: int = ...,
    return_margins: Literal[True],
    threads: int | None = ...,
) -> SampledWithMargins: ...


def sample(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    seeds: Any = 0,
    positions: Any = 0,
    mask: Any = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
    purpose: int = Purpose.SAMPLE,
    return_margins: bool = False,
    threads: int | None = None,
) -> Sampled | SampledWithMargins:
    """Draw one token a row. The same (logits, params, seed, position) gives the same token in every batch.

    Args:
        logits: float[B, V], NumPy or torch (CPU or CUDA); bfloat16 as torch has it or as :class:`Bfloat16Bits`. Draws
            are made in float32; float64 is rounded first.
        params: One :class:`Params`, or one a row.
        seeds: uint64[B]; one int serves a single row only, see :func:`seeds`.
        positions: int64[B], at least 0: the absolute position of the token that is drawn; one int serves all rows.
        mask: int32[B, ceil(V / 32)] or one such row; bit ``t % 32`` of word ``t // 32`` set allows token ``t``.
        history: The text so far of each row, prompt first, for the rules that look at it: B sequences of ids, an int
            array [B, n] or a :class:`tokenloom.Ragged`.
        prompt_lengths: int64[B], how many tokens of ``history`` are the prompt; one int serves all rows.
        purpose: What the random numbers are for: :class:`Purpose`.
        return_margins: Return :class:`SampledWithMargins`.
        threads: At most this many threads, which live for this call only; as many as pay where ``None``. They do not
            change the tokens.

    Returns:
        Tokens, log-probabilities and statuses. A row that cannot be drawn from has token -1 and a status, and changes
        nothing in the others.

    Raises:
        ArrayError: An array has the wrong dtype or shape.
        ParamsError: A rule needs ``history`` and there is none.
    """
    _checked_purpose(purpose)
    if _is_torch(logits):
        from tokenloom.torch import sampling

        drawn = sampling.sample(
            logits, params, seeds, positions, mask, history, prompt_lengths, purpose=purpose, threads=threads
        )
    else:
        batch = _Batch(logits, params, mask)
        arguments = batch.arguments(batch.addresses(seeds, positions), batch.texts(history, prompt_lengths))
        drawn = SampledWithMargins(*_core.draw(arguments, purpose, batch.threads(threads))[:4])
    return drawn if return_margins else Sampled(*drawn[:3])


def draw(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    seeds: Any = 0,
    positions: Any = 0,
    mask: Any = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
    mirostat_mu: Any = None,
    n_top: int = 0,
    top: Literal["raw", "processed"] = "raw",
    purpose: int = Purpose.SAMPLE,
    threads: int | None = None,
) -> Draws:
    """:func:`sample`, the state of mirostat, and what each row looks like. The tokens are those of :func:`sample`.

    >>> import numpy as np, tokenloom as tl
    >>> drawn = tl.sample.draw(np.log([[0.5, 0.25, 0.125, 0.125]]), seeds=7, n_top=2)
    >>> round(float(drawn.stats.entropy[0] / np.log(2)), 3), drawn.top_tokens.tolist()
    (1.75, [[0, 1]])

    Args:
        logits: See :func:`sample`.
        params: See :func:`sample`.
        seeds: See :func:`sample`.
        positions: See :func:`sample`.
        mask: See :func:`sample`.
        history: See :func:`sample`.
        prompt_lengths: See :func:`sample`.
        mirostat_mu: float32[B], the states that the draw before returned, in bits; NaN or ``None`` begins a text, with
            twice ``mirostat_tau``.
        n_top: How many of the best tokens to return.
        top: Whether their probabilities are those of the model or those of the rules.
        purpose: See :func:`sample`.
        threads: See :func:`sample`.

    Raises:
        ArrayError: An array has the wrong dtype or shape.
        ParamsError: ``top`` is neither, ``n_top`` is negative, or a rule needs ``history`` and there is none.
    """
    if top not in ("raw", "processed"):
        raise ParamsError(f"expected top to be 'raw' or 'processed', found {top!r}")
    if n_top < 0:
        raise ParamsError(f"expected n_top of at least 0, found {n_top}")
    _checked_purpose(purpose)
    if _is_torch(logits):
        from tokenloom.torch import sampling

        options = {"mirostat_mu": mirostat_mu, "n_top": n_top, "top": top, "purpose": purpose, "threads": threads}
        return sampling.draw(logits, params, seeds, positions, mask, history, prompt_lengths, **options)
    batch = _Batch(logits, params, mask)
    texts = batch.texts(history, prompt_lengths)
    arguments = batch.arguments(batch.addresses(seeds, positions), texts, mirostat_mu)
    n_top = min(n_top, batch.n_vocab)
    row, raw, numbers, tokens, logprobs = _core.report(
        arguments, purpose, batch.threads(threads), n_top, top == "processed"
    )
    norm, entropy, spread, collision, best, margin, ranks, above = numbers[:, :8].T
    stats = LogitStats(norm, entropy, spread, collision, best, margin, _ranks(ranks), above, numbers[:, 8:])
    return Draws(*row[:4], raw, row[4], stats, tokens, logprobs)


def _ranks(numbers: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.where(np.isfinite(numbers), numbers, -1).astype(np.int64)


def sample_distinct(
    logits: Any,
    n: int,
    params: Params | Sequence[Params] = Params(),
    seeds: Any = 0,
    positions: Any = 0,
    mask: Any = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
) -> DistinctDraws:
    """Draw ``n`` different tokens a row: one after the other without replacement (the Gumbel top-k trick, Vieira 2014).

    The first is the token of :func:`sample`, up to rounding where there are rules. Arguments as in :func:`sample`.

    >>> import numpy as np, tokenloom as tl
    >>> drawn = tl.sample.sample_distinct(np.log([[0.5, 0.3, 0.2]]), 3, seeds=7)
    >>> sorted(drawn.tokens[0].tolist())
    [0, 1, 2]

    Raises:
        ArrayError: An array has the wrong dtype or shape.
        DistributionError: With rules or a mask, a row has no token; ``error.row`` says which.
        ParamsError: ``n`` is negative.
    """
    if n < 0:
        raise ParamsError(f"expected n of at least 0, found {n}")
    batch = _Batch(logits, params, mask)
    addresses = batch.addresses(seeds, positions)
    if mask is None and batch.is_plain and not isinstance(batch.given, Bfloat16Bits):
        rows = float32(rows_of_logits(batch.given))
    else:
        arguments = batch.arguments(addresses, batch.texts(history, prompt_lengths))
        rows, statuses = _core.processed(arguments)
        check(statuses)
    seed_of, position_of = addresses
    tokens, logprobs, keys, statuses = _core.distinct_draws(rows, seed_of, position_of, min(n, batch.n_vocab))
    return DistinctDraws(tokens, logprobs, keys, np.array(statuses, dtype=np.int8))


def keep_set(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    mask: ArrayLike | None = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
    seeds: Any = 0,
    positions: Any = 0,
) -> NDArray[np.bool_]:
    """Which tokens the rules keep: bool[B, V]. Arguments as in :func:`sample`; seeds decide about XTC alone.

    Raises:
        DistributionError: A row has no token; ``error.row`` says which.
    """
    batch = _Batch(logits, params, mask)
    addresses = batch.addresses(seeds, positions, broadcast=True)
    flags, statuses = _core.keep_sets(batch.arguments(addresses, batch.texts(history, prompt_lengths)))
    check(statuses)
    return flags


def process(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    mask: Any = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
    seeds: Any = 0,
    positions: Any = 0,
) -> Any:
    """The logits that the rules leave, float32[B, V]: adjusted and divided by the temperature, ``-inf`` where removed.

    Their softmax is :func:`distribution`. A temperature of 0 leaves a 0 at the best token. Arguments as in
    :func:`sample`; seeds decide about XTC alone. A NumPy array, or a tensor on the device of the logits.

    Raises:
        DistributionError: A row has no token; ``error.row`` says which.
    """
    if _is_torch(logits):
        from tokenloom.torch import sampling

        addresses = {"prompt_lengths": prompt_lengths, "seeds": seeds, "positions": positions}
        return sampling.process(logits, params, mask, history, **addresses)
    batch = _Batch(logits, params, mask)
    addresses = batch.addresses(seeds, positions, broadcast=True)
    left, statuses = _core.processed(batch.arguments(addresses, batch.texts(history, prompt_lengths)))
    check(statuses)
    return left


def distribution(
    logits: Any,
    params: Params | Sequence[Params] = Params(),
    mask: ArrayLike | None = None,
    history: Any = None,
    *,
    prompt_lengths: Any = 0,
    seeds: Any = 0,
    positions: Any = 0,
) -> NDArray[np.float64]:
    """The distribution that :func:`sample` draws from: float64[B, V] probabilities. Arguments as in :func:`sample`.

    The kept tokens are those of the draw (chosen in float32); their probabilities are exact to float64, also for
    float64 logits. The draw itself rounds weights to float32: a relative error below 1e-6. Seeds decide about XTC
    alone.

    Raises:
        DistributionError: A row has no token; ``error.row`` says which.
    """
    batch = _Batch(logits, params, mask)
    addresses = batch.addresses(seeds, positions, broadcast=True)
    arguments = batch.arguments(addresses, batch.texts(history, prompt_lengths))
    probs, statuses = _core.probabilities(arguments, batch.exact())
    check(statuses)
    return probs


def seeds(seed: int | Rng, n_rows: int) -> NDArray[np.uint64]:
    """Unrelated seeds for the rows of a batch, uint64[n_rows]: rows that shared one would share their noise."""
    return _core.derive_seeds(seed, n_rows)


def waiting_times(rng: int | Rng, n_tokens: int, purpose: int = Purpose.SAMPLE) -> NDArray[np.float32]:
    """The exponential waiting times of tokens ``0 .. n_tokens`` at this seed and position, float32[n_tokens]."""
    return _core.waiting_times(rng, purpose, n_tokens)


def _each(params: Params | Sequence[Params], n_rows: int) -> list[Params]:
    each = [params] if isinstance(params, Params) else list(params)
    if not isinstance(params, Params) and len(each) != n_rows:
        raise ArrayError(f"expected one Params or one a row ({n_rows}), found {len(each)}", argument="params")
    for item in each:
        if not isinstance(item, Params):
            raise ArrayError(f"expected params to be tokenloom.sample.Params, found {type(item).__name__}")
    return each


class _Batch:
    """Rows, rules and mask, checked."""

    def __init__(self, logits: Any, params: Params | Sequence[Params], mask: Any) -> None:
        if _is_torch(logits):
            from tokenloom.torch.sampling import rows_of_tensor

            logits = rows_of_tensor(logits)
        self.given = logits
        self._logits: Any
        if isinstance(logits, Bfloat16Bits):
            rows: NDArray[Any] = rows_of_logits(logits.bits, np.uint16)
            self._logits = (np.ascontiguousarray(rows), True)
        else:
            rows = rows_of_logits(logits)
            is_half = rows.dtype == np.float16
            self._logits = (np.ascontiguousarray(rows).view(np.uint16), False) if is_half else float32(rows)
        self.n_rows, self.n_vocab = rows.shape
        self._params = _each(params, self.n_rows)
        self._mask = checked_mask(mask, self.n_rows, self.n_vocab)

    @property
    def is_plain(self) -> bool:
        """Whether no row has a rule."""
        return all(params == Params() for params in self._params)

    def addresses(self, seeds: Any, positions: Any, broadcast: bool = False) -> Any:
        if broadcast and isinstance(seeds, int):
            seeds = np.full(self.n_rows, seeds, dtype=np.uint64)
        return checked_seeds(seeds, self.n_rows), checked_positions(positions, self.n_rows)

    def texts(self, history: Any, prompt_lengths: Any) -> Any:
        if history is None and not any(params.rules.needs_history for params in self._params):
            return None
        return checked_texts(history, prompt_lengths, self.n_rows)

    def arguments(self, addresses: Any, texts: Any, mirostat_mu: Any = None) -> Any:
        mus = None if mirostat_mu is None else np.ascontiguousarray(mirostat_mu, dtype=np.float32)
        if mus is not None and mus.ndim != 1:
            raise ArrayError(f"expected mirostat_mu of shape [{self.n_rows}], found {list(mus.shape)}")
        return self._logits, [params.rules for params in self._params], self._mask, addresses, texts, mus

    def exact(self) -> NDArray[np.float64]:
        if isinstance(self.given, Bfloat16Bits):
            wide = self.given.bits.astype(np.uint32) << 16
            return np.ascontiguousarray(wide.view(np.float32), dtype=np.float64)
        return np.ascontiguousarray(self.given, dtype=np.float64)

    def threads(self, wanted: int | None) -> int:
        if wanted is None:
            # Starting a thread takes as long as a few hundred thousand logits.
            n_worth = min(self.n_rows, self.n_rows * self.n_vocab >> 20)
            return min(n_worth, len(os.sched_getaffinity(0))) if n_worth > 1 else 1
        if wanted < 1:
            raise ArrayError(f"expected at least 1 thread, found {wanted}", argument="threads")
        return wanted


def _is_torch(array: object) -> bool:
    return any(cls.__module__.partition(".")[0] == "torch" for cls in type(array).__mro__)

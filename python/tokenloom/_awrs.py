"""Adaptive weighted rejection sampling: the draws that ``tokenloom.control`` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._accepted import usable
from tokenloom._core import control as _core
from tokenloom.errors import ArrayError, DistributionError, ParamsError
from tokenloom.sample import Rng

__all__ = ["Estimator", "Weighted", "awrs", "awrs_batch"]

Estimator: TypeAlias = Literal["recursive", "known_mass", "geometric"]


class Weighted(NamedTuple):
    """What :func:`awrs_batch` draws, one entry a particle.

    Attributes:
        tokens: int64[B]; -1 where no token was found to be allowed.
        log_weights: natural logarithms of the weights, float64[B]; -inf without a token.
        n_checks: tokens put to the check for this particle and for none before it, int64[B].
    """

    tokens: NDArray[np.int64]
    log_weights: NDArray[np.float64]
    n_checks: NDArray[np.int64]


def awrs(
    logprobs: ArrayLike,
    check: Callable[[int], bool] | Any,
    rng: int | Rng,
    estimator: Estimator = "recursive",
    top_m: int = 0,
    extra: int = 1,
    *,
    accepts: int = 2,
    budget: int | None = None,
    tolerance: float = 0.0,
    mask: NDArray[np.int32] | None = None,
    proposal: ArrayLike | None = None,
    known: Mapping[int, bool] | None = None,
) -> tuple[int, float, int]:
    """Draw a token that ``check`` allows, and the weight that makes up for the tokens it forbids.

    Tokens are drawn without replacement and checked; the first allowed one is returned. For every function f, the mean
    of ``exp(log_weight) * f(token)`` over seeds is the sum of ``p(t) * f(t)`` over the allowed tokens t: the weight is
    unbiased for the allowed mass and proper for the token, with every estimator and budget.

    Adaptive weighted rejection sampling (Lipkin et al., 2025, section 4); see ``docs/concepts/awrs.md``.

    Args:
        logprobs: natural log-probabilities, float32 or float64[V], after temperature and truncation; need not be
            normalised, the weight then includes their mass.
        check: takes a token id and returns whether it may come next; or an object with ``check_many(ids) -> bool[n]``
            (ids uint32[n]), which is asked for batches of tokens; or an object with ``check``.
        rng: an int seed (position 0), or a :class:`tokenloom.Rng`.
        estimator: ``"recursive"``: one check more than the first allowed token needs. ``"known_mass"``: the ``top_m``
            most probable tokens are checked up front and ``extra`` unseen ones after the first allowed one; more
            checks, less variance. ``"geometric"``: goes on until ``accepts`` draws were allowed, where an allowed
            token may come up again without a check.
        top_m: tokens checked up front, at least 0.
        extra: further tokens checked, at least 1.
        accepts: allowed draws, at least 2.
        budget: most tokens to check. The weight stays unbiased, its variance grows; more draws end without a token.
            At least ``accepts`` for ``"geometric"``.
        tolerance: the search stops where less than this share of the row's mass is unseen; what is unseen counts as
            forbidden. Means of functions between 0 and 1 are off by at most this share of the mass. 0: never.
        mask: packed words, int32 ``[ceil(V / 32)]``, as ``State.mask()`` gives them. Tokens outside are never drawn nor
            checked: the check then answers for what the mask does not know, and the weight is for both.
        proposal: natural log-probabilities to draw from in place of ``logprobs``, of its dtype or not; the weight is
            corrected by ``logprobs[token] - proposal[token]``. Must be above -inf wherever an allowed token has mass.
        known: verdicts that need no asking, such as that on the end of the text. They are neither checked nor counted,
            and make the weight more exact.

    Returns:
        ``(token, log_weight, n_checks)``; ``(-1, -inf, n_checks)`` where no token was found to be allowed.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: NaN or +inf, or nothing above -inf.
        ParamsError: an unknown estimator, or an option that it does not have or that is out of range.
        Exception: whatever ``check`` raises, as it is.

    >>> import numpy as np, tokenloom as tl
    >>> logprobs = np.log([0.5, 0.3, 0.1, 0.06, 0.04])
    >>> token, log_weight, n_checks = tl.control.awrs(logprobs, {0, 2, 4}.__contains__, 7, "known_mass", top_m=5)
    >>> token in (0, 2, 4), round(float(np.exp(log_weight)), 12), n_checks
    (True, 0.64, 5)
    """
    rows = np.ascontiguousarray(logprobs)
    if rows.ndim != 1:
        raise ArrayError(f"expected logprobs to be one row, found shape {list(rows.shape)}", argument="logprobs")
    drawn_from = None if proposal is None else np.ascontiguousarray(proposal)
    if drawn_from is not None and drawn_from.shape != rows.shape:
        raise ArrayError(
            f"expected proposal of shape {list(rows.shape)}, found {list(drawn_from.shape)}", argument="proposal"
        )
    weighing = as_weighing(estimator, top_m, extra, accepts, budget, tolerance)
    drawn = _core.awrs(rows, (check, _pairs(known)), rng, weighing, _words(mask, rows.shape), drawn_from)
    if not drawn[1] < np.inf:  # the target's own entry is looked at for the drawn token alone
        raise _not_finite(rows[drawn[0]], 0, drawn[0])
    return drawn


def awrs_batch(
    logprobs: ArrayLike,
    checks: Sequence[Callable[[int], bool] | Any],
    seeds: ArrayLike,
    positions: ArrayLike,
    contexts: ArrayLike | None = None,
    estimator: Estimator = "recursive",
    top_m: int = 0,
    extra: int = 1,
    *,
    accepts: int = 2,
    budget: int | None = None,
    tolerance: float = 0.0,
    masks: NDArray[np.int32] | None = None,
    proposals: ArrayLike | None = None,
    known: Sequence[Mapping[int, bool]] | None = None,
    threads: int | None = None,
) -> Weighted:
    """:func:`awrs` for many particles; those with one context share its row and its checks.

    Each particle draws what it would draw alone: sharing changes the cost, not the tokens and weights.

    Args:
        logprobs: one row a context, float32 or float64[C, V].
        checks: one a context.
        seeds: one a particle, uint64[B].
        positions: one a particle, int64[B], or one for all.
        contexts: which row and check a particle has, int64[B]; by default each its own.
        estimator: as in :func:`awrs`, and so are the other options.
        masks: packed words, one row a context, int32[C, ceil(V / 32)].
        top_m: see :func:`awrs`.
        extra: see :func:`awrs`.
        accepts: see :func:`awrs`.
        budget: see :func:`awrs`.
        tolerance: see :func:`awrs`.
        proposals: rows to draw from in place of ``logprobs``, of their shape; see :func:`awrs`.
        known: one mapping a context; see :func:`awrs`.
        threads: at most this many threads read the rows, for this call only; every usable core where ``None``. Checks
            are asked one after the other.

    Raises:
        ArrayError: shapes that do not fit each other.
        ValueError: ``threads`` is below 1.
        Exception: what :func:`awrs` raises.

    >>> import numpy as np, tokenloom as tl
    >>> drawn = tl.control.awrs_batch(np.log([[0.5, 0.3, 0.2]]), [lambda t: t > 0], [1, 2, 3], 0, [0, 0, 0])
    >>> bool((drawn.tokens > 0).all()), int(drawn.n_checks.sum()) <= 3
    (True, True)
    """
    rows = np.ascontiguousarray(logprobs)
    if rows.ndim != 2 or len(rows) != len(checks):
        raise ArrayError(
            f"expected logprobs with a row for each of {len(checks)} checks, found shape {list(rows.shape)}",
            argument="logprobs",
        )
    if len(rows) and not rows.shape[1]:
        raise DistributionError("expected rows with mass, found rows without tokens", row=0)
    each = np.atleast_1d(np.asarray(seeds, dtype=np.uint64))
    places = np.asarray(positions, dtype=np.uint64)
    if each.ndim != 1 or places.shape not in ((), each.shape):
        raise ArrayError(
            f"expected one row of seeds and a position for each or one for all, found shapes {list(each.shape)} "
            f"and {list(places.shape)}",
            argument="positions",
        )
    places = np.broadcast_to(places, each.shape)
    which = np.arange(len(each)) if contexts is None else np.asarray(contexts, dtype=np.int64)
    if which.shape != each.shape or (len(which) and not 0 <= which.min() <= which.max() < len(rows)):
        raise ArrayError(
            f"expected a context below {len(rows)} for each of {len(each)} seeds, found {which.tolist()[:8]}",
            argument="contexts",
        )
    weighing = as_weighing(estimator, top_m, extra, accepts, budget, tolerance)
    words = _words(masks, rows.shape)
    drawn_from = None if proposals is None else np.ascontiguousarray(proposals)
    if drawn_from is not None and drawn_from.shape != rows.shape:
        raise ArrayError(
            f"expected proposals of shape {list(rows.shape)}, found {list(drawn_from.shape)}", argument="proposals"
        )
    facts = [{}] * len(rows) if known is None else list(known)
    if len(facts) != len(rows):
        raise ArrayError(f"expected known for each of {len(rows)} contexts, found {len(facts)}", argument="known")
    asked = [(check, _pairs(verdicts)) for check, verdicts in zip(checks, facts, strict=True)]
    drawn = Weighted(
        *_core.awrs_batch(
            rows, asked, which.tolist(), each.tolist(), places.tolist(), weighing, words, drawn_from, usable(threads)
        )
    )
    if drawn_from is not None and not (drawn.log_weights < np.inf).all():
        at = int(np.argmin(drawn.log_weights < np.inf))
        row, token = int(which[at]), int(drawn.tokens[at])
        raise _not_finite(rows[row, token], row, token)
    return drawn


def _not_finite(value: float, row: int, token: int) -> DistributionError:
    return DistributionError(f"expected a finite log-probability, found {value} at row {row}, token {token}", row=row)


def _pairs(known: Mapping[int, bool] | None) -> list[tuple[int, bool]]:
    pairs = [(int(token), bool(verdict)) for token, verdict in (known or {}).items()]
    if strangers := [token for token, _ in pairs if not 0 <= token < 1 << 32]:
        raise ParamsError(f"expected known to be about token ids, found {strangers[0]}")
    return pairs


def as_weighing(
    estimator: str, top_m: int, extra: int, accepts: int, budget: int | None, tolerance: float
) -> tuple[str, int, int, int, int, float]:
    """The options of a draw, checked, as the core takes them."""
    if estimator not in ("recursive", "known_mass", "geometric"):
        raise ParamsError(f"expected estimator 'recursive', 'known_mass' or 'geometric', found {estimator!r}")
    if top_m < 0 or extra < 1 or (estimator != "known_mass" and (top_m, extra) != (0, 1)):
        raise ParamsError(
            "expected top_m of at least 0 and extra of at least 1, other than 0 and 1 with 'known_mass' alone, "
            f"found {top_m} and {extra} with {estimator!r}"
        )
    if accepts < 2 or (estimator != "geometric" and accepts != 2):
        raise ParamsError(
            f"expected accepts of at least 2, other than 2 with 'geometric' alone, found {accepts} with {estimator!r}"
        )
    least = accepts if estimator == "geometric" else 1
    if budget is not None and budget < least:
        raise ParamsError(f"expected a budget of at least {least}, found {budget}")
    if not 0.0 <= tolerance < 1.0:
        raise ParamsError(f"expected a tolerance of at least 0 and below 1, found {tolerance}")
    return estimator, int(top_m), int(extra), int(accepts), int(budget or 0), float(tolerance)


def _words(mask: NDArray[np.int32] | None, shape: tuple[int, ...]) -> NDArray[np.uint32] | None:
    if mask is None:
        return None
    words = np.ascontiguousarray(mask)
    expected = (*shape[:-1], -(-shape[-1] // 32))
    if words.dtype not in (np.int32, np.uint32) or words.shape != expected:
        raise ArrayError(
            f"expected mask of dtype int32 and shape {list(expected)}, found {words.dtype} {list(words.shape)}",
            argument="mask",
        )
    return words.view(np.uint32)

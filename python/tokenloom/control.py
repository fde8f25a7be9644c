"""Which tokens may come next, and what does a rejected draw weigh?

>>> import numpy as np, tokenloom as tl
>>> logprobs = np.log([0.5, 0.3, 0.2])
>>> token, log_weight, n_checks = tl.control.awrs(logprobs, lambda token: token != 0, rng=1)
>>> token in (1, 2), round(np.exp(log_weight), 6) in (0.2, 0.3, 0.5)
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tokenloom._core import control as _core
from tokenloom.errors import ParamsError
from tokenloom.sample import Rng

__all__ = ["awrs"]


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

"""How is a token of the constrained distribution drawn with checks instead of a mask?

The race of ``tl.sample`` is run among all tokens, and finishers are checked as they come in. The first that is allowed
is the token that the masked draw takes with the same randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tokenloom._constraint import State, core_state
from tokenloom._core import control as _core
from tokenloom.errors import ArrayError
from tokenloom.sample import Rng

__all__ = ["CheckedDraw", "draw_checked"]


class CheckedDraw(NamedTuple):
    """A token of the constrained distribution.

    Attributes:
        token: -1 where every token with mass is forbidden.
        logprob: natural log of its probability without the constraint; 0 where the temperature is 0.
        n_checks: how many tokens were checked.
        has_masked: whether so many were refused that a mask was filled.
    """

    token: int
    logprob: float
    n_checks: int
    has_masked: bool


def draw_checked(
    logits: ArrayLike,
    check: State | Callable[[int], bool] | Any,
    rng: int | Rng,
    temperature: float = 1.0,
    ends: Collection[int] = (),
) -> CheckedDraw:
    """Draw exactly from the constrained distribution, asking about single tokens.

    The token is the one that ``tl.sample.sample(logits, Params(temperature), mask=state.mask())`` draws with the same
    seed and position. Where model and constraint agree one token is checked. A mask is filled only where 48 tokens were
    refused, or 8 that hold 0.999 of the mass, so a step never costs much more than twice the cheaper way; without a
    mask the search goes on to the last token.

    Args:
        logits: one row, float[V]; drawn from in float32.
        check: a state; or a callable on token ids; or an object with ``check_many(ids) -> bool[n]`` or ``check``, and
            perhaps ``mask()``.
        rng: an int seed (position 0), or a :class:`tokenloom.Rng`.
        temperature: logits are divided by it; 0 takes the best allowed token.
        ends: tokens that are allowed exactly where the state accepts, whatever the constraint says of them.

    Raises:
        ArrayError: not one row of floats.
        ConstraintError: the text has come to a dead end.
        DistributionError: a logit is NaN or +inf.
        Exception: whatever ``check`` raises.

    >>> import numpy as np, tokenloom as tl
    >>> logits = np.log([0.5, 0.3, 0.2])
    >>> draw = tl.control.draw_checked(logits, lambda token: token != 0, rng=1)
    >>> mask = np.array([[0b110]], dtype=np.int32)
    >>> bool(draw.token == tl.sample.sample(logits[None], seeds=1, mask=mask).tokens[0])
    True
    """
    row = np.asarray(logits)
    if row.ndim != 1 or row.dtype.kind != "f":
        raise ArrayError(f"expected one row of floats, found {list(row.shape)} of {row.dtype}", argument="logits")
    own = core_state(check)
    with np.errstate(over="ignore"):
        row = np.ascontiguousarray(row, dtype=np.float32)
    return CheckedDraw(*_core.draw_checked(row, temperature, check if own is None else own, rng, list(ends)))

"""Which drafted points of a continuous space may stay?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._accepted import usable
from tokenloom._core import verify as _core
from tokenloom.errors import ArrayError
from tokenloom.sample import Rng


class AcceptedPoint(NamedTuple):
    """What is committed: the first ``n_accepted`` drafted points, then ``sample``.

    Attributes:
        n_accepted: how many drafted points stay.
        sample: the point behind them, float64[D].
    """

    n_accepted: int
    sample: NDArray[np.float64]


class AcceptedPointBatch(NamedTuple):
    """One row a chain; see :class:`AcceptedPoint`.

    Attributes:
        n_accepted: int32[B].
        samples: float64[B, D]; NaN where the status is not OK.
        status: int8[B], a :class:`Status`.
    """

    n_accepted: NDArray[np.int32]
    samples: NDArray[np.float64]
    status: NDArray[np.int8]


def continuous(
    p_mean: ArrayLike, p_std: ArrayLike, q_mean: ArrayLike, q_std: ArrayLike, points: ArrayLike, rng: int | Rng
) -> AcceptedPoint:
    """Accept a chain of points drawn from normal laws: continuous tokens, or the steps of a diffusion head. Lossless.

    A point is accepted with probability ``min(1, p/q)``. At the first rejection, where the deviations of target and
    draft are equal, the noise of the draft is reflected and used for the target (De Bortoli et al. 2025), so no further
    noise is needed; otherwise a point is looked for, which takes one try a call on average. After the last acceptance
    the point is drawn from the target.

    Args:
        p_mean: means of the target, [n + 1, D]: row i is given the first i drafted points.
        p_std: its deviations, anything that broadcasts to [n + 1, D], above 0.
        q_mean: means of the draft, [n, D]: row i is what point i was drawn from.
        q_std: its deviations, anything that broadcasts to [n, D].
        points: the drafted points, [n, D]. The draft must not have used this seed's numbers of purpose SAMPLE, ACCEPT
            or RESIDUAL.
        rng: an int seed, or a :class:`tokenloom.Rng` at the position of the first drafted point.

    Raises:
        ArrayError: the shapes do not fit.
        ParamsError: a number is not finite, or a deviation not above 0.

    >>> import numpy as np, tokenloom as tl
    >>> same = tl.verify.continuous(np.zeros((2, 3)), 1.0, np.zeros((1, 3)), 1.0, np.ones((1, 3)), rng=0)
    >>> same.n_accepted, same.sample.shape
    (1, (3,))
    """
    drafted = np.asarray(points, dtype=np.float64)
    chain = _Chains(*(np.asarray(array, dtype=np.float64)[np.newaxis] for array in (p_mean, q_mean, drafted)))
    counts, samples, _, error = _run(chain, p_std, q_std, [len(drafted) if drafted.ndim else 0], [rng], 1)
    if error is not None:
        raise error
    return AcceptedPoint(int(counts[0]), samples[0])


def continuous_batch(
    p_mean: ArrayLike,
    p_std: ArrayLike,
    q_mean: ArrayLike,
    q_std: ArrayLike,
    points: ArrayLike,
    rngs: Sequence[int | Rng],
    *,
    lengths: Sequence[int] | None = None,
    threads: int | None = None,
) -> AcceptedPointBatch:
    """:func:`continuous` for several chains.

    Args:
        p_mean: [B, n + 1, D], where n is the length of the longest chain; padding rows are not read.
        p_std: anything that broadcasts to [B, n + 1, D].
        q_mean: [B, n, D].
        q_std: anything that broadcasts to [B, n, D].
        points: [B, n, D].
        rngs: B seeds or :class:`tokenloom.Rng`.
        lengths: points of each chain, B ints of 0 to n; all of them where ``None``.
        threads: at most this many threads, which live for this call only; every usable core where ``None``.

    Raises:
        ArrayError: the shapes or the lengths do not fit, or not one rng a chain. Bad numbers do not raise: see
            ``status``.
        ValueError: ``threads`` is below 1.
    """
    chains = _Chains(*(np.asarray(array, dtype=np.float64) for array in (p_mean, q_mean, points)))
    n_chains, n_points = chains.points.shape[:2] if chains.points.ndim == 3 else (0, 0)
    if lengths is None:
        lengths = [n_points] * n_chains
    if len(lengths) != n_chains or not all(0 <= length <= n_points for length in lengths):
        expected = f"one number from 0 to {n_points} for each of the {n_chains} chains"
        raise ArrayError(f"expected lengths to be {expected}, found {list(lengths)}", argument="lengths")
    counts, samples, status, _ = _run(chains, p_std, q_std, list(lengths), list(rngs), usable(threads))
    return AcceptedPointBatch(counts, samples, status)


class _Chains(NamedTuple):
    p_mean: NDArray[np.float64]
    q_mean: NDArray[np.float64]
    points: NDArray[np.float64]


def _run(
    chains: _Chains,
    p_std: ArrayLike,
    q_std: ArrayLike,
    lengths: list[int],
    rngs: Sequence[int | Rng],
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int8], Exception | None]:
    p_mean, q_mean, points = chains
    n_chains, n_points, n_dims = points.shape if points.ndim == 3 else (-1, -1, -1)
    shapes = {"points": points.shape, "q_mean": q_mean.shape, "p_mean": p_mean.shape}
    wanted = {"points": points.shape, "q_mean": points.shape, "p_mean": (n_chains, n_points + 1, n_dims)}
    for name, found in shapes.items():
        if found != wanted[name] or n_dims < 1:
            expected = f"shape {wanted[name]}" if n_dims > 0 else "[points, dimensions >= 1] of each chain"
            raise ArrayError(
                f"expected {name} to be {expected}, found shape {found}",
                argument=name,
                expected=expected,
                found=f"shape {found}",
            )
    try:
        deviations = [
            np.ascontiguousarray(np.broadcast_to(np.asarray(std, dtype=np.float64), mean.shape))
            for std, mean in ((p_std, p_mean), (q_std, q_mean))
        ]
    except ValueError as error:
        raise ArrayError(f"expected deviations that broadcast to their means, found: {error}") from None
    means = [np.ascontiguousarray(array) for array in (p_mean, q_mean, points)]
    return _core.continuous(means[0], deviations[0], means[1], deviations[1], means[2], lengths, rngs, threads)

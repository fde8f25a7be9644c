"""What do two models, a model and a judge, or the texts of a beam say together?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import sample as _core
from tokenloom._sample_arrays import check, checked_seeds, float32, rows_of_logits
from tokenloom.errors import ArrayError, ParamsError

__all__ = ["BeamStep", "beam_step", "cap", "contrast", "guide"]


def guide(conditional: ArrayLike, unconditional: ArrayLike, scale: float) -> NDArray[np.float32]:
    """Classifier-free guidance (Sanchez et al. 2023): ``u + scale * (c - u)`` of log-probabilities.

    Args:
        conditional: float[B, V], logits with the condition.
        unconditional: float[B, V], logits without it, or with a negative one.
        scale: 1 gives the conditional distribution, more moves further away from the unconditional one.

    Returns:
        Logits, float32[B, V], to be drawn from. A token that either row rules out is ruled out.

    Raises:
        ArrayError: The arrays have different shapes or no float dtype.
        DistributionError: A row is no distribution; ``error.row`` says which.

    >>> import numpy as np, tokenloom as tl
    >>> guided = tl.sample.guide(np.log([[0.6, 0.4]]), np.log([[0.5, 0.5]]), scale=2.0)
    >>> tl.sample.distribution(guided).round(3).tolist()
    [[0.692, 0.308]]
    """
    combined, statuses = _core.guided(_single(conditional), _single(unconditional), scale)
    check(statuses)
    return combined


def contrast(
    expert: ArrayLike, amateur: ArrayLike, alpha: float = 0.1, beta: float | None = None
) -> NDArray[np.float32]:
    """Contrastive decoding: prefer what a strong model says and a weak one does not.

    Args:
        expert: float[B, V], logits of the strong model.
        amateur: float[B, V], logits of the weak one.
        alpha: Tokens with less than this share of the expert's best probability are removed; 0 keeps all.
        beta: ``None`` scores ``log p_e - log p_a`` (Li et al. 2023), a number ``(1 + beta) log p_e - beta log p_a``
            (O'Brien and Lewis 2023).

    Returns:
        Scores to be drawn from as logits, float32[B, V]. A token that only the amateur rules out scores ``+inf``, which
        a draw refuses.

    Raises:
        ArrayError: The arrays have different shapes or no float dtype.
        DistributionError: A row is no distribution; ``error.row`` says which.
        ParamsError: ``alpha`` is not between 0 and 1.
    """
    if not 0 <= alpha <= 1:
        raise ParamsError(f"expected alpha between 0 and 1, found {alpha}")
    combined, statuses = _core.contrasted(_single(expert), _single(amateur), alpha, beta)
    check(statuses)
    return combined


def cap(logits: ArrayLike, caps: ArrayLike) -> NDArray[np.float32]:
    """Bound the probability of single tokens, for instance of those that may lead to a dead end (Cao et al. 2023).

    The result is ``min(s * p, cap)`` with the one ``s`` that makes it a distribution: tokens below their caps keep
    their proportions. Caps that sum to less than one are used up, in proportion.

    Args:
        logits: float[B, V].
        caps: float[B, V] or [V], the largest probability of each token; 1 leaves it alone.

    Returns:
        Log-probabilities, float32[B, V].

    Raises:
        ArrayError: An array has the wrong dtype or shape.
        DistributionError: A row is no distribution, or all its tokens have caps of 0; ``error.row`` says which.
        ParamsError: A cap is not between 0 and 1.

    >>> import numpy as np, tokenloom as tl
    >>> print(np.exp(tl.sample.cap(np.log([[0.5, 0.3, 0.2]]), [0.4, 1.0, 1.0])).round(3))
    [[0.4  0.36 0.24]]
    """
    rows = _single(logits)
    limits = np.asarray(caps, dtype=np.float32)
    if not (limits.size == 0 or (np.min(limits) >= 0 and np.max(limits) <= 1)):
        raise ParamsError("expected caps between 0 and 1")
    if limits.shape not in (rows.shape, rows.shape[1:]):
        raise ArrayError(f"expected caps of shape {list(rows.shape)}, found {list(limits.shape)}", argument="caps")
    combined, statuses = _core.capped(rows, np.ascontiguousarray(np.broadcast_to(limits, rows.shape)))
    check(statuses)
    return combined


class BeamStep(NamedTuple):
    """The children that stay in a stochastic beam, largest key first.

    Attributes:
        parents: int64[m], which of the nodes each continues.
        tokens: int64[m], with which token.
        logprobs: float64[m], natural log-probability of the text.
        keys: float64[m], the largest perturbed log-probability of the texts that begin with it.
        seeds: uint64[m], of the noise of its own children.
    """

    parents: NDArray[np.int64]
    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    keys: NDArray[np.float64]
    seeds: NDArray[np.uint64]


def beam_step(logits: ArrayLike, logprobs: ArrayLike, keys: ArrayLike, seeds: Any, n: int, position: int) -> BeamStep:
    """One step of stochastic beam search (Kool et al. 2019): draws whole texts without replacement.

    Begin with one node: log-probability 0, key 0, the seed of the request. Texts that have ended are kept by the
    caller, with their keys, and compete with the children for the ``n`` places.

    Args:
        logits: float[m, V], after each of the ``m`` nodes; what rules leave of them (:func:`process`) is as good.
        logprobs: float64[m], of the nodes.
        keys: float64[m], of the nodes.
        seeds: uint64[m], of the nodes, all different.
        n: How many children stay.
        position: The position of the token that is drawn.

    Returns:
        At most ``n`` children. A row that cannot be drawn from has none.

    Raises:
        ArrayError: An array has the wrong dtype or shape.
    """
    rows = _single(logits)
    of_nodes = np.ascontiguousarray(logprobs, dtype=np.float64)
    key_of = np.ascontiguousarray(keys, dtype=np.float64)
    for name, values in (("logprobs", of_nodes), ("keys", key_of)):
        if values.shape != (len(rows),):
            raise ArrayError(f"expected {name} of shape [{len(rows)}], found {list(values.shape)}", argument=name)
    return BeamStep(*_core.beam(rows, (of_nodes, key_of, checked_seeds(seeds, len(rows))), max(n, 0), position))


def _single(logits: ArrayLike) -> NDArray[np.float32]:
    return float32(rows_of_logits(logits))

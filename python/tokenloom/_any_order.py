"""Which tokens that were drafted at any places of a text may stay?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._accepted import Accepted, AcceptedBatch, as_chains, as_ids, as_rows, usable
from tokenloom._core import verify as _core
from tokenloom.errors import ArrayError
from tokenloom.sample import Rng


class ContextDraft(NamedTuple):
    """Drafted tokens and what they were drawn from.

    Attributes:
        tokens: int32[n], one a place.
        q: float64[n, V], the row of each.
    """

    tokens: NDArray[np.int32]
    q: NDArray[np.float64]


def any_order(
    p: ArrayLike,
    q: ArrayLike,
    tokens: ArrayLike | Sequence[int],
    positions: ArrayLike | Sequence[int],
    rng: int | Rng,
) -> Accepted:
    """Accept tokens drafted at any places, for models that fill a text in any order (ASSD; Guo & Ermon 2025). Lossless.

    Place ``positions[i]`` holds ``tokens[i]`` for every i in ``path``, and ``next_token`` belongs to
    ``positions[n_accepted]``. Where all drafts stay there is no further token and ``next_token`` is -1.

    Args:
        p: the target, float32 or float64[n, V]: row i is the law of place ``positions[i]`` given all decided places and
            the tokens drafted for the places before it in the list.
        q: [n, V]: row i is what token i was drawn from.
        tokens: the drafted ids, integer[n].
        positions: their places in the text, integer[n], at least 0, all different, in the order in which they are
            decided.
        rng: an int seed, or a :class:`tokenloom.Rng`, whose position is added to every place.

    Raises:
        ArrayError: wrong dtype or shape, or a place is there twice.
        DistributionError: a row that is read is no distribution; ``row`` names it.
        DraftError: a token is out of range, or has probability 0 in its row of ``q``.
    """
    rows, draft = _both(p, q, n_axes=2)
    places = _as_places(positions, 1)[np.newaxis]
    counts, instead, _, error = _core.any_order(rows, draft, as_chains(tokens), places, [rng], 1)
    if error is not None:
        raise error
    n_accepted = int(counts[0])
    return Accepted(np.arange(n_accepted, dtype=np.int32), int(instead[0]), n_accepted)


def any_order_batch(
    p: ArrayLike,
    q: ArrayLike,
    tokens: ArrayLike,
    positions: ArrayLike,
    rngs: Sequence[int | Rng],
    *,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`any_order` for several texts.

    Args:
        p: float32 or float64[B, n, V], where n is the longest list of places; padding rows are not read.
        q: [B, n, V].
        tokens: integer[B, n]; a list ends at its first -1.
        positions: integer[B, n].
        rngs: B seeds or :class:`tokenloom.Rng`.
        threads: at most this many threads, which live for this call only; every usable core where ``None``.

    Raises:
        ArrayError: wrong dtype or shape, a place is twice in a list, or not one rng a text. Bad numbers do not raise:
            see ``status``.
        DraftError: a token is negative (and not -1) or above 2**31 - 1.
        ValueError: ``threads`` is below 1.
    """
    rows, draft = _both(p, q, n_axes=3)
    ids, places = as_ids(tokens, 2), _as_places(positions, 2)
    counts, instead, status, _ = _core.any_order(rows, draft, ids, places, list(rngs), usable(threads))
    columns = np.arange(ids.shape[1], dtype=np.int32)
    return AcceptedBatch(np.where(columns < counts[:, None], columns, np.int32(-1)), instead, counts, status)


def context_draft(
    tokens: ArrayLike | Sequence[int], positions: ArrayLike | Sequence[int], n_vocab: int, rng: int | Rng
) -> ContextDraft:
    """Draft open places of a text from the text itself: a bigram with back-off, and no model.

    A token behind a known left neighbour is drawn from what followed that neighbour elsewhere in the text, otherwise
    from all known tokens, otherwise from the whole vocabulary. A drafted token is the neighbour of the next place.

    Args:
        tokens: the text, integer[T]; -1 where nothing is decided.
        positions: the places to draft, integer[n], in the order in which they are decided.
        n_vocab: the width of the rows.
        rng: an int seed, or a :class:`tokenloom.Rng`, whose position is added to every place; purpose DRAFT.

    Raises:
        ArrayError: wrong dtype or shape, or a place that is not open.
        DraftError: a token is not below ``n_vocab``.

    >>> import tokenloom as tl
    >>> draft = tl.verify.context_draft([1, 2, 1, -1], [3], n_vocab=4, rng=0)
    >>> draft.tokens.tolist(), draft.q.tolist()
    ([2], [[0.0, 0.0, 1.0, 0.0]])
    """
    return ContextDraft(*_core.context_draft(as_ids(tokens, 1), _as_places(positions, 1), n_vocab, rng))


def _both(p: ArrayLike, q: ArrayLike, *, n_axes: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    rows, draft = as_rows(p, q, n_axes=n_axes)
    assert draft is not None
    return rows, draft


def _as_places(positions: ArrayLike | Sequence[int], n_axes: int) -> NDArray[np.uint64]:
    places = as_ids(positions, n_axes)
    if places.size and places.min() < 0:
        raise ArrayError(f"expected positions of at least 0, found {places.min()}", argument="positions")
    return places.astype(np.uint64)

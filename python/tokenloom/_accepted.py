"""What does a verification take, and what does it return?"""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom.errors import ArrayError, DraftError

_FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


class Status(enum.IntEnum):
    """Why a tree of a batch was not verified."""

    OK = 0
    #: A row on the way holds NaN or infinity, or its sum overflows.
    NOT_FINITE = 1
    #: A row on the way has no mass.
    EMPTY = 2
    #: A row on the way has a negative entry.
    NEGATIVE = 3
    #: A drafted token is no column, cannot have been drawn from its row of ``q``, or the tree is no chain.
    DRAFT = 4


class Accepted(NamedTuple):
    """What is committed: ``tree.tokens[path]``, then ``next_token``.

    Attributes:
        path: accepted nodes, from a child of the root downwards, int32[n_accepted].
        next_token: the target's own token behind them.
        n_accepted: how many drafted tokens stay.
    """

    path: NDArray[np.int32]
    next_token: int
    n_accepted: int


class AcceptedBatch(NamedTuple):
    """One row a tree; see :class:`Accepted`. A tree with bad numbers fails alone.

    Attributes:
        paths: accepted nodes, padded with -1, int32[B, nodes of the largest tree].
        next_tokens: int32[B]; -1 where the status is not OK.
        n_accepted: int32[B].
        status: int8[B], a :class:`Status`.
    """

    paths: NDArray[np.int32]
    next_tokens: NDArray[np.int32]
    n_accepted: NDArray[np.int32]
    status: NDArray[np.int8]


def as_rows(
    p: ArrayLike, q: ArrayLike | None, *, n_axes: int
) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Contiguous rows of one dtype; those of one tree as a batch of one."""
    rows = np.ascontiguousarray(p)
    draft = None if q is None else np.ascontiguousarray(q)
    if draft is not None and draft.dtype != rows.dtype and {draft.dtype, rows.dtype} <= _FLOATS:
        rows, draft = rows.astype(np.float64), draft.astype(np.float64)
    if n_axes == 2:
        rows, draft = rows[np.newaxis], None if draft is None else draft[np.newaxis]
    return rows, draft


def as_ids(tokens: ArrayLike | Sequence[int], n_axes: int) -> NDArray[np.int64]:
    """Ids as an array; -1 may end a row of a batch."""
    ids = np.asarray(tokens)
    if ids.ndim != n_axes or (ids.size and ids.dtype.kind not in "iu"):
        expected = f"an integer array with {n_axes} axes" if n_axes > 1 else "a sequence of integers"
        raise ArrayError(
            f"expected tokens to be {expected}, found shape {ids.shape} of {ids.dtype}",
            argument="tokens",
            expected=expected,
            found=f"shape {ids.shape} of {ids.dtype}",
        )
    return np.ascontiguousarray(ids, dtype=np.int64)


def as_chains(tokens: ArrayLike | Sequence[int]) -> NDArray[np.int64]:
    """The ids of one chain as a batch of one."""
    ids = as_ids(tokens, 1)
    if ids.size and ids.min() < 0:
        raise DraftError(f"expected drafted tokens of at least 0, found {ids.min()} at index {ids.argmin()}")
    return ids[np.newaxis]


def first(batch: AcceptedBatch) -> Accepted:
    """The result of a batch of one."""
    n_accepted = int(batch.n_accepted[0])
    return Accepted(batch.paths[0, :n_accepted], int(batch.next_tokens[0]), n_accepted)


def usable(threads: int | None) -> int:
    """The number of threads that an argument means."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"expected at least 1 thread, found {threads}")
    return threads

"""How do arrays enter the sampler: which dtypes and shapes, and what does a wrong one raise?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom.errors import ArrayError, DistributionError, ParamsError
from tokenloom.tokenizer import Ragged

#: What the statuses of rows say.
REASONS = {1: "an allowed logit is NaN or +inf", 2: "no allowed logit is above -inf"}


def check(statuses: Sequence[int]) -> None:
    """Raise :class:`DistributionError` for the first row that has no token."""
    for row, status in enumerate(statuses):
        if status != 0:
            raise DistributionError(f"expected a row to draw from, found that {REASONS[status]} at row {row}", row=row)


def rows_of_logits(logits: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    """Logits [B, V] of a float dtype, or of ``dtype``."""
    rows = np.asarray(logits)
    if (rows.dtype.kind != "f" or rows.dtype.itemsize > 8) if dtype is None else rows.dtype != dtype:
        wanted = "float16, float32 or float64" if dtype is None else np.dtype(dtype).name
        raise ArrayError(f"expected logits of dtype {wanted}, found {rows.dtype}", argument="logits")
    if rows.ndim != 2:
        hint = "\nhint: logits[None] is a batch of one row" if rows.ndim == 1 else ""
        raise ArrayError(f"expected logits of shape [B, V], found {list(rows.shape)}{hint}", argument="logits")
    return rows


def float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rounded to float32; what does not fit is infinite."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite: NOT_FINITE or impossible
        return np.ascontiguousarray(rows, dtype=np.float32)


def integers(values: Any, n_rows: int, argument: str, broadcast: bool) -> NDArray[Any]:
    """Integers [B]; one for all rows where ``broadcast`` or B = 1."""
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
    return np.ascontiguousarray(integers(values, n_rows, "seeds", broadcast=False).astype(np.uint64))


def checked_positions(values: Any, n_rows: int) -> NDArray[np.uint64]:
    """Positions as uint64[B]."""
    array = integers(values, n_rows, "positions", broadcast=True)
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


def ragged(history: Any) -> Ragged:
    """Texts as they came, in one array."""
    rows = [np.asarray(row) for row in history]
    for row in rows:
        if row.ndim != 1 or (row.size and (row.dtype.kind not in "iu" or int(row.min()) < 0)):
            raise ArrayError(f"expected history of ids of at least 0, found {row.dtype} {list(row.shape)}")
    offsets = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
    return Ragged(np.concatenate([np.zeros(0, np.uint32), *rows]).astype(np.uint32), offsets)


def checked_texts(
    history: Any, prompt_lengths: Any, n_rows: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """The texts of B rows: their tokens, where each begins, and how much of each is the prompt."""
    if history is None:
        raise ParamsError("expected history for the rules that look at the text so far, found None")
    lengths = np.ascontiguousarray(integers(prompt_lengths, n_rows, "prompt_lengths", True), dtype=np.int64)
    rows = history if isinstance(history, Ragged) else ragged(history)
    if len(rows) != n_rows:
        raise ArrayError(f"expected history of {n_rows} rows, found {len(rows)}", argument="history")
    return rows.values, rows.offsets, lengths

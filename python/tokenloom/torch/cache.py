"""How do the columns of a key-value cache move?

A cache holds one column a token. Verification leaves columns that belong to rejected drafts; these functions move the
accepted ones together and drop the rest, in growing caches (``DynamicCache``) and in preallocated ones
(``StaticCache``), which transformers itself cannot crop. Cost: one copy of the columns that move; none where they lie
in place already.

Does not do: layers with a window, a quantised or a recurrent state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StaticCache

__all__ = ["cut_columns", "gather_columns", "is_static", "keep_path", "select_rows"]


def keep_path(cache: Any, n_past: int, path: Sequence[int]) -> None:
    """Keep of a tree that was read at the end of a cache of one row only the accepted path.

    For loops of one's own that fed the last committed token and then the nodes of a tree: of those columns the first
    stays, those of the path move behind it, and the others are forgotten.

    Args:
        cache: a ``DynamicCache`` or ``StaticCache`` with one row, changed in place.
        n_past: columns before the last committed token.
        path: accepted nodes, ascending, as in :class:`tokenloom.verify.Accepted`.
    """
    nodes = [int(node) for node in path]
    n_kept = n_past + 1 + len(nodes)
    if nodes != list(range(len(nodes))):
        gather_columns(cache, n_past + 1, torch.tensor([nodes]))
    cut_columns(cache, int(cache.get_seq_length()) - n_kept)


def is_static(cache: Any) -> bool:
    """Whether the cache was allocated at its full length."""
    return isinstance(cache, StaticCache)


def gather_columns(cache: Any, first: int, order: torch.Tensor) -> None:
    """Column ``first + j`` of row ``i`` becomes what column ``first + order[i, j]`` was.

    Args:
        cache: changed in place.
        first: the first column that moves.
        order: int64[B, k].
    """
    with torch.inference_mode():
        for layer in cache.layers:
            if not layer.is_initialized:
                continue
            index = order.to(layer.keys.device)[:, None, :, None] + first
            for name in ("keys", "values"):
                old = getattr(layer, name)
                moved = old.gather(2, index.expand(-1, old.shape[1], -1, old.shape[3]))
                if old.is_inference() or is_static(cache):
                    old[:, :, first : first + order.shape[1]] = moved
                else:
                    rest = old[:, :, first + order.shape[1] :]
                    setattr(layer, name, torch.cat([old[:, :, :first], moved, rest], dim=2))


def cut_columns(cache: Any, n_surplus: int) -> None:
    """Forget the last ``n_surplus`` columns."""
    if n_surplus <= 0:
        return
    if not is_static(cache):
        cache.crop(-n_surplus)
        return
    with torch.inference_mode():
        for layer in cache.layers:
            if layer.is_initialized:
                layer.cumulative_length.sub_(n_surplus)


def select_rows(cache: Any, rows: torch.Tensor) -> None:
    """Go on with these rows only, in this order."""
    if not is_static(cache):
        cache.batch_select_indices(rows)
        return
    for layer in cache.layers:
        if layer.is_initialized:
            index = rows.to(layer.keys.device)
            layer.keys, layer.values = layer.keys[index], layer.values[index]
            layer.batch_size = len(rows)

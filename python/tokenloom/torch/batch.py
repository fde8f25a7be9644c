"""Which columns of the key-value cache belong to which prompt, when each accepts another number of drafts?

A step feeds every row a block: tokens that follow each other, then the nodes of a draft tree. Blocks are padded on the
right to the longest one. Chains need no mask of their own, because causal attention keeps padding out of the row's own
logits; trees get a mask of four dimensions, in which a node sees its ancestors only. After the step the caller says
which tokens of each block are kept. They move to the front of the block (a chain, or a tree whose main chain was
accepted, lies there already), columns that no row keeps are cut off the end of the cache, and columns that only some
rows keep stay, masked out for the others. Real tokens of a row therefore always lie in order, and a token's position is
the number of its row's tokens before it, not its column. A batch of one never holds a masked column.

Masked columns cost memory and attention time, so a cache with more than a quarter of them is packed: each row's own
columns are gathered to the front. The cost of a step is one forward pass over B x (longest block); packing costs one
copy of the cache, and happens at most once for every quarter of it that is filled, so it is linear overall.

Does not do: sliding-window layers with more than one row (the window counts columns), recurrent layers (they cannot
take a token back).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, StaticCache

from tokenloom.draft import DraftTree
from tokenloom.errors import UnsupportedFeatureError
from tokenloom.torch.cache import cut_columns, gather_columns, select_rows
from tokenloom.torch.tree_attention import can_read_trees, is_chain, mask_for

__all__ = ["Batch", "largest_exact_batch"]

_SPARE_COLUMNS = 32


class Batch:
    """Rows of tokens that one model reads together, with its cache.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        n_rows: number of rows; each starts empty.
        n_columns: allocate the cache once, with this many columns; None for one that grows.
    """

    def __init__(self, model: Any, n_rows: int, n_columns: int | None = None) -> None:
        parameters = inspect.signature(model.forward).parameters
        self._model = model
        self._takes_positions = "position_ids" in parameters
        self._takes_columns = "logits_to_keep" in parameters
        self._n_allocated = n_columns
        self._cache: Any = DynamicCache()
        if n_columns is not None:
            if not can_read_trees(model):
                raise UnsupportedFeatureError("expected full attention (eager or sdpa) for an allocated cache")
            self._cache = StaticCache(config=model.config, max_cache_len=n_columns)
        self._used = torch.zeros((n_rows, 0), dtype=torch.bool)
        self._fed: list[int] = []

    @staticmethod
    def columns_needed(n_rows: int, n_longest: int, n_drafted: int) -> int:
        """Columns that rows of at most ``n_longest`` tokens need, with trees of at most ``n_drafted`` nodes."""
        n_masked = 0 if n_rows == 1 else n_longest // 4 + _SPARE_COLUMNS
        return n_longest + n_masked + n_drafted + 1

    @property
    def n_columns(self) -> int:
        """Columns in use, masked ones included."""
        return self._used.shape[1]

    def feed(self, blocks: Sequence[Sequence[int]], trees: Sequence[DraftTree | None] | None = None) -> torch.Tensor:
        """Append ``blocks[i]``, then the nodes of ``trees[i]``, to row ``i``.

        Returns:
            The logits after the last token of each block and after each node of its tree, float32[rows + nodes, V] on
            the CPU, row by row.
        """
        trees = [None] * len(blocks) if trees is None else trees
        n_nodes = [0 if tree is None else len(tree) for tree in trees]
        widths = [len(block) + n for block, n in zip(blocks, n_nodes, strict=True)]
        tokens = torch.zeros((len(blocks), max(widths)), dtype=torch.int64)
        fed = torch.zeros((len(blocks), max(widths)), dtype=torch.bool)
        steps = torch.zeros((len(blocks), max(widths)), dtype=torch.int64)
        for row, (block, tree) in enumerate(zip(blocks, trees, strict=True)):
            tokens[row, : len(block)] = torch.as_tensor(block)
            steps[row] = len(block) - 1  # padding too, so that no position lies beyond the model's table
            steps[row, : len(block)] = torch.arange(len(block))
            if tree is not None:
                tokens[row, len(block) : widths[row]] = torch.from_numpy(tree.tokens.astype(np.int64))
                steps[row, len(block) : widths[row]] += torch.from_numpy(tree.depths.astype(np.int64))
            fed[row, : widths[row]] = True
        picked = [(row, len(b) - 1 + j) for row, b in enumerate(blocks) for j in range(n_nodes[row] + 1)]
        columns = sorted({column for _, column in picked})
        branches = self._n_allocated is not None or not all(tree is None or is_chain(tree) for tree in trees)
        seen = self._seen(blocks, trees, max(widths)) if branches else None
        logits = self._forward(tokens, fed, steps, columns, seen)
        self._used = torch.cat([self._used, fed], dim=1)
        self._fed = widths
        place = {column: at for at, column in enumerate(columns)}
        return logits[[row for row, _ in picked], [place[column] for _, column in picked]].float().cpu()

    def _seen(self, blocks: Sequence[Sequence[int]], trees: Sequence[DraftTree | None], width: int) -> torch.Tensor:
        """Which columns each fed token attends to: bool[B, 1, width, columns]."""
        n_past = self.n_columns
        seen = np.zeros((len(blocks), 1, width, self._n_allocated or n_past + width), dtype=np.bool_)
        seen[:, 0, :, :n_past] = self._used.numpy()[:, None, :]
        for row, (block, tree) in enumerate(zip(blocks, trees, strict=True)):
            n = len(block)
            own = seen[row, 0, :, n_past : n_past + width]
            own[:n, :n] = np.tri(n, dtype=np.bool_)
            if tree is not None and len(tree):
                own[n - 1 : n + len(tree), : n + len(tree)] = tree.attention_mask(n - 1)
                n += len(tree)
            own[range(n, width), range(n, width)] = True  # padding sees itself: a softmax over nothing is not a number
        return torch.from_numpy(seen)

    def _forward(
        self,
        tokens: torch.Tensor,
        fed: torch.Tensor,
        steps: torch.Tensor,
        columns: list[int],
        seen: torch.Tensor | None,
    ) -> torch.Tensor:
        device = self._model.device
        inputs: dict[str, Any] = {"input_ids": tokens.to(device), "past_key_values": self._cache, "use_cache": True}
        if seen is not None:
            inputs["attention_mask"] = mask_for(self._model, seen)
        else:
            used = torch.cat([self._used, fed], dim=1)
            if not bool(used.all()):
                inputs["attention_mask"] = used.to(device, torch.int64)
        if self._takes_positions:
            inputs["position_ids"] = (self._used.sum(1, keepdim=True) + steps).to(device)
        if self._takes_columns:
            inputs["logits_to_keep"] = torch.tensor(columns, device=device)
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs).logits
        return logits if self._takes_columns else logits[:, columns]

    def keep(self, kept: Sequence[Sequence[int]]) -> None:
        """Keep of what row ``i`` was last fed the tokens at the places ``kept[i]``, ascending; forget the others."""
        width, n_kept = max(self._fed), [len(places) for places in kept]
        first = self.n_columns - width
        if any(len(places) and places[-1] != len(places) - 1 for places in kept):
            order = torch.zeros((len(kept), max(n_kept)), dtype=torch.int64)
            for row, places in enumerate(kept):
                order[row, : len(places)] = torch.as_tensor(list(places))
            gather_columns(self._cache, first, order)
        stays = torch.arange(max(n_kept))[None, :] < torch.tensor(n_kept)[:, None]
        self._used = torch.cat([self._used[:, :first], stays], dim=1)
        cut_columns(self._cache, width - max(n_kept))
        longest = int(self._used.sum(1).max())
        if self.n_columns > longest + longest // 4 + _SPARE_COLUMNS:
            self._pack(longest)

    def forget(self, n_tokens: int) -> None:
        """Take back the last ``n_tokens`` tokens of the only row."""
        assert self._used.shape[0] == 1
        cut_columns(self._cache, n_tokens)
        self._used = self._used[:, : self.n_columns - n_tokens]

    def branch(self, n_rows: int) -> Batch:
        """A batch of ``n_rows`` rows that have each read what the only row of this one has read."""
        assert self._used.shape[0] == 1
        branches = Batch(self._model, n_rows)
        branches._cache = copy.deepcopy(self._cache)
        branches._cache.batch_repeat_interleave(n_rows)
        branches._used = self._used.repeat(n_rows, 1)
        return branches

    @classmethod
    def joined(cls, model: Any, parts: Sequence[Batch], n_columns: int | None = None) -> Batch:
        """A batch whose row ``i`` has read what the only row of ``parts[i]`` has; these are not to be used again."""
        if len(parts) == 1 and n_columns is None:
            return parts[0]
        batch = cls(model, len(parts), n_columns)
        n_read = [part.n_columns for part in parts]
        read = [part._cache.layers for part in parts if part.n_columns]
        for at in range(len(read[0]) if read else 0):
            both = []
            for name in ("keys", "values"):
                rows = iter([getattr(layers[at], name) for layers in read])
                first = getattr(read[0][at], name)
                padded = first.new_zeros((len(parts), first.shape[1], max(n_read), first.shape[3]))
                for row, n in enumerate(n_read):
                    if n:
                        padded[row, :, :n] = next(rows)[0]
                both.append(padded)
            batch._cache.update(*both, at)
        batch._used = torch.arange(max(n_read))[None, :] < torch.tensor(n_read)[:, None]
        return batch

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        index = torch.tensor(list(rows), dtype=torch.int64)
        select_rows(self._cache, index.to(self._model.device))
        self._used = self._used[index]

    def _pack(self, n_columns: int) -> None:
        # A stable sort of "is masked" puts each row's own columns first and keeps their order.
        order = torch.sort((~self._used).to(torch.int8), dim=1, stable=True).indices[:, :n_columns]
        gather_columns(self._cache, 0, order)
        cut_columns(self._cache, self.n_columns - n_columns)
        self._used = self._used.gather(1, order)


def largest_exact_batch(model: Any, n_wanted: int) -> int:
    """How many rows of ``model`` may share a batch with every row's result unchanged: ``n_wanted`` or 1.

    Raises:
        UnsupportedFeatureError: the model keeps a recurrent state, which cannot take a token back, or is an
            encoder-decoder.
    """
    config = model.config.get_text_config(decoder=True)
    if getattr(model.config, "is_encoder_decoder", False):
        raise UnsupportedFeatureError("expected a decoder-only model, found an encoder-decoder")
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if unknown := kinds - {"full_attention", "sliding_attention"}:
        raise UnsupportedFeatureError(
            f"expected attention layers with a key-value cache, found layers of type {sorted(unknown)}"
        )
    windowed = "sliding_attention" in kinds or getattr(config, "sliding_window", None) is not None
    parameters = inspect.signature(model.forward).parameters
    if "past_key_values" not in parameters:
        raise UnsupportedFeatureError("expected a model whose forward takes past_key_values")
    return n_wanted if "position_ids" in parameters and not windowed else 1

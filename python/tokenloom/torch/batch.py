"""Which columns of the key-value cache belong to which prompt, when each accepts another number of drafts?

A step feeds every row a block of tokens, padded on the right to the longest one. Causal attention keeps padding out of
the row's own logits, and after the step the caller says how many tokens of each block are kept. Columns that no row
keeps are cut off the end of the cache; columns that only some rows keep stay, and are masked out for the others. Real
tokens of a row therefore always lie in order, and a token's position is the number of its row's tokens before it, not
its column. A batch of one never holds a masked column.

Masked columns cost memory and attention time, so a cache with more than a quarter of them is packed: each row's own
columns are gathered to the front. The cost of a step is one forward pass over B x (longest block); packing costs one
copy of the cache, and happens at most once for every quarter of it that is filled, so it is linear overall.

Does not do: sliding-window layers with more than one row (the window counts columns), recurrent layers (they cannot
take a token back), static caches.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from tokenloom.errors import UnsupportedFeatureError

__all__ = ["Batch", "largest_exact_batch"]

_SPARE_COLUMNS = 32


class Batch:
    """Rows of tokens that one model reads together, with its cache.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        n_rows: number of rows; each starts empty.
    """

    def __init__(self, model: Any, n_rows: int) -> None:
        parameters = inspect.signature(model.forward).parameters
        self._model = model
        self._takes_positions = "position_ids" in parameters
        self._takes_columns = "logits_to_keep" in parameters
        self._cache: Any = DynamicCache()
        self._used = torch.zeros((n_rows, 0), dtype=torch.bool)
        self._fed: list[int] = []

    @property
    def n_columns(self) -> int:
        """Columns in the cache, masked ones included."""
        return self._used.shape[1]

    def feed(self, blocks: Sequence[Sequence[int]], n_logits: Sequence[int]) -> torch.Tensor:
        """Append ``blocks[i]`` to row ``i`` and return the logits after the last ``n_logits[i]`` of its tokens.

        Returns:
            Logits float32[sum(n_logits), V] on the CPU, row by row in the order of the tokens.
        """
        width = max(len(block) for block in blocks)
        tokens = torch.zeros((len(blocks), width), dtype=torch.int64)
        fed = torch.zeros((len(blocks), width), dtype=torch.bool)
        for row, block in enumerate(blocks):
            tokens[row, : len(block)] = torch.as_tensor(block)
            fed[row, : len(block)] = True
        columns = sorted({len(b) - k + j for b, k in zip(blocks, n_logits, strict=True) for j in range(k)})
        logits = self._forward(tokens, fed, columns)
        self._used = torch.cat([self._used, fed], dim=1)
        self._fed = [len(block) for block in blocks]
        place = {column: at for at, column in enumerate(columns)}
        picked = [
            (row, place[len(block) - k + j])
            for row, (block, k) in enumerate(zip(blocks, n_logits, strict=True))
            for j in range(k)
        ]
        rows, places = (list(part) for part in zip(*picked, strict=True))
        return logits[rows, places].float().cpu()

    def _forward(self, tokens: torch.Tensor, fed: torch.Tensor, columns: list[int]) -> torch.Tensor:
        device = self._model.device
        inputs: dict[str, Any] = {"input_ids": tokens.to(device), "past_key_values": self._cache, "use_cache": True}
        used = torch.cat([self._used, fed], dim=1)
        if not bool(used.all()):
            inputs["attention_mask"] = used.to(device, torch.int64)
        if self._takes_positions:
            # Padding repeats its row's last position, so that no position lies beyond the model's table.
            inputs["position_ids"] = (self._used.sum(1, keepdim=True) + fed.cumsum(1) - 1).to(device)
        if self._takes_columns:
            inputs["logits_to_keep"] = torch.tensor(columns, device=device)
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs).logits
        return logits if self._takes_columns else logits[:, columns]

    def keep(self, n_kept: Sequence[int]) -> None:
        """Keep the first ``n_kept[i]`` tokens of the block that row ``i`` was last fed; forget the others."""
        width = max(self._fed)
        first = self.n_columns - width
        kept = torch.arange(width)[None, :] < torch.tensor(list(n_kept))[:, None]
        surplus = width - max(n_kept)
        self._used = torch.cat([self._used[:, :first], kept[:, : width - surplus]], dim=1)
        if surplus:
            self._cache.crop(-surplus)
        longest = int(self._used.sum(1).max())
        if self.n_columns > longest + longest // 4 + _SPARE_COLUMNS:
            self._pack(longest)

    def forget(self, n_tokens: int) -> None:
        """Take back the last ``n_tokens`` tokens of the only row."""
        assert self._used.shape[0] == 1
        self._cache.crop(-n_tokens)
        self._used = self._used[:, : self.n_columns - n_tokens]

    def branch(self, n_rows: int) -> Batch:
        """A batch of ``n_rows`` rows that have each read what the only row of this one has read."""
        assert self._used.shape[0] == 1
        branches = Batch(self._model, n_rows)
        branches._cache = copy.deepcopy(self._cache)
        branches._cache.batch_repeat_interleave(n_rows)
        branches._used = self._used.repeat(n_rows, 1)
        return branches

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        index = torch.tensor(list(rows), dtype=torch.int64)
        self._cache.batch_select_indices(index.to(self._model.device))
        self._used = self._used[index]

    def _pack(self, n_columns: int) -> None:
        # A stable sort of "is masked" puts each row's own columns first and keeps their order.
        order = torch.sort((~self._used).to(torch.int8), dim=1, stable=True).indices[:, :n_columns]
        self._used = self._used.gather(1, order)
        for layer in self._cache.layers:
            index = order.to(layer.keys.device)[:, None, :, None]
            layer.keys = layer.keys.gather(2, index.expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3]))
            layer.values = layer.values.gather(2, index.expand(-1, layer.values.shape[1], -1, layer.values.shape[3]))


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

"""What does a Hugging Face model say after each of these token sequences?

The callable that ``tl.bytelevel`` asks for: contexts in, natural log-probabilities out. The contexts of one call, and
of the calls of one text, share a long beginning. That beginning stays in a key-value cache, so a call reads only what
the contexts do not share with each other and with the call before. Cost: one forward pass over the new part of the
shared beginning and one over B x (longest rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom.errors import ArrayError
from tokenloom.torch.batch import Batch, largest_exact_batch

__all__ = ["LanguageModel"]


class LanguageModel:
    """A Hugging Face causal language model as a function of token sequences.

    Args:
        model: a causal language model with attention layers and a key-value cache, in evaluation mode.

    One thread at a time: the cache belongs to the object.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._bos = model.config.get_text_config(decoder=True).bos_token_id
        self._shared: list[int] = []
        self._cache: Batch | None = None

    def __call__(self, contexts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """The next token's natural log-probabilities after each context, float64[len(contexts), V].

        A context without tokens is read as the model's beginning-of-sequence token alone.

        Raises:
            ArrayError: a context is empty and the model has no such token.
        """
        rows = [self._row(context) for context in contexts]
        if not rows:
            return np.empty((0, 0), dtype=np.float64)
        n_shared = min(_n_shared(rows), min(map(len, rows)) - 1)
        shared = rows[0][:n_shared]
        width = largest_exact_batch(self._model, len(rows))
        blocks = []
        for first in range(0, len(rows), width):
            rests = [row[n_shared:] for row in rows[first : first + width]]
            blocks.append(self._branches(shared, len(rests)).feed(rests))
        return torch.log_softmax(torch.cat(blocks).double(), dim=-1).numpy()

    def _row(self, context: Sequence[int]) -> list[int]:
        row = [int(token) for token in context]
        if row:
            return row
        if self._bos is None:
            raise ArrayError("expected at least one token: the model has no beginning-of-sequence token")
        return [int(self._bos)]

    def _branches(self, shared: list[int], n_rows: int) -> Batch:
        """``n_rows`` rows that have read ``shared``; the cache of ``shared`` itself is kept for the next call."""
        if not shared:
            return Batch(self._model, n_rows)
        n_common = _n_shared([self._shared, shared])
        if self._cache is None or n_common == 0:
            self._cache, n_common = Batch(self._model, 1), 0
        elif n_common < len(self._shared):
            self._cache.forget(len(self._shared) - n_common)
            self._shared = self._shared[:n_common]
        if n_common < len(shared):
            self._cache.feed([shared[n_common:]])
        self._shared = list(shared)
        return self._cache.branch(n_rows)


def _n_shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with in common."""
    return next((at for at, tokens in enumerate(zip(*rows, strict=False)) if len(set(tokens)) > 1), min(map(len, rows)))

"""What does a Hugging Face model say after each of these token sequences?

The callable that ``tl.bytelevel`` asks for: contexts in, natural log-probabilities out. The contexts of one call, and
of the calls of one text, share long beginnings. They are a tree of tokens, which a model with full attention reads in
one forward pass: every token once, however many contexts it is part of, behind what the call before left in the
key-value cache. A text that is scored asks for all its prefixes, which are one chain of that tree.

Other models get the shared beginning once and the rests side by side: one forward pass over the new part of the
beginning and one over B x (longest rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom.draft import DraftTree
from tokenloom.errors import ArrayError
from tokenloom.torch.batch import Batch, largest_exact_batch
from tokenloom.torch.tree_attention import can_read_trees

__all__ = ["LanguageModel"]


class LanguageModel:
    """A Hugging Face causal language model as a function of token sequences.

    Args:
        model: a causal language model with attention layers and a key-value cache, in evaluation mode.
        beginning: tokens that stand before every context: the beginning-of-sequence token, where the model was trained
            with one before every text.

    One thread at a time: the cache belongs to the object.
    """

    def __init__(self, model: Any, beginning: Sequence[int] = ()) -> None:
        self._model, self._beginning = model, [int(token) for token in beginning]
        self._bos = model.config.get_text_config(decoder=True).bos_token_id
        self._reads_trees = can_read_trees(model)
        # What the cache has read.
        self._read: list[int] = []
        self._cache: Batch | None = None

    def __call__(self, contexts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """The next token's natural log-probabilities after each context, float64[len(contexts), V].

        Where nothing stands before it, a context without tokens is read as the model's beginning-of-sequence token.

        Raises:
            ArrayError: a context is empty and the model has no such token.
        """
        rows = [self._row(context) for context in contexts]
        if not rows:
            return np.empty((0, 0), dtype=np.float64)
        try:
            logits = self._trees(rows) if self._reads_trees else self._side_by_side(rows)
        except BaseException:
            self._cache = None  # the model may have read half of what it was given
            raise
        return torch.log_softmax(logits.double(), dim=-1).numpy()

    def hand_over(self, text: Sequence[int]) -> tuple[Batch, int]:
        """Give the cache away, to go on with ``text``: one row, and of how many tokens it has read the beginning.

        The last token is left to be read, so that the model says what follows it.
        """
        cache, n_read = self._reading([int(token) for token in text[:-1]])
        self._cache, self._read = None, []
        return cache, n_read

    def _row(self, context: Sequence[int]) -> list[int]:
        row = [*self._beginning, *(int(token) for token in context)]
        if row:
            return row
        if self._bos is None:
            raise ArrayError("expected at least one token: the model has no beginning-of-sequence token")
        return [int(self._bos)]

    def _trees(self, rows: list[list[int]]) -> torch.Tensor:
        """The logits after each row. Rows that do not even begin with the same token are trees of their own."""
        groups: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            groups.setdefault(row[0], []).append(at)
        logits = torch.cat([self._tree([rows[at] for at in group]) for group in groups.values()])
        return logits[np.argsort(np.concatenate(list(groups.values())))]

    def _tree(self, rows: list[list[int]]) -> torch.Tensor:
        """The logits after each row; the longest of them stays in the cache."""
        longest = max(rows, key=len)
        n_shared = _n_shared(rows)
        shared = longest[:n_shared]
        # By parent and token. The longest row comes first, so that its columns stay where they are.
        nodes: dict[tuple[int, int], int] = {}
        ends = []
        for row in [longest, *rows]:
            node = -1
            for token in row[n_shared:]:
                node = nodes.setdefault((node, token), len(nodes))
            ends.append(node)
        cache, n_read = self._reading(shared[:-1])
        tree = DraftTree([token for _, token in nodes], [parent for parent, _ in nodes])
        logits = cache.feed([shared[n_read:]], [tree])
        cache.keep([range(len(longest) - n_read)])
        self._read = longest
        return logits[[node + 1 for node in ends[1:]]]

    def _side_by_side(self, rows: list[list[int]]) -> torch.Tensor:
        """The logits after each row; what they share stays in the cache."""
        n_shared = min(_n_shared(rows), min(map(len, rows)) - 1)
        shared = rows[0][:n_shared]
        width = largest_exact_batch(self._model, len(rows))
        blocks = []
        for first in range(0, len(rows), width):
            rests = [row[n_shared:] for row in rows[first : first + width]]
            blocks.append(self._branches(shared, len(rests)).feed(rests))
        return torch.cat(blocks)

    def _branches(self, shared: list[int], n_rows: int) -> Batch:
        """``n_rows`` rows that have read ``shared``; the cache of ``shared`` itself is kept for the next call."""
        if not shared:
            return Batch(self._model, n_rows)
        cache, n_read = self._reading(shared)
        if n_read < len(shared):
            cache.feed([shared[n_read:]])
        self._read = list(shared)
        return cache.branch(n_rows)

    def _reading(self, text: list[int]) -> tuple[Batch, int]:
        """The cache, which has read nothing but a beginning of ``text``, and how much of it."""
        n_common = _n_shared([self._read, text]) if self._read and text else 0
        if self._cache is None or n_common == 0:
            self._cache, self._read = Batch(self._model, 1), []
            return self._cache, 0
        if n_common < len(self._read):
            self._cache.forget(len(self._read) - n_common)
            self._read = self._read[:n_common]
        return self._cache, n_common


def _n_shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with in common."""
    return next((at for at, tokens in enumerate(zip(*rows, strict=False)) if len(set(tokens)) > 1), min(map(len, rows)))

"""What is a batch after dynamic tokenization?"""

from __future__ import annotations

import builtins
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenloom.tokenizer import Ragged

__all__ = ["Dynamic", "DynamicFields"]


@dataclass(frozen=True)
class DynamicFields:
    """How far a batch is merged, as ``_core.lexica`` reads it."""

    boundary: str
    n_merges: int
    enough_tokens: int
    max_token_bytes: int
    max_surface: int


@dataclass(frozen=True, eq=False)
class Dynamic:
    """A batch of texts in tokens of its own. ``L`` is the size of the local vocabulary.

    Attributes:
        ids: The sequences, as places in the local vocabulary, which is numbered as its tokens first occur.
        base: The sequences before merging, as ids of the tokenizer.
        base_ids: int64 ``[L]``; the id that the tokenizer has for a local token, -1 for a new one.
        bytes: uint8, the bytes of all local tokens.
        byte_offsets: int64 ``[L + 1]``; local token ``i`` is ``bytes[byte_offsets[i]:byte_offsets[i + 1]]``.
        surface: uint32 ``[L, max_surface]``; ids of the tokenizer that spell the token, the same as an input of a
            hypernetwork; ``pad_id`` behind them. A token that the tokenizer has is spelled by its id.
        surface_lengths: int32 ``[L]``; how many of a row are ids.
        segments: int64 ``[len(base.values)]``; which of ``ids.values`` each token of ``base`` went into: indices of a
            scatter that pools embeddings.
        n_tokens: int64 ``[n_merges + 1]``; tokens of the batch before any merge and after each.
    """

    ids: Ragged
    base: Ragged
    base_ids: NDArray[np.int64]
    bytes: NDArray[np.uint8]
    byte_offsets: NDArray[np.int64]
    surface: NDArray[np.uint32]
    surface_lengths: NDArray[np.int32]
    segments: NDArray[np.int64]
    n_tokens: NDArray[np.int64]

    def tokens(self) -> list[builtins.bytes]:
        """The bytes of every local token."""
        data, cuts = self.bytes.tobytes(), self.byte_offsets.tolist()
        return [data[start:end] for start, end in itertools.pairwise(cuts)]

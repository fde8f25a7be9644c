"""How is a mask packed? Bit ``id % 32`` of word ``id // 32``, 1 = allowed, as in vLLM, xgrammar and llguidance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fitted", "pack", "set_bit", "unpack"]


def pack(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Bools, one a token, as words, int32[ceil(n / 32)]."""
    padded = np.zeros(-(-len(allowed) // 32) * 32, dtype=np.bool_)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view("<i4").astype(np.int32, copy=False)


def unpack(words: NDArray[Any], n_tokens: int) -> NDArray[np.bool_]:
    """The bits of the first ``n_tokens`` tokens, bool[..., n_tokens]."""
    return np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little", count=n_tokens).astype(np.bool_)


def fitted(words: Any, n_tokens: int) -> NDArray[np.int32]:
    """A copy for rows of ``n_tokens``: what a mask is too short for is not allowed, what it is too long for is cut."""
    packed = np.zeros(-(-n_tokens // 32), dtype=np.int32)
    n_words = min(len(packed), len(words))
    packed[:n_words] = np.asarray(words)[:n_words]
    if spare := -n_tokens % 32:
        packed.view(np.uint32)[-1] &= np.uint32(0xFFFF_FFFF >> spare)
    return packed


def set_bit(words: NDArray[np.int32], token: int, value: bool) -> None:
    """Set the bit of ``token`` in place."""
    bits = words.view(np.uint32)
    bit = np.uint32(1 << (token % 32))
    bits[token // 32] = (bits[token // 32] | bit) if value else (bits[token // 32] & ~bit)

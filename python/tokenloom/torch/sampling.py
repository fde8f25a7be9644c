"""Drawing from torch tensors: CPU tensors are read in place, CUDA tensors stay on their device.

A CUDA draw is one kernel launch on the current stream, without a workspace and without a copy to the host. With seeds
and positions on the device and rules that were used before, nothing is copied at all.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tokenloom import sample as _sample
from tokenloom.errors import ArrayError, DeviceError
from tokenloom.sample import Params, SampledWithMargins
from tokenloom.torch.device import launch

__all__ = ["sample"]


def sample(
    logits: torch.Tensor, params: Params | Sequence[Params], seeds: Any, positions: Any, mask: Any, purpose: int
) -> SampledWithMargins:
    """:func:`tokenloom.sample.sample` for a tensor of logits; returns tensors on the device of the logits."""
    if logits.device.type == "cuda":
        return _sample_cuda(logits, params, seeds, positions, mask, purpose)
    if logits.device.type != "cpu":
        raise DeviceError(f"expected logits on the CPU or a CUDA device, found {logits.device}")
    drawn = _sample.sample(
        _array(logits), params, _array(seeds), _array(positions), _array(mask), purpose=purpose, return_margins=True
    )
    return SampledWithMargins(*(torch.from_numpy(array) for array in drawn))


def _array(value: Any) -> Any:
    """A CPU tensor as an array that shares its memory; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _sample_cuda(
    logits: torch.Tensor, params: Params | Sequence[Params], seeds: Any, positions: Any, mask: Any, purpose: int
) -> SampledWithMargins:
    if logits.dim() != 2 or not logits.dtype.is_floating_point:
        raise ArrayError(f"expected float logits of shape [B, V], found {logits.dtype} {list(logits.shape)}")
    device = logits.device
    n_rows, n_vocab = logits.shape
    if not 0 < n_vocab <= _sample.MAX_VOCAB:
        raise ArrayError(f"expected logits with 1 to {_sample.MAX_VOCAB} columns, found {n_vocab}")
    rows = logits.detach().to(torch.float32)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    rules = _rules_on(params if isinstance(params, Params) else tuple(params), n_rows, device)
    addresses = [_address(seeds, n_rows, device, "seeds"), _address(positions, n_rows, device, "positions")]
    words = _words(mask, n_rows, n_vocab, device)
    outputs = [
        torch.empty(n_rows, dtype=dtype, device=device)
        for dtype in (torch.int64, torch.float32, torch.int8, torch.float32)
    ]
    arguments = [rows, rows.stride(0), n_vocab, words, 0 if words is None else words.stride(0), *rules, *addresses]
    launch("sample", "tokenloom_sample", device, (n_rows, 1), [*arguments, purpose, *outputs], n_threads=512)
    return SampledWithMargins(*outputs)


_RULE_DTYPES = (np.float32, np.int64, np.float64, np.float64, np.float64)


@functools.lru_cache(maxsize=64)
def _rules_on(params: Params | tuple[Params, ...], n_rows: int, device: torch.device) -> list[torch.Tensor]:
    """The rules on the device. Kept, because a decoder draws every step with the same ones and a graph cannot copy."""
    rules = zip(_sample.rules_of(params, n_rows), _RULE_DTYPES, strict=True)
    return [torch.from_numpy(np.broadcast_to(rule, (n_rows,)).astype(dtype)).to(device) for rule, dtype in rules]


def _address(values: Any, n_rows: int, device: torch.device, argument: str) -> torch.Tensor:
    """Seeds or positions as 64-bit integers on the device; their values are not looked at there."""
    if isinstance(values, torch.Tensor):
        if values.shape != (n_rows,) or values.dtype not in (torch.int32, torch.int64, torch.uint64):
            found = f"{values.dtype} {list(values.shape)}"
            raise ArrayError(f"expected {argument} of shape [{n_rows}] and an integer dtype, found {found}")
        return values.to(device, torch.int64 if values.dtype == torch.int32 else values.dtype).contiguous()
    checked = _sample.checked_seeds if argument == "seeds" else _sample.checked_positions
    return torch.from_numpy(checked(values, n_rows).view(np.int64)).to(device)


def _words(mask: Any, n_rows: int, n_vocab: int, device: torch.device) -> torch.Tensor | None:
    if mask is None:
        return None
    words = mask if isinstance(mask, torch.Tensor) else torch.from_numpy(np.asarray(mask).view(np.int32))
    n_words = -(-n_vocab // 32)
    if words.dtype != torch.int32 or tuple(words.shape) not in ((n_rows, n_words), (n_words,)):
        found = f"{words.dtype} {list(words.shape)}"
        raise ArrayError(f"expected mask of dtype int32 and shape [{n_rows}, {n_words}], found {found}")
    return words.to(device).expand(n_rows, n_words).contiguous()

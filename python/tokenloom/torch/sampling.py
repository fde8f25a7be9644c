"""Drawing from torch tensors: CPU tensors are read in place, CUDA tensors stay on their device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tokenloom import sample as _sample
from tokenloom.errors import DeviceError
from tokenloom.sample import Params, SampledWithMargins

__all__ = ["sample"]


def sample(
    logits: torch.Tensor, params: Params | Sequence[Params], seeds: Any, positions: Any, mask: Any, purpose: int
) -> SampledWithMargins:
    """:func:`tokenloom.sample.sample` for a tensor of logits; returns tensors on the device of the logits."""
    if logits.device.type != "cpu":
        raise DeviceError(f"expected logits on the CPU, found {logits.device}")
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

"""Drawing from torch tensors: CPU tensors are read in place, CUDA tensors stay on their device.

See ``cuda_sampling`` for the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tokenloom import sample as _sample
from tokenloom.errors import DeviceError
from tokenloom.sample import Bfloat16Bits, Draws, LogitStats, Params, SampledWithMargins
from tokenloom.torch import cuda_sampling

__all__ = ["draw", "sample"]


def sample(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    seeds: Any,
    positions: Any,
    mask: Any,
    history: Any,
    prompt_lengths: Any,
    *,
    purpose: int,
    threads: int | None,
) -> SampledWithMargins:
    """:func:`tokenloom.sample.sample` for a tensor of logits; returns tensors on the device of the logits."""
    if logits.device.type == "cuda":
        drawn = cuda_sampling.draw(logits, params, seeds, positions, mask, history, prompt_lengths, None, purpose)
        return SampledWithMargins(*drawn[:4])
    rows, arguments = _cpu(logits, seeds, positions, mask, history)
    drawn = _sample.sample(
        rows,
        params,
        *arguments,
        prompt_lengths=_array(prompt_lengths),
        purpose=purpose,
        return_margins=True,
        threads=threads,
    )
    return SampledWithMargins(*(torch.from_numpy(array) for array in drawn))


def draw(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    seeds: Any,
    positions: Any,
    mask: Any,
    history: Any,
    prompt_lengths: Any,
    *,
    mirostat_mu: Any,
    **options: Any,
) -> Draws:
    """:func:`tokenloom.sample.draw` for a CPU tensor of logits; returns tensors."""
    rows, arguments = _cpu(logits, seeds, positions, mask, history)
    options = {"mirostat_mu": _array(mirostat_mu), "prompt_lengths": _array(prompt_lengths), **options}
    drawn = _sample.draw(rows, params, *arguments, **options)
    stats = LogitStats(*(torch.from_numpy(np.ascontiguousarray(array)) for array in drawn.stats))
    tensors = {name: torch.from_numpy(array) for name, array in drawn._asdict().items() if name != "stats"}
    return Draws(stats=stats, **tensors)


def _cpu(logits: torch.Tensor, *arguments: Any) -> tuple[Any, list[Any]]:
    if logits.device.type != "cpu":
        raise DeviceError(f"expected logits on the CPU or a CUDA device, found {logits.device}")
    return _logits(logits), [_array(argument) for argument in arguments]


def _logits(logits: torch.Tensor) -> Any:
    """A CPU tensor as an array that shares its memory, bfloat16 as its bits."""
    if logits.dtype == torch.bfloat16:
        return Bfloat16Bits(logits.detach().view(torch.int16).numpy().view(np.uint16))
    return logits.detach().numpy()


def _array(value: Any) -> Any:
    """A CPU tensor as an array that shares its memory; anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

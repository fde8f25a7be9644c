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
from tokenloom.sample import Bfloat16Bits, Draws, LogitStats, Params, SampledWithMargins
from tokenloom.torch.device import launch

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
        _check_kernel_has(params)
        return _sample_cuda(logits, params, seeds, positions, mask, purpose)
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


def _check_kernel_has(params: Params | Sequence[Params]) -> None:
    for item in [params] if isinstance(params, Params) else params:
        if item != Params(item.temperature, item.top_k, item.top_p, item.min_p, item.typical_p):
            raise DeviceError(
                "expected temperature, top_k, top_p, min_p and typical_p in the order 'hf', which the CUDA kernel has, "
                f"found {item}\nhint: logits.cpu() is drawn from by all rules"
            )


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

"""Drawing from torch tensors: CPU tensors are read in place, CUDA tensors stay on their device.

See ``cuda_sampling`` for the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from tokenloom import sample as _sample
from tokenloom._sample_arrays import check
from tokenloom.errors import DeviceError
from tokenloom.sample import Bfloat16Bits, Draws, LogitStats, Params, SampledWithMargins
from tokenloom.torch import cuda_sampling

__all__ = ["draw", "process", "rows_of_tensor", "sample"]


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
    n_top: int,
    top: str,
    purpose: int,
    threads: int | None,
) -> Draws:
    """:func:`tokenloom.sample.draw` for a tensor of logits; returns tensors on the device of the logits."""
    if logits.device.type == "cuda":
        given = seeds, positions, mask, history, prompt_lengths, mirostat_mu
        return _draw_on_cuda(logits, params, given, n_top=n_top, is_processed=top == "processed", purpose=purpose)
    rows, (seeds, positions, mask, history) = _cpu(logits, seeds, positions, mask, history)
    arrays = {"mirostat_mu": _array(mirostat_mu), "prompt_lengths": _array(prompt_lengths)}
    options: dict[str, Any] = {"n_top": n_top, "top": top, "purpose": purpose, "threads": threads, **arrays}
    found = _sample.draw(rows, params, seeds, positions, mask, history, **options)
    stats = LogitStats(*(torch.from_numpy(np.ascontiguousarray(array)) for array in found.stats))
    tensors = {name: torch.from_numpy(array) for name, array in found._asdict().items() if name != "stats"}
    return Draws(stats=stats, **tensors)


def _draw_on_cuda(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    given: Any,
    *,
    n_top: int,
    is_processed: bool,
    purpose: int,
) -> Draws:
    """A launch for the draw, one for what the rows look like, one for what the rules leave where that is asked for."""
    n_top = min(n_top, logits.shape[-1])
    seeds, positions, mask, history, lengths, mus = given
    rules = params, seeds, positions, mask, history, lengths, mus
    token, logprob, status, margin, mu = cuda_sampling.draw(logits, *rules, purpose)
    raw, stats, tokens, logprobs = cuda_sampling.stats(logits, token, 0 if is_processed else n_top)
    if is_processed:
        _, _, tokens, logprobs = cuda_sampling.process(logits, *rules, n_top=n_top, keeps_row=False)
    return Draws(token, logprob, status, margin, raw, mu, stats, tokens, logprobs)


def process(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    mask: Any,
    history: Any,
    *,
    prompt_lengths: Any,
    seeds: Any,
    positions: Any,
) -> torch.Tensor:
    """:func:`tokenloom.sample.process` for a tensor of logits; returns a tensor on the device of the logits."""
    if logits.device.type == "cuda":
        each = np.full(len(logits), seeds, dtype=np.uint64) if isinstance(seeds, int) else seeds
        left, statuses, _, _ = cuda_sampling.process(logits, params, each, positions, mask, history, prompt_lengths)
        check(statuses.tolist())
        return cast("torch.Tensor", left)
    rows, (seeds, positions, mask, history) = _cpu(logits, seeds, positions, mask, history)
    addresses = {"prompt_lengths": _array(prompt_lengths), "seeds": seeds, "positions": positions}
    return torch.from_numpy(_sample.process(rows, params, mask, history, **addresses))


def _cpu(logits: torch.Tensor, *arguments: Any) -> tuple[Any, list[Any]]:
    if logits.device.type != "cpu":
        raise DeviceError(f"expected logits on the CPU or a CUDA device, found {logits.device}")
    return rows_of_tensor(logits), [_array(argument) for argument in arguments]


def rows_of_tensor(logits: torch.Tensor) -> Any:
    """A tensor as an array, which shares the memory of a CPU tensor; bfloat16 as its bits."""
    rows = logits.detach().cpu()
    if rows.dtype == torch.bfloat16:
        return Bfloat16Bits(rows.view(torch.int16).numpy().view(np.uint16))
    return rows.numpy()


def _array(value: Any) -> Any:
    """A CPU tensor as an array that shares its memory; anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

"""How is a batch of CUDA logits drawn from?

One launch on the current stream, without a copy to the host: a cluster of blocks takes a row into shared memory where
the architecture has clusters; elsewhere one block takes it, and a workspace of torch's holds the row. What the kernel
gets of the rules comes from the Rust code that the CPU path runs (``Rules.shape``, ``Rules.adjustments``) and is kept
for rules that were used before. With seeds and positions on the device, known rules and no rule that looks at the text,
nothing is copied at all, so the launch can be captured in a graph.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom import sample as _sample
from tokenloom._sample_arrays import checked_positions, checked_seeds, checked_texts
from tokenloom.errors import ArrayError, DeviceError
from tokenloom.sample import LogitStats, Params
from tokenloom.torch.device import launch, part_memory, team

__all__ = ["addresses_on", "draw", "dtype_code", "process", "rows_of", "stats", "words_on"]

_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_N_THREADS = 512


def draw(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    seeds: Any,
    positions: Any,
    mask: Any,
    history: Any,
    prompt_lengths: Any,
    mirostat_mu: Any,
    purpose: int,
) -> tuple[torch.Tensor, ...]:
    """Tokens, log-probabilities, statuses, margins and mirostat states: see :func:`tokenloom.sample.draw`."""
    rows = rows_of(logits)
    n_rows, device = len(rows), rows.device
    rules = _rules(rows, params, seeds, positions, mask, history, prompt_lengths)
    mus = _mus(mirostat_mu, n_rows, device)
    outputs = _empty(n_rows, device, torch.int64, torch.float32, torch.int8, torch.float32, torch.float32)
    n_cluster, n_shared, workspace = _part(rows, "sample")
    launch(
        "sample",
        "tokenloom_sample",
        device,
        (n_cluster, n_rows),
        [*_row(rows), *rules, purpose, mus, workspace, *outputs],
        n_threads=_N_THREADS,
        n_cluster=n_cluster,
        n_shared_bytes=n_shared,
    )
    return tuple(outputs)


def process(
    logits: torch.Tensor,
    params: Params | Sequence[Params],
    seeds: Any,
    positions: Any,
    mask: Any,
    history: Any,
    prompt_lengths: Any,
    mirostat_mu: Any = None,
    *,
    n_top: int = 0,
    keeps_row: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The logits that the rules leave, statuses, and the best tokens with their log-probabilities under the rules.

    See :func:`tokenloom.sample.process`. Logits are NaN where the status is not OK; ``None`` unless ``keeps_row``.
    """
    rows = rows_of(logits)
    (n_rows, n_vocab), device = rows.shape, rows.device
    rules = _rules(rows, params, seeds, positions, mask, history, prompt_lengths)
    mus = _mus(mirostat_mu, n_rows, device)
    left = torch.empty((n_rows, n_vocab), dtype=torch.float32, device=device) if keeps_row else None
    (statuses,) = _empty(n_rows, device, torch.int8)
    top = _empty((n_rows, n_top), device, torch.int64, torch.float32)
    n_cluster, n_shared, workspace = _part(rows, "report")
    launch(
        "report",
        "tokenloom_process",
        device,
        (n_cluster, n_rows),
        [*_row(rows), *rules, mus, n_top, workspace, left, statuses, *top],
        n_threads=_N_THREADS,
        n_cluster=n_cluster,
        n_shared_bytes=n_shared,
    )
    return left, statuses, top[0], top[1]


def stats(
    logits: torch.Tensor, tokens: torch.Tensor, n_top: int = 0
) -> tuple[torch.Tensor, LogitStats, torch.Tensor, torch.Tensor]:
    """What rows look like, as the model gave them.

    Returns:
        Log-probabilities of the drawn ``tokens``, int64[B] with -1 for none; the numbers of
        :class:`tokenloom.sample.LogitStats`; the best tokens and their log-probabilities.
    """
    rows = rows_of(logits)
    n_rows, device = len(rows), rows.device
    if tokens.dtype != torch.int64 or tuple(tokens.shape) != (n_rows,):
        raise ArrayError(f"expected tokens of dtype int64 and shape [{n_rows}], found {list(tokens.shape)}")
    shares = _quantiles(device)
    (logprobs,) = _empty(n_rows, device, torch.float32)
    (ranks,) = _empty(n_rows, device, torch.int64)
    (numbers,) = _empty((n_rows, 7 + len(shares)), device, torch.float32)
    top = _empty((n_rows, n_top), device, torch.int64, torch.float32)
    n_cluster, n_shared, workspace = _part(rows, "report")
    launch(
        "report",
        "tokenloom_stats",
        device,
        (n_cluster, n_rows),
        [*_row(rows), tokens.contiguous(), shares, len(shares), n_top, workspace, logprobs, numbers, ranks, *top],
        n_threads=_N_THREADS,
        n_cluster=n_cluster,
        n_shared_bytes=n_shared,
    )
    norm, entropy, spread, collision, best, margin, above = numbers[:, :7].unbind(1)
    found = LogitStats(norm, entropy, spread, collision, best, margin, ranks, above, numbers[:, 7:])
    return logprobs, found, top[0], top[1]


def _rules(
    rows: torch.Tensor,
    params: Params | Sequence[Params],
    seeds: Any,
    positions: Any,
    mask: Any,
    history: Any,
    prompt_lengths: Any,
) -> list[Any]:
    """Mask, rules, what the texts change, seeds and positions, as the kernels take them."""
    (n_rows, n_vocab), device = rows.shape, rows.device
    known = params if isinstance(params, Params) else tuple(params)
    shapes, allowed = _rules_on(known, n_rows, n_vocab, device)
    words = words_on(mask, n_rows, n_vocab, device)
    if allowed is not None:
        words = allowed if words is None else words & allowed
    adjusts, offsets = _adjusts(known, history, prompt_lengths, n_rows, n_vocab, device)
    stride = 0 if words is None else words.stride(0)
    return [words, stride, shapes, adjusts, offsets, *addresses_on(seeds, positions, n_rows, device)]


def _row(rows: torch.Tensor) -> list[Any]:
    return [rows, rows.stride(0), dtype_code(rows), rows.shape[1]]


def _part(rows: torch.Tensor, unit: str) -> tuple[int, int, torch.Tensor | None]:
    """Blocks of a row, their shared memory, and a workspace."""
    n_cluster, n_part = team(rows.device, unit, rows.shape[1])
    return n_cluster, *part_memory(rows.device, unit, n_cluster, n_part, len(rows))


def _empty(shape: int | tuple[int, ...], device: torch.device, *dtypes: torch.dtype) -> list[torch.Tensor]:
    return [torch.empty(shape, dtype=dtype, device=device) for dtype in dtypes]


@functools.lru_cache(maxsize=64)
def _quantiles(device: torch.device) -> torch.Tensor:
    return torch.tensor(_sample.QUANTILES, dtype=torch.float64, device=device)


def rows_of(logits: torch.Tensor) -> torch.Tensor:
    """Logits whose columns are neighbours, of a dtype that the kernels read."""
    if logits.dim() != 2 or not logits.dtype.is_floating_point:
        raise ArrayError(f"expected float logits of shape [B, V], found {logits.dtype} {list(logits.shape)}")
    if not 0 < logits.shape[1] <= _sample.MAX_VOCAB or logits.shape[0] > 65535:
        raise ArrayError(
            f"expected logits with 1 to {_sample.MAX_VOCAB} columns and at most 65535 rows, found {list(logits.shape)}"
        )
    rows = logits.detach()
    rows = rows if rows.dtype in _DTYPES else rows.to(torch.float32)
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def dtype_code(rows: torch.Tensor) -> int:
    """What the kernels call the dtype of logits."""
    return _DTYPES[rows.dtype]


def addresses_on(seeds: Any, positions: Any, n_rows: int, device: torch.device) -> list[torch.Tensor]:
    """Seeds and positions as 64-bit integers on the device; tensors are not looked at."""
    return [_address(seeds, n_rows, device, "seeds"), _address(positions, n_rows, device, "positions")]


def _address(values: Any, n_rows: int, device: torch.device, argument: str) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        if values.shape != (n_rows,) or values.dtype not in (torch.int32, torch.int64, torch.uint64):
            found = f"{values.dtype} {list(values.shape)}"
            raise ArrayError(f"expected {argument} of shape [{n_rows}] and an integer dtype, found {found}")
        return values.to(device, torch.int64 if values.dtype == torch.int32 else values.dtype).contiguous()
    checked = checked_seeds if argument == "seeds" else checked_positions
    return torch.from_numpy(checked(values, n_rows).view(np.int64)).to(device)


def words_on(mask: Any, n_rows: int, n_vocab: int, device: torch.device) -> torch.Tensor | None:
    """A packed mask on the device, one row a row of logits."""
    if mask is None:
        return None
    words = mask if isinstance(mask, torch.Tensor) else torch.from_numpy(np.asarray(mask).view(np.int32))
    n_words = -(-n_vocab // 32)
    if words.dtype != torch.int32 or tuple(words.shape) not in ((n_rows, n_words), (n_words,)):
        found = f"{words.dtype} {list(words.shape)}"
        raise ArrayError(f"expected mask of dtype int32 and shape [{n_rows}, {n_words}], found {found}")
    return words.to(device).expand(n_rows, n_words).contiguous()


@functools.lru_cache(maxsize=64)
def _rules_on(
    params: Params | tuple[Params, ...], n_rows: int, n_vocab: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The operations and the allowed ids of each row. Kept: a decoder draws every step with the same ones."""
    each = [params] * n_rows if isinstance(params, Params) else list(params)
    if len(each) != n_rows:
        raise ArrayError(f"expected one Params or one a row ({n_rows}), found {len(each)}", argument="params")
    if any(item.mirostat == 1 for item in each):
        # It needs logarithms and powers that differ in the last place between a CPU and a GPU.
        raise DeviceError("expected mirostat 0 or 2 on a CUDA device, found 1\nhint: logits.cpu() takes it")
    shapes = np.stack([item.rules.shape(n_vocab) for item in each]).view(np.int32)
    allowed = None
    if any(item.allowed_ids for item in each):
        flags = np.ones((n_rows, -(-n_vocab // 32) * 32), dtype=bool)
        for row, item in zip(flags, each, strict=True):
            if item.allowed_ids:
                row[:] = False
                row[[token for token in item.allowed_ids if token < n_vocab]] = True
        packed = np.packbits(flags, axis=1, bitorder="little").view(np.int32)
        allowed = torch.from_numpy(packed).to(device)
    return torch.from_numpy(shapes).to(device), allowed


def _adjusts(
    params: Params | tuple[Params, ...],
    history: Any,
    prompt_lengths: Any,
    n_rows: int,
    n_vocab: int,
    device: torch.device,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What happens to single logits, row after row, and where each row begins."""
    each = [params] * n_rows if isinstance(params, Params) else list(params)
    if not any(item.rules.changes_logits for item in each):
        return None, None
    if not any(item.rules.needs_history for item in each):
        return _fixed_adjusts(params, n_rows, n_vocab, device)
    if isinstance(history, torch.Tensor):
        history = history.detach().cpu().numpy()
    if isinstance(prompt_lengths, torch.Tensor):
        prompt_lengths = prompt_lengths.detach().cpu().numpy()
    tokens, starts, lengths = checked_texts(history, prompt_lengths, n_rows)
    texts = [tokens[start:end] for start, end in itertools.pairwise(starts)]
    return _adjusts_after(each, texts, lengths.tolist(), n_vocab, device)


@functools.lru_cache(maxsize=64)
def _fixed_adjusts(
    params: Params | tuple[Params, ...], n_rows: int, n_vocab: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of rules that do not look at the text. Kept, as the other rules are."""
    each = [params] * n_rows if isinstance(params, Params) else list(params)
    return _adjusts_after(each, [np.zeros(0, dtype=np.uint32)] * n_rows, [0] * n_rows, n_vocab, device)


def _adjusts_after(
    params: list[Params], texts: list[NDArray[np.uint32]], n_prompts: list[int], n_vocab: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    adjusts = [
        item.rules.adjustments(np.ascontiguousarray(text), max(n_prompt, 0), n_vocab)
        for item, text, n_prompt in zip(params, texts, n_prompts, strict=True)
    ]
    offsets = np.cumsum([0] + [len(rows) for rows in adjusts], dtype=np.int64)
    words = np.concatenate([np.zeros((0, 4), dtype=np.uint32), *adjusts]).view(np.int32)
    return torch.from_numpy(words).to(device), torch.from_numpy(offsets).to(device)


def _mus(mirostat_mu: Any, n_rows: int, device: torch.device) -> torch.Tensor | None:
    if mirostat_mu is None:
        return None
    mus = torch.as_tensor(mirostat_mu, dtype=torch.float32, device=device)
    if mus.shape != (n_rows,):
        raise ArrayError(f"expected mirostat_mu of shape [{n_rows}], found {list(mus.shape)}")
    return mus.contiguous()

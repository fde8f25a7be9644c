"""What does a forward pass over n tokens cost, on this model and this device?

Whether a draft pays depends on it: one more row is nearly free where memory traffic is the limit, and costs its share
where arithmetic is. The curve T(n) is measured once: passes over n tokens behind a filled cache, all sizes in turn,
several rounds, the least time of each size (others on the machine only ever add to it), and made to rise. On a CPU it
is processor time, which a busy machine does not stretch. It is stored under the cache folder, by a key of everything it
depends on, and read from there the next time.

Measuring takes a few dozen forward passes: seconds for a small model.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from tokenloom.draft import CostCurve
from tokenloom.errors import FormatError
from tokenloom.torch.cache import cut_columns
from tokenloom.torch.loading import cache_folder

__all__ = ["cost_curve"]

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_N_PAST = 128
_N_ROUNDS = 4


def cost_curve(model: Any, *, cache: str | Path | None = None, refresh: bool = False) -> CostCurve:
    """The cost curve of ``model`` where it is, stored or measured now.

    Args:
        model: a causal language model with a key-value cache.
        cache: folder of stored curves. Default: ``costs`` in the cache folder (``$TOKENLOOM_CACHE``).
        refresh: measure again.
    """
    folder = cache_folder() / "costs" if cache is None else Path(cache)
    path = folder / f"{_key(model)}.json"
    if not refresh and path.is_file():
        try:
            return CostCurve.load(path)
        except FormatError:
            pass  # not ours, or half written: measured again
    curve = _measure(model)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    curve.save(fresh)
    fresh.replace(path)
    return curve


def _key(model: Any) -> str:
    """A name for everything that the curve depends on."""
    device = model.device
    what = {
        "config": model.config.to_dict(),
        "dtype": str(model.dtype),
        "attention": getattr(model.config, "_attn_implementation", None),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {os.cpu_count()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _measure(model: Any) -> CostCurve:
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    n_past = _N_PAST if limit is None else max(1, min(_N_PAST, limit - _SIZES[-1]))
    sizes = [n for n in _SIZES if limit is None or n_past + n <= limit]
    least = dict.fromkeys(sizes, float("inf"))
    cache = DynamicCache()
    ones = torch.ones((1, max(n_past, sizes[-1])), dtype=torch.int64, device=model.device)
    with torch.inference_mode():
        model(ones[:, :n_past], past_key_values=cache, use_cache=True)
        for _ in range(_N_ROUNDS):
            for n in sizes:
                start = _now(model)
                model(ones[:, :n], past_key_values=cache, use_cache=True)
                least[n] = min(least[n], _now(model) - start)
                cut_columns(cache, n)
    return CostCurve(sizes, np.maximum.accumulate(list(least.values())).tolist())


def _now(model: Any) -> float:
    if model.device.type == "cpu":
        return time.process_time()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from tokenloom.torch.cache import cut_columns
from tokenloom.torch.loading import cache_folder

__all__ = ["CostCurve", "cost_curve"]

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_N_PAST = 128
_N_ROUNDS = 4


@dataclass(frozen=True)
class CostCurve:
    """Seconds of a forward pass by the number of its tokens (processor seconds on a CPU).

    Attributes:
        sizes: numbers of tokens, ascending from 1.
        seconds: what each takes, not falling.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def table(self, n_tokens: int) -> NDArray[np.float64]:
        """Seconds of passes over 0 to ``n_tokens`` tokens, float64[n_tokens + 1]; linear between and beyond sizes."""
        n = np.arange(n_tokens + 1, dtype=np.float64)
        inside = np.interp(n, self.sizes, self.seconds)
        if len(self.sizes) == 1:
            return inside
        slope = (self.seconds[-1] - self.seconds[-2]) / (self.sizes[-1] - self.sizes[-2])
        table: NDArray[np.float64] = inside + np.maximum(n - self.sizes[-1], 0.0) * slope
        return table


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
            found = json.loads(path.read_text("utf-8"))
            return _risen([int(n) for n in found["sizes"]], [float(s) for s in found["seconds"]])
        except (ValueError, KeyError, TypeError):
            pass  # not ours, or half written: measured again
    curve = _measure(model)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(json.dumps({"sizes": curve.sizes, "seconds": curve.seconds}), "utf-8")
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
    return _risen(sizes, list(least.values()))


def _now(model: Any) -> float:
    if model.device.type == "cpu":
        return time.process_time()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _risen(sizes: list[int], seconds: list[float]) -> CostCurve:
    """A curve that never falls. Raises ValueError for numbers that are no curve."""
    if len(sizes) != len(seconds) or sizes[:1] != [1] or sorted(set(sizes)) != sizes:
        raise ValueError("expected ascending sizes from 1, one time each")
    if not all(np.isfinite(seconds)) or min(seconds) <= 0:
        raise ValueError("expected positive times")
    return CostCurve(tuple(sizes), tuple(np.maximum.accumulate(seconds).tolist()))

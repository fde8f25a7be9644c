"""Rows of logits that are hard on rules: recorded ones, and ones that somebody made up on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"


def bf16(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded to bfloat16, as most models give their logits: many tokens tie."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def hard_rows(n_vocab: int) -> dict[str, NDArray[np.float32]]:
    """Rows float32[V] by name; all can be drawn from."""
    generator = np.random.default_rng(n_vocab)
    normal = generator.normal(size=n_vocab).astype(np.float32)
    peaked = normal.copy()
    peaked[n_vocab // 3] = 20.0
    holes = np.where(generator.random(n_vocab) < 0.7, -np.inf, normal * 2).astype(np.float32)
    holes[n_vocab // 2] = 1.0
    single = np.full(n_vocab, -np.inf, np.float32)
    single[n_vocab - 1] = -3.0
    ties = np.zeros(n_vocab, np.float32)
    ties[:: max(n_vocab // 7, 1)] = 2.0
    return {
        "normal": normal,
        "wide": normal * 6,
        "peaked": peaked,
        "flat": np.zeros(n_vocab, np.float32),
        "holes": holes,
        "single": single,
        "ties": ties,
        "bf16": bf16(normal * 3),
        "two levels": np.where(np.arange(n_vocab) < n_vocab // 2, 1.0, -1.0).astype(np.float32),
        "finite floor": np.where(generator.random(n_vocab) < 0.5, np.finfo(np.float32).min, normal).astype(np.float32),
        "zipf": (-1.2 * np.log(np.arange(1, n_vocab + 1))).astype(np.float32),
    }


#: Widths below, at and around the block of the engine, odd ones among them.
WIDTHS = (1, 2, 3, 31, 63, 64, 65, 127, 1000)


def recorded_rows() -> NDArray[np.float32]:
    """What a real model said after eight different texts, float32[8, 49152]: see tests/data/SOURCE.md."""
    with np.load(DATA / "smollm2_rows.npz") as arrays:
        return arrays["logits"].astype(np.float32)

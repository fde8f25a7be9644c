"""NumPy: a draw by inverting the cumulative distribution; drafts verified as one would write it down, with nothing
computed that is not needed; one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.engines.sampling import rows_of, sampling_job
from benches.engines.verifying import Committed, Draft, verify_job
from benches.job import Job

PACKAGES = ("numpy",)


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row by the inverse of the cumulative distribution."""
    rows = rows_of(arguments)
    temperature = np.float32(arguments["rules"]["temperature"])
    rng = np.random.default_rng(0)

    def step(position: int) -> NDArray[np.float32]:
        for row in rows:
            weights = np.exp((row - row.max()) / temperature)
            sums = np.cumsum(weights)
            np.searchsorted(sums, rng.random() * sums[-1], side="right")
        return rows

    return sampling_job(arguments, step, lambda rows: np.exp((rows - rows.max(1, keepdims=True)) / temperature) > 0)


def verify(arguments: dict[str, Any]) -> Job:
    """A chain token by token, or siblings in turn."""

    def draw(weights: NDArray[np.float32], rng: np.random.Generator) -> int:
        sums = np.cumsum(weights, dtype=np.float64)
        return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))

    def chain(draft: Draft, seed: int) -> Committed:
        rng = np.random.default_rng(seed)
        for i, token in enumerate(draft.tokens):
            if rng.random() * draft.q[i, token] >= draft.p[i, token]:
                return i, draw(np.maximum(draft.p[i] - draft.q[i], 0), rng)
        return len(draft.tokens), draw(draft.p[-1], rng)

    def siblings(draft: Draft, seed: int) -> Committed:
        rng = np.random.default_rng(seed)
        left, q = draft.p[0], draft.q[0]
        for i, token in enumerate(draft.tokens):
            if rng.random() * q[token] < left[token]:
                return 1, draw(draft.p[i + 1], rng)
            left = np.maximum(left - q, 0)
            left /= left.sum()
        return 0, draw(left, rng)

    return verify_job(arguments, chain if arguments["is_chain"] else siblings)

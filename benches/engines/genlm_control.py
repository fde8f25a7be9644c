"""genlm-control: ``AWRS`` with its default settings on a potential that returns fixed log-probabilities."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
from genlm.control import Potential
from genlm.control.sampler.token import AWRS

from benches.engines.weighting import Draw, awrs_job, row_of
from benches.job import Job

PACKAGES = ("genlm-control", "numpy")


class _Fixed(Potential):  # type: ignore[misc]
    def __init__(self, log_probs: np.ndarray) -> None:
        super().__init__(list(range(len(log_probs))))
        # The last weight is that of the end of the text.
        self._weights = self.make_lazy_weights(np.append(log_probs.astype(np.float64), -np.inf))

    async def prefix(self, context: list[int]) -> float:
        return 0.0

    async def complete(self, context: list[int]) -> float:
        return 0.0

    async def logw_next(self, context: list[int]) -> Any:
        return self._weights


class _Every(Potential):  # type: ignore[misc]
    """Allows the tokens that ``step`` divides."""

    def __init__(self, n_vocab: int, step: int) -> None:
        super().__init__(list(range(n_vocab)))
        self._step = step

    async def prefix(self, context: list[int]) -> float:
        return -math.inf if context and context[-1] % self._step else 0.0

    async def complete(self, context: list[int]) -> float:
        return -math.inf


def awrs(arguments: dict[str, Any]) -> Job:
    """One ``sample`` a step, without autobatching, which costs a single stream more."""
    log_probs = row_of(arguments)
    potential, condition = _Fixed(log_probs), _Every(len(log_probs), arguments["step"])
    sampler = AWRS(potential, condition, seed=arguments["seed"], autobatch=False)

    async def steps(n_steps: int) -> list[Draw]:
        drawn = []
        for _ in range(n_steps):
            token, log_weight, _ = await sampler.sample([])
            drawn.append((int(token), float(log_weight)))
        return drawn

    return awrs_job(arguments, lambda _, n_steps: asyncio.run(steps(n_steps)))

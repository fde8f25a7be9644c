"""What does every sampler draw from, and on what must they agree?

Random draws differ between engines, so the answer of a round is the set of tokens that could have been drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.job import Job


def rows_of(arguments: dict[str, Any]) -> NDArray[np.float32]:
    """Logits [B, V]: normal, with the spread of the arguments; float32."""
    generator = np.random.default_rng(arguments["seed"])
    rows = generator.standard_normal((arguments["n_rows"], arguments["n_vocab"]), dtype=np.float32)
    return rows * np.float32(arguments["spread"])


def sampling_job(
    arguments: dict[str, Any], draw: Callable[[int], Any], could_be_drawn: Callable[[Any], NDArray[np.bool_]]
) -> Job:
    """Round k draws ``n_batches`` times one token a row, at other positions than the rounds before."""
    n_batches, n_rounds = arguments["n_batches"], arguments["n_rounds"]

    def run(start: int) -> Any:
        for position in range(start, start + n_batches):
            result = draw(position)
        return result

    return Job(
        rounds=[partial(run, n_round * n_batches) for n_round in range(n_rounds)],
        answer=lambda result: np.packbits(could_be_drawn(result)).tobytes(),
        warm_up=partial(draw, 10**6),
    )

"""What the engines that weigh draws share: a row, a rule, and the test that their draws are properly weighted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.job import Job

Draw = tuple[int, float]
"""A token and its log weight."""


def row_of(arguments: dict[str, Any]) -> NDArray[np.float32]:
    """Normalised log-probabilities: ``flat`` is N(0, 3), ``peaked`` has one forbidden token near 0.98."""
    rng = np.random.default_rng(arguments["seed"])
    logits = rng.normal(0.0, 3.0, arguments["n_vocab"])
    if arguments["shape"] == "peaked":
        logits[1] = np.logaddexp.reduce(logits) + 4.0
    return (logits - np.logaddexp.reduce(logits)).astype(np.float32)


def awrs_job(arguments: dict[str, Any], draw: Callable[[int, int], list[Draw]]) -> Job:
    """``draw(round, n_steps)`` is timed; engines agree if draws are allowed and weigh the allowed mass on average."""
    log_probs = row_of(arguments).astype(np.float64)
    step, n_steps = arguments["step"], arguments["n_steps"]
    mass = float(np.exp(log_probs[::step]).sum())

    def judge(drawn: list[Draw]) -> bytes:
        weights = np.exp([log_weight for _, log_weight in drawn])
        # Five standard errors, or rounding where the weight does not vary.
        error = 5.0 * weights.std() / np.sqrt(len(weights)) + 1e-4 * mass
        is_allowed = all(token % step == 0 for token, _ in drawn)
        return b"proper" if is_allowed and abs(weights.mean() - mass) <= error else b"not proper"

    return Job(
        rounds=[partial(draw, i, n_steps) for i in range(arguments["n_rounds"])],
        answer=judge,
        warm_up=partial(draw, arguments["n_rounds"], 5),
    )

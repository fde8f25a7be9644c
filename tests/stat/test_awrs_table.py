"""The table of ``docs/concepts/awrs.md``: relative variance and checks of each estimator, by enumeration of the twin.

The twin equals the compiled estimators draw by draw (``tests/unit/test_awrs.py``), and the compiled ones are enumerated
for unbiasedness in ``rust/decode/tests/laws.rs``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from tokenloom.reference import awrs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "awrs.md"
ROWS = {
    ".5 .3 .1 .06 .04; 1 0 1 0 1": ([0.5, 0.3, 0.1, 0.06, 0.04], [1, 0, 1, 0, 1]),
    ".9 .05 .03 .02; 1 0 0 1": ([0.9, 0.05, 0.03, 0.02], [1, 0, 0, 1]),
    ".9 .05 .03 .02; 0 1 0 1": ([0.9, 0.05, 0.03, 0.02], [0, 1, 0, 1]),
    ".25 .2 .2 .15 .1 .1; 0 0 0 1 1 0": ([0.25, 0.2, 0.2, 0.15, 0.1, 0.1], [0, 0, 0, 1, 1, 0]),
}


class Scripted(awrs.Race):
    """An urn whose decisions are told; the first that is not is reported with its chances."""

    def __init__(self, probs: list[float], script: tuple[int, ...]) -> None:
        super().__init__(probs, 0, 0)
        self.script, self.probability, self.branches = list(script), 1.0, None

    def decide(self, weights: list[float]) -> int:
        chances = np.array(weights) / math.fsum(weights)
        if self.script:
            choice = self.script.pop(0)
            self.probability *= chances[choice]
            return choice
        self.branches = chances if self.branches is None else self.branches
        return int(np.argmax(chances))

    def draw(self) -> int | None:
        if not self.unseen:
            return None
        tokens = sorted(self.unseen)
        token = tokens[self.decide([self.probs[token] for token in tokens])]
        self.unseen.discard(token)
        return token

    def choose(self, masses: Any) -> int:
        return self.decide(list(masses))

    def failures(self, share: float) -> float:
        return 0.0  # without a budget, repetitions change the weight alone, not what is checked


def geometric(probs: list[float], allowed: list[int], accepts: int) -> tuple[float, float]:
    """Relative variance, from the negative binomial law of the rejections, and checks."""
    mass = sum(p for p, c in zip(probs, allowed, strict=True) if c)
    rejects = np.arange(10_000)
    chances = stats.nbinom.pmf(rejects, accepts, mass)
    weights = (accepts - 1) / (accepts + rejects - 1)
    assert math.isclose(chances @ weights, mass, rel_tol=1e-9)
    return chances @ weights**2 / mass**2 - 1, moments(probs, allowed, awrs.geometric, accepts=accepts)[2]


def moments(probs: list[float], allowed: list[int], estimate: Callable[..., Any], **options: int) -> tuple[float, ...]:
    """Mean and relative variance of the weight, and the mean number of checks."""
    open_scripts: list[tuple[int, ...]] = [()]
    mean = square = n_checks = 0.0
    while open_scripts:
        script = open_scripts.pop()
        urn = Scripted(probs, script)
        _, weight, n = estimate(urn, lambda token: bool(allowed[token]), **options)
        if urn.branches is None:
            mean += urn.probability * weight
            square += urn.probability * weight**2
            n_checks += urn.probability * n
        else:
            chances = enumerate(urn.branches)
            open_scripts += [(*script, i) for i, chance in chances if urn.probability * chance > 1e-12]
    return mean, square / mean**2 - 1, n_checks


def table() -> list[str]:
    """The rows of the table."""
    lines = []
    for name, (probs, allowed) in ROWS.items():
        found = []
        mass = sum(p for p, c in zip(probs, allowed, strict=True) if c)
        for options in ({}, {"extra": 2}, {"extra": 3}, {"top_m": 3}):
            mean, *numbers = moments(probs, allowed, awrs.known_mass, **options)
            assert math.isclose(mean, mass, rel_tol=1e-6)
            found.append(numbers)
        found += [geometric(probs, allowed, accepts) for accepts in (2, 5)]
        cells = " | ".join(f"{variance:.3f} / {checks:.1f}" for variance, checks in found)
        lines.append(f"| {name} | {cells} |")
    return lines


def test_the_table_of_the_page_is_the_enumeration() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for line in table():
        assert line in page, line


def test_published_numbers_of_the_recursive_estimator() -> None:
    """The reference library's own behaviour on the same rows, enumerated independently."""
    assert np.allclose(moments(*ROWS[".9 .05 .03 .02; 0 1 0 1"], awrs.known_mass)[1:], (0.50, 3.23), atol=0.01)


if __name__ == "__main__":
    print("\n".join(table()))

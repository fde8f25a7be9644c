"""What does a forward pass over several rows cost, and how many drafted nodes pay?"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tokenloom._core import draft as _core
from tokenloom.errors import FormatError

__all__ = ["CostCurve"]

_ROWS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 17, 24, 32, 33, 48, 64, 65)
"""Both sides of the tile sizes at which devices step."""


class CostCurve(NamedTuple):
    """Seconds of a forward pass by the number of its rows, for one model on one device.

    Drafters that are given a curve draft the nodes that raise tokens a second, ``(1 + expected accepted) / seconds``,
    and none where no draft pays.

    Attributes:
        rows: ascending, from 1.
        seconds: positive, one for each; between them the curve is linear.

    >>> import tokenloom as tl
    >>> curve = tl.draft.CostCurve([1, 8, 9], [0.010, 0.010, 0.020])
    >>> curve.n_paying([0.9, 0.5, 0.2]), curve.n_paying([0.01] * 20)
    (3, 7)
    """

    rows: Sequence[int]
    seconds: Sequence[float]

    @classmethod
    def measure(cls, run: Callable[[int], object], rows: Sequence[int] = _ROWS, n_rounds: int = 5) -> Self:
        """Time ``run(n_rows)``, a forward pass over so many rows that has ended when the call returns.

        Args:
            run: the pass, with a cache of a usual length; it must wait for its device.
            rows: where to measure, ascending from 1.
            n_rounds: rounds over all rows; the median of each counts.
        """
        seconds: dict[int, list[float]] = {n_rows: [] for n_rows in rows}
        for n_round in range(n_rounds + 1):
            for n_rows in rows:
                start = time.perf_counter()
                run(n_rows)
                if n_round:  # the first round warms up
                    seconds[n_rows].append(time.perf_counter() - start)
        return cls(list(rows), [statistics.median(seconds[n_rows]) for n_rows in rows])

    def at(self, n_rows: int) -> float:
        """Seconds of a pass over ``n_rows``."""
        return _core.paying((list(self.rows), list(self.seconds)), [], [n_rows])[1][0]

    def n_paying(self, path_probs: Sequence[float]) -> int:
        """How many nodes pay, given the path probabilities of the best ones, the largest first."""
        return _core.paying((list(self.rows), list(self.seconds)), list(path_probs), [])[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as JSON."""
        Path(path).write_text(json.dumps({"rows": list(self.rows), "seconds": list(self.seconds)}), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a curve.

        Raises:
            FormatError: the file is no curve.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            curve = cls([int(n) for n in data["rows"]], [float(t) for t in data["seconds"]])
            curve.at(1)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"expected a cost curve with rows and seconds in {path}, found {error}") from error
        return curve


def as_pair(cost: CostCurve | None) -> tuple[list[int], list[float]] | None:
    """What the core takes."""
    return None if cost is None else (list(cost.rows), list(cost.seconds))

"""What does the merged tree yield beside each of its sources, and beside Goose?

``python -m benches.merged`` replays the references of Spec-Bench, nothing known at the start and nothing said by a
model; ``python -m benches.merged FILE`` recorded streams with the model's likely tokens (:mod:`benches.streams`). Both
print tables in Markdown. No times: what is counted does not depend on the machine.

Equal drafts: a source drafts as many nodes a step as it likes; of the merged tree the same mean number is read off its
curve over ``min_prob``, linear between neighbouring points, category by category.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenloom as tl
from tokenloom._replay import Record, read_record

from benches.bench_draft import write_requests

MIN_PROBS = (0.5, 0.35, 0.25, 0.18, 0.13, 0.09, 0.065, 0.045, 0.032, 0.023, 0.016, 0.011, 0.008)
BUDGETS = (2, 4, 8)

Points = dict[str, tuple[float, float]]
"""Drafted and kept tokens a step, by category."""


def main() -> int:
    """Print the curve of the merged tree, the sources beside it, and sixty nodes a step."""
    records = _recorded(Path(sys.argv[1])) if len(sys.argv) > 1 else _references()
    kinds = [*dict.fromkeys(record.category for record in records), "all"]
    curve = []
    print("## `Merged([Suffix(), Recycling()], min_prob)`\n")
    _row(["min_prob", "calibration error", *kinds], is_title=True)
    for min_prob in MIN_PROBS:
        points, error = _replay(_merged(min_prob), records, 64)
        curve.append(points)
        _row([min_prob, f"{error:.3f}", *(_cell(points[kind]) for kind in kinds)])
    print("\n## Each source (in brackets: the merged tree at as many drafted tokens)\n")
    _row(["source", "calibration error", *kinds], is_title=True)
    for name, drafters in _sources().items():
        ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
        for drafter, budget in drafters:
            points, error = _replay(drafter, records, budget)
            cells = []
            for kind in kinds:
                n_drafted, rate = points[kind]
                beside = float(np.interp(n_drafted, *zip(*sorted(one[kind] for one in curve), strict=True)))
                ratios[kind].append(beside / rate)
                cells.append(f"{_cell(points[kind])} ({beside:.3f})")
            _row([f"`{drafter}`, budget {budget}", f"{error:.3f}", *cells])
        _row([f"*merged over {name}, mean*", "", *(f"*{sum(many) / len(many):.3f}*" for many in ratios.values())])
    print("\n## Budget of sixty nodes\n")
    _row(["drafter", *kinds], is_title=True)
    for name, drafter in (("`Merged`, min_prob 0", _merged(0.0)), ("`Spine()`", tl.draft.Spine())):
        points, _ = _replay(drafter, records, 60)
        _row([name, *(_cell(points[kind]) for kind in kinds)])
    return 0


def _merged(min_prob: float) -> Any:
    return tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling()], min_prob)


def _sources() -> dict[str, list[tuple[Any, int]]]:
    """Settings of each source, with the budget of a step."""
    return {
        "Suffix": [(tl.draft.Suffix(min_prob=least), 64) for least in (0.2, 0.15, 0.1, 0.07, 0.05, 0.035)],
        "Recycling": [(tl.draft.Recycling(min_prob=least), 64) for least in (0.15, 0.1, 0.05)],
        "Ngram": [(tl.draft.Ngram(length=budget), budget) for budget in BUDGETS],
        "Trie": [(tl.draft.Trie(), budget) for budget in BUDGETS],
        "Spine": [(tl.draft.Spine(), budget) for budget in BUDGETS],
    }


def _replay(drafter: Any, records: Sequence[Record], budget: int) -> tuple[Points, float]:
    """Drafted and kept tokens a step by category, and the calibration error."""
    found = tl.draft.replay(drafter, records, budget)
    sums = {**found.categories, "all": found}
    points = {kind: (one.drafted_per_step, one.tokens_per_step) for kind, one in sums.items()}
    return points, found.calibration_error


def _recorded(path: Path) -> list[Record]:
    with path.open(encoding="utf-8") as lines:
        return [read_record(json.loads(line), None) for line in lines]


def _references() -> list[Record]:
    path, *_ = write_requests()
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return [Record(prompt, answer, kind) for kind, prompt, answer in rows]


def _cell(point: tuple[float, float]) -> str:
    return f"{point[1]:.3f} at {point[0]:.1f}"


def _row(cells: Sequence[object], *, is_title: bool = False) -> None:
    print(f"| {' | '.join(map(str, cells))} |")
    if is_title:
        print("|" + "---|" * len(cells))


if __name__ == "__main__":
    sys.exit(main())

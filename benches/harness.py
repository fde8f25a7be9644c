"""Who is faster, on answers that agree?

The only timing loop of the project. For every case: (1) each engine does all rounds once in a process of its own and
hashes its answers; one that differs from the case's oracle is marked and never timed; (2) each remaining engine starts
again in a fresh process, so that what it cached while it was checked does not help it; (3) the rounds are interleaved,
engine by engine in an order that rotates, so that a noisy minute hits all of them; (4) the median of the rounds counts.
Medians of one row are comparable, rows of two runs are not: compare ratios.

What it does not do: pin cores, drop the page cache, or measure memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = "tokenloom"


@dataclass(frozen=True)
class Case:
    """One row of a table: the same work for every engine."""

    row: str
    operation: str
    """The function of that name in every engine's module prepares the job."""
    engines: tuple[str, ...]
    """Modules of ``benches.engines``."""
    oracle: str
    """The engine whose answers are right by definition."""
    arguments: dict[str, Any]
    n_items: float
    """How much one round does: megabytes, calls, tokens."""
    unit: str
    """``"<items>/s"`` (more is better) or ``"us"`` per item (less is better)."""
    n_rounds: int = 5

    def value(self, seconds: float) -> float:
        """A round's time in the case's unit."""
        return self.n_items / seconds if self.unit.endswith("/s") else seconds * 1e6 / self.n_items


@dataclass
class Outcome:
    """What one engine did in one case."""

    seconds: list[float] = field(default_factory=list)
    exact: bool = False
    error: str = ""

    @property
    def median(self) -> float:
        """Median seconds a round."""
        return statistics.median(self.seconds)


@dataclass
class Result:
    """A case and every engine's outcome."""

    case: Case
    outcomes: dict[str, Outcome]

    def speed_up(self, peer: str) -> float | None:
        """How many times faster we are than ``peer``; None if one of the two was not timed."""
        ours, theirs = self.outcomes.get(OURS), self.outcomes.get(peer)
        if ours is None or theirs is None or not ours.seconds or not theirs.seconds:
            return None
        return theirs.median / ours.median


class EngineError(RuntimeError):
    """An engine failed; the message is its own."""


class _Engine:
    """A worker process."""

    def __init__(self, name: str, case: Case) -> None:
        command = [sys.executable, "-m", "benches.worker", name, case.operation]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        try:
            ready = self.ask({"arguments": case.arguments})
            if ready["n_rounds"] != case.n_rounds:
                raise EngineError(f"expected {case.n_rounds} rounds, {name} prepared {ready['n_rounds']}")
        except EngineError:
            self.close()
            raise
        self.versions: dict[str, str] = ready["versions"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the empty reply below says so
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"the process ended with status {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply

    def close(self) -> None:
        self._process.communicate()


def run(cases: Iterable[Case], versions: dict[str, str]) -> list[Result]:
    """Verify and time every case; adds the versions it meets to ``versions`` and reports progress on stderr."""
    results = []
    for case in cases:
        print(f"  {case.row}: verify", end="", file=sys.stderr, flush=True)
        outcomes = _verify(case, versions)
        print(", time", end="", file=sys.stderr, flush=True)
        _time(case, outcomes)
        results.append(Result(case, outcomes))
        cells = (f"{n} {case.value(o.median):.3g}" if o.seconds else f"{n} ✗" for n, o in outcomes.items())
        print(f": {', '.join(cells)} {case.unit}", file=sys.stderr, flush=True)
    return results


def _verify(case: Case, versions: dict[str, str]) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in case.engines}
    digests: dict[str, list[str]] = {}
    for name, outcome in outcomes.items():
        try:
            engine = _Engine(name, case)
        except EngineError as error:
            outcome.error = str(error)
            continue
        try:
            versions.update(engine.versions)
            digests[name] = engine.ask({"verify": True})["digests"]
        except EngineError as error:
            outcome.error = str(error)
        finally:
            engine.close()
    for name, outcome in outcomes.items():
        outcome.exact = name in digests and digests[name] == digests.get(case.oracle)
        if name in digests and not outcome.exact:
            outcome.error = f"answers differ from {case.oracle}"
    return outcomes


def _time(case: Case, outcomes: dict[str, Outcome]) -> None:
    engines: dict[str, _Engine] = {}
    try:
        for name, outcome in outcomes.items():
            if outcome.exact:
                engines[name] = _Engine(name, case)
                engines[name].ask({"warm_up": True})
        names = list(engines)
        for index in range(case.n_rounds):
            shift = index % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                if not outcomes[name].error:
                    _time_round(engines[name], outcomes[name], index)
    finally:
        for engine in engines.values():
            engine.close()


def _time_round(engine: _Engine, outcome: Outcome, index: int) -> None:
    try:
        outcome.seconds.append(engine.ask({"round": index})["ns"] / 1e9)
    except EngineError as error:
        # A median over fewer rounds than the others had would not be comparable.
        outcome.error = str(error)
        outcome.seconds = []

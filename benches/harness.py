"""Who is faster, on answers that agree?

The only timing loop of the project. For every case: (1) each engine does all rounds once in a process of its own and
hashes its answers; one that differs from the case's oracle is marked and never timed; (2) each remaining engine starts
again in a fresh process, so that what it cached while it was checked does not help it; (3) the rounds are interleaved,
engine by engine in an order that rotates, so that a noisy minute hits all of them; (4) where there are few rounds, all
of that again in other processes; (5) the median of the rounds counts.
Medians of one row are comparable, rows of two runs are not: compare ratios. Engines are prepared side by side, one a
core; nothing else runs while a round is timed. Where one thread is allowed the time is processor time of the whole
process, threads it started included: on an idle machine that is the time on the wall, on a busy one it still is.

What it does not do: pin cores or drop the page cache.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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
    """The engine whose answers are right by definition; it need not be among ``engines``, and is then not timed."""
    arguments: dict[str, Any]
    n_items: float
    """How much one round does: megabytes, calls, tokens."""
    unit: str
    """``"<items>/s"`` (more is better); ``"us"`` or ``"ms"`` per item, or ``"MB"`` (less is better)."""
    n_rounds: int = 5
    oracle_operation: str = ""
    """The oracle's operation where it answers through another interface than the engines."""
    quantity: Literal["time", "memory"] = "time"
    """``"memory"``: the resident set of the engine's process after the round."""
    fresh: bool = False
    """Every round in a process of its own, without warm-up: what a program pays once."""
    n_threads: int | None = 1
    """Engines with a pool of their own are told to use so many threads; None tells them nothing. With 1 the time is
    processor time, otherwise time on the wall."""
    limit_seconds: float = 120.0
    """An engine that takes longer over one request is stopped, and marked."""

    yardsticks: tuple[str, ...] = ()
    """Engines that do less than is asked, for comparison; none is the fastest peer."""

    n_processes: int = 1
    """All rounds are timed in so many processes of an engine, one after the other: where texts that no process has seen
    are few, the median is of more times."""

    n_run: int | None = None
    """Only the first rounds are run, in one process; None for all."""

    def shortened(self, n_rounds: int) -> Case:
        """The same case, of which at most ``n_rounds`` rounds are run."""
        return replace(self, n_run=min(n_rounds, self.n_rounds), n_processes=1)

    @property
    def rounds_run(self) -> range:
        """The rounds that are verified and timed."""
        return range(self.n_rounds if self.n_run is None else self.n_run)

    def value(self, median: float) -> float:
        """A round's seconds or bytes in the case's unit."""
        if self.unit.endswith("/s"):
            return self.n_items / median
        return median * {"us": 1e6, "ms": 1e3, "MB": 1e-6}[self.unit] / self.n_items


@dataclass
class Outcome:
    """What one engine did in one case."""

    rounds: list[float] = field(default_factory=list)
    """Seconds, or bytes where the case measures memory."""
    exact: bool = False
    error: str = ""

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.rounds)


@dataclass
class Result:
    """A case and every engine's outcome."""

    case: Case
    outcomes: dict[str, Outcome]

    def speed_up(self, peer: str) -> float | None:
        """How many times faster we are than ``peer``; None if one of the two was not timed."""
        ours, theirs = self.outcomes.get(OURS), self.outcomes.get(peer)
        if ours is None or theirs is None or not ours.rounds or not theirs.rounds:
            return None
        return theirs.median / ours.median

    @property
    def fastest_peer(self) -> str | None:
        """The engine beside ours with the least median, yardsticks left out."""
        left_out = {OURS, *self.case.yardsticks}
        timed = [name for name, outcome in self.outcomes.items() if outcome.rounds and name not in left_out]
        return min(timed, key=lambda name: self.outcomes[name].median, default=None)


class EngineError(RuntimeError):
    """An engine failed; the message is its own."""


def _limits(n_threads: int | None) -> dict[str, str]:
    if n_threads is None:
        return {}
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM")
    return dict(zip(names, (str(n_threads), str(n_threads), str(n_threads > 1).lower()), strict=True))


class _Engine:
    """A worker process."""

    def __init__(self, name: str, case: Case, operation: str = "") -> None:
        self._name = name
        self._limit_seconds = case.limit_seconds
        command = [sys.executable, "-m", "benches.worker", name]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | _limits(case.n_threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.versions: dict[str, str] = {}
        try:
            self.prepare(case, operation)
        except EngineError:
            self.close()
            raise

    def prepare(self, case: Case, operation: str = "") -> None:
        self._limit_seconds = case.limit_seconds
        ready = self.ask({"operation": operation or case.operation, "arguments": case.arguments})
        if ready["n_rounds"] != case.n_rounds:
            raise EngineError(f"expected {case.n_rounds} rounds, {self._name} prepared {ready['n_rounds']}")
        self.versions = ready["versions"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        too_late = threading.Timer(self._limit_seconds, self._process.kill)
        too_late.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the empty reply below says so
        line = self._process.stdout.readline()
        finished_in_time = too_late.is_alive()
        too_late.cancel()
        if not line:
            why = f"status {self._process.wait()}" if finished_in_time else f"no answer in {self._limit_seconds:g} s"
            raise EngineError(f"the process ended: {why}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply

    def close(self) -> None:
        self._process.communicate()


class _Verifiers:
    """The processes that verify. One engine's verifies every case: nothing in it is timed, so it may remember."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, int | None], _Engine] = {}
        # By what was asked: rows of lists and of arrays ask the same of their oracle.
        self._known: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}

    def digests(self, name: str, case: Case, operation: str) -> list[str]:
        """The digest of each round's answer; raises EngineError."""
        question = json.dumps([name, operation, case.arguments, len(case.rounds_run)], sort_keys=True)
        if question not in self._known:
            self._known[question] = self._ask(name, case, operation)
        return self._known[question]

    def _ask(self, name: str, case: Case, operation: str) -> list[str]:
        engine = self._engines.pop((name, case.n_threads), None)
        if engine is None:
            engine = _Engine(name, case, operation)
        else:
            engine.prepare(case, operation)
        self.versions.update(engine.versions)
        found: list[str] = engine.ask({"verify": len(case.rounds_run)})["digests"]
        # Only one that answered is asked again.
        self._engines[name, case.n_threads] = engine
        return found

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()


def run(cases: Iterable[Case], versions: dict[str, str]) -> list[Result]:
    """Verify and time every case; adds the versions it meets to ``versions`` and reports progress on stderr."""
    results = []
    verifiers = _Verifiers()
    try:
        for case in cases:
            print(f"  {case.row}: verify", end="", file=sys.stderr, flush=True)
            outcomes = _verify(case, verifiers)
            print(", time", end="", file=sys.stderr, flush=True)
            for _ in range(case.n_processes):
                (_time_fresh if case.fresh else _time)(case, outcomes)
            results.append(Result(case, outcomes))
            cells = (f"{n} {case.value(o.median):.3g}" if o.rounds else f"{n} ✗" for n, o in outcomes.items())
            print(f": {', '.join(cells)} {case.unit}", file=sys.stderr, flush=True)
    finally:
        verifiers.close()
        versions.update(verifiers.versions)
    return results


def _side_by_side(task: Callable[[str], Any], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(task, names))


def _verify(case: Case, verifiers: _Verifiers) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in case.engines}
    digests: dict[str, list[str]] = {}

    def check(name: str) -> None:
        try:
            digests[name] = verifiers.digests(name, case, case.operation)
        except EngineError as error:
            outcomes[name].error = str(error)

    expected = verifiers.digests(case.oracle, case, case.oracle_operation or case.operation)
    _side_by_side(check, outcomes)
    for name, found in digests.items():
        outcomes[name].exact = found == expected
        if found != expected:
            outcomes[name].error = f"answers differ from {case.oracle}"
    return outcomes


def _time(case: Case, outcomes: dict[str, Outcome]) -> None:
    engines: dict[str, _Engine] = {}

    def prepare(name: str) -> None:
        try:
            engines[name] = _Engine(name, case)
            engines[name].ask({"warm_up": True})
        except EngineError as error:
            outcomes[name].error = str(error)

    try:
        _side_by_side(prepare, [name for name, outcome in outcomes.items() if outcome.exact and not outcome.error])
        for index, name in _rotation(case, [name for name in outcomes if name in engines]):
            if not outcomes[name].error:
                _time_round(engines[name], case, outcomes[name], index)
    finally:
        for engine in engines.values():
            engine.close()


def _time_fresh(case: Case, outcomes: dict[str, Outcome]) -> None:
    for index, name in _rotation(case, [name for name, outcome in outcomes.items() if outcome.exact]):
        try:
            engine = _Engine(name, case)
        except EngineError as error:
            outcomes[name].error = str(error)
            continue
        _time_round(engine, case, outcomes[name], index)
        engine.close()


def _rotation(case: Case, names: list[str]) -> Iterable[tuple[int, str]]:
    """Every round of every engine, each round beginning with the next engine."""
    for index in case.rounds_run:
        shift = index % max(1, len(names))
        for name in names[shift:] + names[:shift]:
            yield index, name


def _time_round(engine: _Engine, case: Case, outcome: Outcome, index: int) -> None:
    try:
        reply = engine.ask({"round": index})
        if case.quantity == "memory":
            outcome.rounds.append(reply["resident_bytes"])
        else:
            outcome.rounds.append(reply["cpu_ns" if case.n_threads == 1 else "ns"] / 1e9)
    except EngineError as error:
        # A median over fewer rounds than the others had would not be comparable.
        outcome.error = str(error)
        outcome.rounds = []

"""How does a long job show that it moves, on a terminal and only there?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bar", "bar"]


class Bar:
    """Moves the bar of one job; draws nothing where there is no bar."""

    def __init__(self, progress: Any = None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None) if progress is not None else None
        self._description = ""

    def stage(self, description: str, n_done: int, n_total: int | None, unit: str = "") -> None:
        """Say what is done now, how much of it is done and how much there is, in bytes where the unit is ``"B"``."""
        if self._progress is not None:
            if description.split(",")[0] != self._description:
                self._description = description.split(",")[0]
                self._progress.reset(self._task)
            rate = self._progress.tasks[0].speed or 0.0
            shown = f"{rate / 1e6:,.1f} MB/s" if unit else f"{rate:,.0f}/s"
            description = f"{description}, {shown}, {_resident_megabytes():,} MB held"
            self._progress.update(self._task, description=description, completed=n_done, total=n_total)


def _resident_megabytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    except OSError:
        return 0  # no such file outside Linux


@contextmanager
def bar(enabled: bool) -> Iterator[Bar]:
    """A bar on stderr while the context lasts, if ``enabled``, stderr is a terminal and ``rich`` is installed."""
    if not (enabled and sys.stderr.isatty()):
        yield Bar()
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield Bar()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)

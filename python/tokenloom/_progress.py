"""How does a long job show that it moves, on a terminal and only there?"""

from __future__ import annotations

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

    def stage(self, description: str, n_done: int, n_total: int | None) -> None:
        """Say what is done now, how much of it is done and how much there is."""
        if self._progress is not None:
            self._progress.update(self._task, description=description, completed=n_done, total=n_total)


@contextmanager
def bar(enabled: bool) -> Iterator[Bar]:
    """A bar on stderr while the context lasts, if ``enabled``, stderr is a terminal and ``rich`` is installed."""
    if not (enabled and sys.stderr.isatty()):
        yield Bar()
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield Bar()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)

"""How does a long job show that it moves, on a terminal and only there?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

__all__ = ["byte_progress", "token_progress"]


@contextmanager
def token_progress(title: str, n_tokens: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on stderr over at most ``n_tokens`` pieces of text, while the context lasts.

    Yields:
        A callback for ``generate(stream=...)`` that moves the bar by one. Off a terminal it draws nothing.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=n_tokens)
        yield lambda _index, _piece: progress.advance(task)
        progress.update(task, completed=n_tokens)


@contextmanager
def byte_progress(title: str, n_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr over ``n_bytes`` of input (None: not known), while the context lasts.

    Yields:
        A function that moves the bar by so many bytes. Off a terminal it draws nothing.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=n_bytes)
        yield lambda n: progress.advance(task, n)

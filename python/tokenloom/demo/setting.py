"""What do the parts of the demo share?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import tokenloom as tl

__all__ = ["Prompt", "Setting"]


@dataclass(frozen=True)
class Prompt:
    """One of the eight prompts; ``SOURCE.md`` says where each comes from."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True)
class Setting:
    """The model, its tokenizer, and where to print."""

    console: Console
    model: Any
    tokenizer: Any
    max_new_tokens: int

    @classmethod
    def load(cls, path: Path, console: Console, max_new_tokens: int) -> Setting:
        """Read the model and its tokenizer from one folder or file."""
        model, tokenizer = tl.torch.load(path)
        return cls(console, model, tokenizer, max_new_tokens)

    def prompts(self) -> list[Prompt]:
        """The eight prompts that ship with the package."""
        text = Path(__file__).with_name("prompts.json").read_text(encoding="utf-8")
        return [Prompt(**record) for record in json.loads(text)]

    def ask(self, text: str) -> str:
        """``text`` in the words of the model's chat template, or as it is where there is none."""
        return tl.torch.chat_prompt(self.model, text) or text

    @contextmanager
    def progress(self, title: str, n_steps: int) -> Iterator[Callable[..., None]]:
        """A bar that each call of the yielded function moves by one step; nothing is drawn off a terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(title, total=n_steps)
            yield lambda *_: progress.advance(task)


def shorten(text: str, n_characters: int) -> str:
    """The beginning of ``text`` on one line."""
    line = " ".join(text.split())
    return line if len(line) <= n_characters else line[: n_characters - 1] + "…"

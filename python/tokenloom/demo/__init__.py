"""What does the whole library do on a real model and real text?

``tokenloom demo`` runs the parts below, one file each. Every part prints what it saw and says whether its own check
held: same tokens with and without drafts, valid JSON, a true predicate, a healed prompt, fewer tokens for one text.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from tokenloom.demo import bytes_and_healing, drafting, predicate, schema, superwords
from tokenloom.demo.setting import Setting

__all__ = ["run"]

_PARTS = {
    "a, b": ("Eight prompts, plain and with suffix drafting", drafting.show),
    "c": ("An answer constrained by a JSON Schema", schema.show),
    "d": ("An answer constrained by a Python predicate", predicate.show),
    "e": ("A prompt that ends in the middle of a word", bytes_and_healing.show),
    "f": ("A tokenizer with superwords, trained here", superwords.show),
}


def run(model: Path, console: Console, max_new_tokens: int = 64) -> bool:
    """Run every part and print it.

    Args:
        model: a GGUF file or a Hugging Face folder.
        console: where to print; progress bars appear on its terminal only.
        max_new_tokens: tokens per prompt in the first part.

    Returns:
        Whether every check held.
    """
    start = time.perf_counter()
    with console.status(f"loading {model.name}"):
        setting = Setting.load(model, console, max_new_tokens)
    console.print(
        f"{model.name}: {setting.model.num_parameters():,} parameters, {setting.tokenizer.vocab_size:,} tokens"
    )
    failed = []
    for letter, (title, show) in _PARTS.items():
        console.print()
        console.print(Rule(f"({letter}) {title}", align="left"))
        if not show(setting):
            failed.append(letter)
    console.print()
    seconds = time.perf_counter() - start
    verdict = f"checks failed in part {'; '.join(failed)}" if failed else "every check held"
    console.print(f"{verdict} ({seconds:.0f} s)", style="bold red" if failed else "bold green")
    return not failed

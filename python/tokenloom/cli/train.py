"""``tokenloom train``: which tokenizer does this text ask for?"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

__all__ = ["train"]


@click.command(epilog="Example: tokenloom train 'books/**/*.txt' --vocab-size 32000 --superbpe --output tokenizer.json")
@click.argument("corpus", nargs=-1, required=True)
@click.option("--vocab-size", type=click.IntRange(256), default=32_000, show_default=True, help="Tokens in the end.")
@click.option("--superbpe", is_flag=True, help="Let tokens span spaces in a second stage.")
@click.option("--transition", type=click.IntRange(256), help="Tokens of the first stage. [default: 9 of 10]")
@click.option("--max-words", type=click.IntRange(1), default=4, show_default=True, help="Words in a superword.")
@click.option("--pattern", help="A name such as CL100K, or a regular expression. [default: O200K]")
@click.option("--special-token", "special_tokens", multiple=True, help="Gets the next of the first ids; repeat.")
@click.option("--min-frequency", type=click.IntRange(0), default=0, show_default=True, help="Rarer pairs stay apart.")
@click.option("--max-token-length", type=click.IntRange(0), help="Merged tokens are shorter than this many bytes.")
@click.option("--threads", type=click.IntRange(1), help="Threads that cut words; the result does not depend on it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="tokenizer.json", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
def train(
    corpus: tuple[str, ...],
    vocab_size: int,
    superbpe: bool,
    transition: int | None,
    max_words: int,
    pattern: str | None,
    special_tokens: tuple[str, ...],
    min_frequency: int,
    max_token_length: int | None,
    threads: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Train a byte-level BPE tokenizer on the lines of CORPUS, paths and globs, and write a tokenizer.json."""
    if transition is not None and not superbpe:
        raise click.UsageError("--transition needs --superbpe")
    import tokenloom as tl

    files = [path for given in corpus for path in tl.train.files_of(given)]
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "special_tokens": special_tokens,
        "min_frequency": min_frequency,
        "max_token_length": max_token_length,
        "threads": threads,
    }
    if pattern is not None:
        options["pattern"] = tl.patterns.PUBLISHED.get(pattern, pattern)
    start = time.perf_counter()
    if superbpe:
        options |= {"transition": transition or vocab_size * 9 // 10, "max_words": max_words}
        tokenizer = tl.train.superbpe(files, **options)
    else:
        tokenizer = tl.train.bpe(files, **options)
    seconds = time.perf_counter() - start
    tokenizer.save(output)
    n_bytes = sum(path.stat().st_size for path in files)
    summary = {
        "output": str(output),
        "n_files": len(files),
        "n_bytes": n_bytes,
        "vocab_size": tokenizer.vocab_size,
        "seconds": round(seconds, 3),
    }
    if as_json:
        click.echo(json.dumps(summary))
        return
    click.echo(
        f"{output}: {tokenizer.vocab_size:,} tokens from {n_bytes:,} bytes in {len(files)} files, {seconds:.1f} s"
    )

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
@click.option(
    "--resume", type=click.Path(exists=True, path_type=Path), help="A tokenizer file to extend: it keeps every id."
)
@click.option(
    "--boundless", is_flag=True, help="With --superbpe: join whole words only, and begin when their count says."
)
@click.option(
    "--units", type=click.Choice(["auto", "lines", "documents"]), default="auto", help="What is cut by itself."
)
@click.option(
    "--column", default="text", show_default=True, help="Which column of .jsonl and .parquet rows is the text."
)
@click.option("--memory-limit", help="Counts beyond half of it go to disk: 16GiB, 800MB.")
@click.option(
    "--checkpoint", type=click.Path(file_okay=False, path_type=Path), help="Folder to go on from; removed at the end."
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write plots and tables to this HTML file."
)
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
    resume: Path | None,
    boundless: bool,
    units: str,
    column: str,
    memory_limit: str | None,
    checkpoint: Path | None,
    report: Path | None,
    threads: int | None,
    output: Path,
    as_json: bool,
) -> None:
    """Train a byte-level BPE tokenizer on CORPUS, paths and globs, and write a tokenizer.json.

    Files are read as lines, and .gz, .bz2, .xz and .zst files are unpacked; rows of .jsonl and .parquet are documents.
    """
    if (transition is not None or boundless) and not superbpe:
        raise click.UsageError("--transition and --boundless need --superbpe")
    import tokenloom as tl

    files = [path for given in corpus for path in tl.train.files_of(given)]
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "special_tokens": special_tokens,
        "min_frequency": min_frequency,
        "max_token_length": max_token_length,
        "threads": threads,
        "units": units,
        "column": column,
        "memory_limit": memory_limit,
        "checkpoint": checkpoint,
    }
    if resume is not None:
        options["resume"] = tl.Tokenizer.from_file(resume)
    if pattern is not None:
        options["pattern"] = tl.patterns.PUBLISHED.get(pattern, pattern)
    start = time.perf_counter()
    if superbpe:
        options |= {"transition": transition, "max_words": max_words, "mode": "boundless" if boundless else "exact"}
        tokenizer = tl.train.superbpe(files, **options)
    else:
        tokenizer = tl.train.bpe(files, **options)
    seconds = time.perf_counter() - start
    tokenizer.save(output)
    if report is not None:
        from tokenloom.cli import train_report

        sample = _sample(files, column)
        report.write_text(train_report.page(output.name, train_report.measure(tokenizer, sample)), encoding="utf-8")
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


_SAMPLE_BYTES = 4_000_000


def _sample(files: list[Path], column: str) -> list[str]:
    """Lines or rows from the start of every file, some megabytes together."""
    from tokenloom._corpus import Reader

    texts: list[str] = []
    for file in files:
        size = 0
        for block in Reader("auto", column).blocks(file):
            units = [block.lines] if block.lines else block.units or []
            for unit in units:
                text = unit.decode(errors="replace") if isinstance(unit, bytes) else unit
                texts.append(text[: _SAMPLE_BYTES // len(files)])
                size += len(texts[-1])
            if size >= _SAMPLE_BYTES // len(files):
                break
    return texts

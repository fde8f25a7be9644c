"""``tokenloom inspect``: what is this tokenizer, and how does it cut my text?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokenloom.cli.inspection import Inspection, Piece, sample_for, segment, show
from tokenloom.cli.inspection import inspect as measure
from tokenloom.cli.loading import load_tokenizer

if TYPE_CHECKING:
    from tokenloom import Tokenizer

__all__ = ["inspect"]

# Neighbours differ, and black is legible on each.
_COLOURS = ("#a6cee3", "#fdbf6f", "#b2df8a", "#fb9a99", "#cab2d6", "#ffff99")
_SPECIAL_COLOUR = "#e31a1c"
_MAX_LENGTH_SHOWN = 16


@click.command(epilog="Example: tokenloom inspect tokenizer.json 'How is this cut?' --html page.html")
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.argument("text", required=False)
@click.option(
    "--file",
    "file",
    type=click.File("r", encoding="utf-8", errors="replace"),
    help="Cut the text of this file; - is stdin. Bytes that are not UTF-8 become U+FFFD.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object, for programs.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page that needs nothing else.")
def inspect(tokenizer: Path, text: str | None, file: TextIO | None, as_json: bool, html: Path | None) -> None:
    """Print the steps from text to ids, the engine chosen for each, what the vocabulary holds, and how TEXT is cut.

    Without TEXT or --file a sample of prose, code and eight scripts is cut. Colours appear on a terminal only; off one
    the tokens stand between bars.
    """
    if text is not None and file is not None:
        raise click.UsageError("give TEXT or --file, not both")
    loaded = load_tokenizer(tokenizer)
    if text is None:
        text = sample_for(loaded) if file is None else file.read()
    console = Console(stderr=True)
    with console.status("reading the vocabulary") if console.is_terminal else _Quiet():
        found = measure(loaded)
        pieces = segment(loaded, text)
    if html is not None:
        from tokenloom.cli.inspect_page import page

        html.write_text(page(tokenizer.name, found, text, pieces), encoding="utf-8")
        click.echo(f"wrote {html}", err=True)
    if as_json:
        click.echo(json.dumps(_record(tokenizer, found, text, pieces), ensure_ascii=False))
    elif html is None:
        _print(tokenizer, loaded, found, text, pieces)


class _Quiet:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _record(path: Path, found: Inspection, text: str, pieces: list[Piece]) -> dict[str, object]:
    tokens = [{"id": piece.id, "text": show(piece.data), "special": piece.special} for piece in pieces]
    return {"file": str(path), **found.record(), "sample": {"text": text, "tokens": tokens}}


def facts(found: Inspection) -> list[tuple[str, str]]:
    """The properties as rows of label and value; the page shows the same."""
    rows = [
        ("tokens", f"{found.n_tokens:,} (largest id {found.vocab_size - 1:,})"),
        ("special tokens", f"{found.n_special:,}"),
        ("mean length", f"{found.mean_length:.2f} bytes"),
        ("across a space", f"{found.n_with_inner_space:,}"),
        ("not text by themselves", f"{found.n_not_utf8:,}"),
    ]
    if found.n_bytes_covered is not None:
        rows.insert(2, ("bytes with a token", f"{found.n_bytes_covered} of 256"))
    if found.n_reached is not None and found.n_not_reached is not None:
        share = 100 * found.n_reached / max(1, found.n_reached + found.n_not_reached)
        reached = f"{found.n_reached:,} ({share:.2f} %), not: {found.n_not_reached:,}"
        rows.insert(2, ("reached by themselves", reached))
    if found.longest:
        rows.append(("longest", f"{found.longest[0]['n_bytes']} bytes: {found.longest[0]['text']}"))
    return rows


def _print(path: Path, tokenizer: Tokenizer, found: Inspection, text: str, pieces: list[Piece]) -> None:
    console = Console(soft_wrap=True)
    console.print(Text(f"{path.name}: {tokenizer!r}", style="bold"))
    steps = Table("step", "what it does", "engine", title="From text to ids", title_justify="left")
    for stage in found.stages:
        steps.add_row(stage["part"], Text(stage["action"]), stage["engine"])
    console.print(steps)
    properties = Table("property", "value", title="Vocabulary", title_justify="left")
    for label, value in facts(found):
        properties.add_row(label, Text(value))
    console.print(properties)
    _print_lengths(console, found)
    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    ratio = n_bytes / max(1, len(pieces))
    console.print(Text(f"\n{n_bytes:,} bytes, {len(pieces):,} tokens, {ratio:.2f} bytes per token", style="bold"))
    console.print(_coloured(pieces) if console.is_terminal else Text("|".join(show(piece.data) for piece in pieces)))


def _print_lengths(console: Console, found: Inspection) -> None:
    table = Table("bytes", "tokens", "", title="Tokens by length", title_justify="left")
    most = max(found.n_tokens_by_length.values(), default=1)
    rest = sum(n for length, n in found.n_tokens_by_length.items() if length > _MAX_LENGTH_SHOWN)
    for length, n in found.n_tokens_by_length.items():
        if length <= _MAX_LENGTH_SHOWN:
            table.add_row(str(length), f"{n:,}", "█" * round(30 * n / most))
    if rest:
        table.add_row(f"> {_MAX_LENGTH_SHOWN}", f"{rest:,}", "█" * round(30 * rest / most))
    console.print(table)


def _coloured(pieces: list[Piece]) -> Text:
    line = Text()
    for at, piece in enumerate(pieces):
        colour = _SPECIAL_COLOUR if piece.special else _COLOURS[at % len(_COLOURS)]
        line.append(show(piece.data), style=f"black on {colour}")
        if b"\n" in piece.data:
            line.append("\n")
    return line

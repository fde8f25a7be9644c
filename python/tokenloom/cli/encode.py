"""``tokenloom encode`` and ``tokenloom decode``: which ids is this text, and which text are these ids?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

__all__ = ["decode", "encode"]


@click.command(epilog="Example: echo 'the cat' | tokenloom encode tokenizer.json")
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.argument("text", required=False)
@click.option("--count", is_flag=True, help="Print how many tokens there are, not which.")
@click.option("--special", is_flag=True, help="Add the special tokens that the file asks for around a text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with ids, n_tokens and n_bytes, for programs.")
def encode(tokenizer: Path, text: str | None, count: bool, special: bool, as_json: bool) -> None:
    """Print the token ids of TEXT, or of all of stdin, with the TOKENIZER in a file or a model folder."""
    data = sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
    ids = _load(tokenizer).encode_list(data, add_special_tokens=special)
    if as_json:
        click.echo(json.dumps({"ids": ids, "n_tokens": len(ids), "n_bytes": len(data)}))
    elif count:
        click.echo(len(ids))
    else:
        click.echo(" ".join(map(str, ids)))


@click.command(epilog="Example: tokenloom encode tokenizer.json 'the cat' | tokenloom decode tokenizer.json")
@click.argument("tokenizer", type=click.Path(exists=True, path_type=Path))
@click.argument("ids", type=int, nargs=-1)
@click.option("--skip-special", is_flag=True, help="Leave special tokens out.")
def decode(tokenizer: Path, ids: tuple[int, ...], skip_special: bool) -> None:
    """Print the text of IDS, or of the whitespace-separated ids on stdin. Bytes that are not UTF-8 are kept."""
    if not ids:
        words = sys.stdin.read().replace(",", " ").replace("[", " ").replace("]", " ").split()
        try:
            ids = tuple(map(int, words))
        except ValueError as error:
            raise click.UsageError(f"expected whitespace-separated ids on stdin: {error}") from error
    loaded = _load(tokenizer)
    if skip_special:
        special = set(loaded.special_tokens.values())
        ids = tuple(token for token in ids if token not in special)
    sys.stdout.buffer.write(loaded.decode_bytes(list(ids)))
    if sys.stdout.isatty():
        click.echo()


def _load(path: Path) -> Any:
    from tokenloom import Tokenizer

    return Tokenizer.from_pretrained(str(path)) if path.is_dir() else Tokenizer.from_file(str(path))

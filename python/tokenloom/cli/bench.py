"""``tokenloom bench draft``: what would drafting save on these logs, and with which settings?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

import tokenloom as tl
from tokenloom._replay import Record, Replayed, read_record, replay
from tokenloom.cli.loading import load_tokenizer
from tokenloom.errors import FormatError

__all__ = ["bench"]

_CURVES = {
    "rows are cheap": tl.draft.CostCurve([1, 64], [1.0, 1.3]),
    "rows cost": tl.draft.CostCurve([1, 16], [1.0, 2.5]),
}
"""Where no curve was measured: a GPU at batch 1, and a CPU or a large batch. A pass takes a second, drafting next to
nothing beside it."""

_ENTRIES: dict[str, Callable[[], Any]] = {
    "Ngram()": tl.draft.Ngram,
    "Suffix(min_prob=0.03)": lambda: tl.draft.Suffix(min_prob=0.03),
    "Suffix()": tl.draft.Suffix,
    "Suffix(min_prob=0.1)": lambda: tl.draft.Suffix(min_prob=0.1),
    "Suffix(min_prob=0.2)": lambda: tl.draft.Suffix(min_prob=0.2),
    "Suffix(max_bytes=0)": lambda: tl.draft.Suffix(max_bytes=0),
    "Recycling()": tl.draft.Recycling,
    "Merged([Suffix(), Recycling()])": lambda: tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling()]),
}


@click.group(epilog="Example: tokenloom bench draft --trace requests.jsonl --tokenizer tokenizer.json")
def bench() -> None:
    """Measure on your own data."""


@bench.command(epilog="Example: tokenloom bench draft --trace ids.jsonl --cost curve.json --json")
@click.option("--trace", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(exists=True, path_type=Path), help="For prompts and answers in text.")
@click.option(
    "--cost", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A saved CostCurve, in seconds."
)
@click.option("--budget", type=click.IntRange(0), default=64, show_default=True, help="Most nodes a step.")
@click.option("--chain", is_flag=True, help="Chains only, for engines that verify nothing else.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def draft(trace: Path, tokenizer: Path | None, cost: Path | None, budget: int, chain: bool, as_json: bool) -> None:
    """Replay recorded requests through the drafters, without a model.

    A line of the trace is an object with a prompt and an answer (or output, response, completion), each text or a list
    of token ids; a category if there are several, and topk_ids and topk_logprobs of each token of the answer (and
    prompt_topk_ids, prompt_topk_logprobs behind each token of the prompt) if they were recorded. Requests are replayed
    in their order, nothing known at the start.
    """
    records = _read(trace, tokenizer)
    curves = _CURVES if cost is None else {cost.name: tl.draft.CostCurve.load(cost)}
    rows = {name: replay(make(), records, budget, chain=chain) for name, make in _ENTRIES.items()}
    best = {curve: max(rows, key=lambda name: rows[name].speedup(curves[curve])) for curve in curves}
    speedups = {name: {curve: found.speedup(curves[curve]) for curve in curves} for name, found in rows.items()}
    settings = {curve: name if speedups[name][curve] > 1 else None for curve, name in best.items()}
    if as_json:
        click.echo(json.dumps({"rows": {n: _as_dict(f, speedups[n]) for n, f in rows.items()}, "best": settings}))
        return
    console = Console()
    console.print(_yields(rows, speedups, list(curves)))
    console.print(_costs(rows, speedups))
    console.print(_categories(rows))
    for curve, name in settings.items():
        said = f"take tl.draft.{name}" if name else "do not draft"
        predicted = max(speedups[best[curve]][curve], 1.0)
        console.print(f"{curve}: {said} (predicted {predicted:.2f}x)", markup=False, highlight=False)


def _read(trace: Path, tokenizer: Path | None) -> list[Record]:
    loaded = None if tokenizer is None else load_tokenizer(tokenizer)

    def encode(text: str) -> Any:
        if loaded is None:
            raise click.UsageError("the trace holds text: give --tokenizer")
        return loaded.encode(text)

    records = []
    for n_line, line in enumerate(trace.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(read_record(json.loads(line), encode))
        except (ValueError, OverflowError, RecursionError) as error:
            raise FormatError(f"expected a request in line {n_line} of {trace}: {error}") from error
    if not records:
        raise FormatError(f"expected JSON lines with a prompt and an answer in {trace}, found none")
    return records


def _as_dict(found: Replayed, speedups: dict[str, float]) -> dict[str, Any]:
    return {
        "tokens_per_step": found.tokens_per_step,
        "drafted_per_step": found.drafted_per_step,
        "calibration_error": found.calibration_error,
        "propose_us": found.propose_seconds / max(found.n_steps, 1) * 1e6,
        "commit_us": found.commit_seconds / max(found.n_steps, 1) * 1e6,
        "n_bytes": found.n_bytes,
        "speedup": speedups,
        "categories": {kind: counts.tokens_per_step for kind, counts in found.categories.items()},
    }


def _table(title: str, heads: list[str]) -> Table:
    """Narrow enough for 80 columns: names are not to be cut."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("drafter", no_wrap=True)
    for head in heads:
        # Names of categories and of files are no markup.
        table.add_column(Text(head), justify="right")
    return table


def _yields(rows: dict[str, Replayed], speedups: dict[str, dict[str, float]], curves: list[str]) -> Table:
    table = _table("Replay", ["tokens /step", "drafted /step", "calib. error", *curves])
    for name, found in rows.items():
        cells = [f"{found.tokens_per_step:.3f}", f"{found.drafted_per_step:.2f}", f"{found.calibration_error:.3f}"]
        table.add_row(name, *cells, *(f"{speedups[name][curve]:.2f}x" for curve in curves))
    return table


def _costs(rows: dict[str, Replayed], speedups: dict[str, dict[str, float]]) -> Table:
    table = _table("Cost of a step", ["propose us", "commit us", "MB"])
    for name, found in rows.items():
        entry = _as_dict(found, speedups[name])
        table.add_row(name, f"{entry['propose_us']:.1f}", f"{entry['commit_us']:.1f}", f"{found.n_bytes / 1e6:.1f}")
    return table


def _categories(rows: dict[str, Replayed]) -> Table:
    kinds = sorted({kind for found in rows.values() for kind in found.categories})
    table = _table(
        "Tokens per step by category", ["none" if kind == "all" and len(kinds) > 1 else kind for kind in kinds]
    )
    for name, found in rows.items():
        table.add_row(name, *(f"{found.categories[kind].tokens_per_step:.3f}" for kind in kinds))
    return table

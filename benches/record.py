"""How is a run written down so that it can be judged later?

``benches/record/<date>-<name>.json`` holds every round of every engine; the ``.md`` beside it is the table for readers.
Both name the machine, the versions, the date and the command.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benches.harness import OURS, Result

FOLDER = Path(__file__).resolve().parent / "record"


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system and Python; never a host name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "n_cores": os.cpu_count(),
        "memory_gib": round(n_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }


def heading(name: str, packages: Sequence[str], **replaced: Path) -> dict[str, Any]:
    """Date, command, machine and versions of ``python -m benches.<name>``; paths of files read as what they are."""
    command = " ".join([f"python -m benches.{name}", *sys.argv[1:]])
    for word, path in replaced.items():
        command = command.replace(str(path), word)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": command,
        "machine": describe_machine(),
        "versions": {package: version(package) for package in packages},
    }


def write_page(name: str, found: dict[str, Any], page: str) -> None:
    """Write what a run found, which :func:`heading` began, and its page for readers."""
    stem = FOLDER / f"{found['date']}-{name}"
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    stem.with_suffix(".md").write_text(page, "utf-8")


Tables = list[tuple[str, str, list[Result]]]


def text_of(tables: Tables) -> str:
    """The tables for readers, in Markdown."""
    lines = []
    for title, note, results in tables:
        lines += ["", f"## {title}", "", *([note, ""] if note else []), *_table(results)]
    return "\n".join(lines) + "\n"


def write(name: str, tables: Tables, versions: dict[str, str], command: str) -> Path:
    """Write both files and return the path of the table.

    Args:
        name: Goes into the file names after the date.
        tables: Title, note and results of each table.
        versions: Distribution to version, of everything that took part.
        command: What a reader types to get the run again.
    """
    date = datetime.now(UTC)
    machine = describe_machine()
    FOLDER.mkdir(exist_ok=True)
    stem = FOLDER / f"{date:%Y-%m-%d}-{name}"
    raw = {
        "date": f"{date:%Y-%m-%dT%H:%MZ}",
        "command": command,
        "machine": machine,
        "versions": dict(sorted(versions.items())),
        "tables": [
            {
                "title": title,
                "note": note,
                "rows": [
                    {
                        "case": {key: value for key, value in asdict(result.case).items() if key != "arguments"},
                        "outcomes": {peer: asdict(outcome) for peer, outcome in result.outcomes.items()},
                    }
                    for result in results
                ],
            }
            for title, note, results in tables
        ],
    }
    stem.with_suffix(".json").write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = [
        f"# {name}, {date:%Y-%m-%d}",
        "",
        f"{machine['processor']}, {machine['n_cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, load average after the run {machine['load_average'][0]}. Command: `{command}`.",
        f"Versions: {', '.join(f'{package} {version}' for package, version in sorted(versions.items()))}.",
        "",
        "Cells: median of the rounds (how many times faster we are than that peer; below 1x we lose, in bold). "
        "✗: answers differ from the oracle's, or the engine failed; never timed.",
    ]
    table = stem.with_suffix(".md")
    table.write_text("\n".join(lines) + "\n" + text_of(tables), encoding="utf-8")
    print(f"wrote {table} and {stem.name}.json", file=sys.stderr)
    return table


def _table(results: list[Result]) -> list[str]:
    engines = list(dict.fromkeys(engine for result in results for engine in result.case.engines))
    peers = [engine for engine in engines if engine != OURS]
    columns = [OURS, "against the fastest peer", *peers]
    lines = ["| case | unit | " + " | ".join(columns) + " |", "|---|---" + "|---:" * len(columns) + "|"]
    for result in results:
        cells = [_cell(result, OURS), _standing(result), *(_cell(result, engine) for engine in peers)]
        lines.append(f"| {result.case.row} | {result.case.unit} | " + " | ".join(cells) + " |")
    failures = {
        f"{result.case.row}, {engine}: {outcome.error}"
        for result in results
        for engine, outcome in result.outcomes.items()
        if outcome.error
    }
    return lines + (["", *(f"- ✗ {failure}" for failure in sorted(failures))] if failures else [])


def _standing(result: Result) -> str:
    peer = result.fastest_peer
    ratio = None if peer is None else result.speed_up(peer)
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio >= 1 else f"**{ratio:.2f}x**"


def _cell(result: Result, engine: str) -> str:
    outcome = result.outcomes.get(engine)
    if outcome is None:
        return "-"
    if not outcome.rounds:
        return "✗"
    value = f"{result.case.value(outcome.median):.3g}"
    ratio = result.speed_up(engine)
    return value if engine == OURS or ratio is None else f"{value} ({ratio:.2f}x)"

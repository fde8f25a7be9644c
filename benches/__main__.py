"""Which benches are run?

``python -m benches`` runs every ``bench_*.py`` of this folder, ``python -m benches encode draft`` those. A bench module
has ``TITLE`` (of its table), ``NOTE`` (what a reader must know, may be empty) and ``cases()``. The exit status is 1 if
an answer of ours differed from the oracle's.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benches import harness, record


def main() -> int:
    """Run the benches named on the command line and write the record."""
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m benches", description="Compare with the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(known)}; default all")
    parser.add_argument("--record", default="", help="name of the record; default: the benches' names")
    options = parser.parse_args()
    names = options.names or known
    if unknown := set(names) - set(known):
        parser.error(f"there is no bench {sorted(unknown)}; choose from {', '.join(known)}")
    versions: dict[str, str] = {}
    tables = []
    for name in names:
        module = importlib.import_module(f"benches.bench_{name}")
        print(f"{module.TITLE}", file=sys.stderr)
        cases = module.cases()
        tables.append((module.TITLE, module.NOTE, harness.run(cases, versions)))
    command = " ".join(["python -m benches", *sys.argv[1:]])
    table = record.write(options.record or "-".join(names), tables, versions, command)
    print(table.read_text(encoding="utf-8"))
    wrong = [
        f"{result.case.row}: {result.outcomes[harness.OURS].error}"
        for _, _, results in tables
        for result in results
        if harness.OURS in result.outcomes and not result.outcomes[harness.OURS].exact
    ]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Which benches are run?

``python -m benches`` runs every ``bench_*.py`` of this folder, ``python -m benches encode draft`` those. A bench module
has ``TITLE`` (of its table), ``NOTE`` (what a reader must know, may be empty) and ``cases()``. The exit status is 1 if
an answer of ours differed from the oracle's.

While working: ``python -m benches encode --quick --rows 'cl100k.*array' --engines gigatoken,fastokens`` runs three
rounds of those rows beside those engines and prints the table without recording it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
from pathlib import Path

from benches import harness, record


def main() -> int:
    """Run the benches named on the command line and write the record."""
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m benches", description="Compare with the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(known)}; default all")
    parser.add_argument("--record", default="", help="name of the record; default: the benches' names")
    parser.add_argument("--quick", action="store_true", help="at most three rounds; no record unless named")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="at most so many rounds")
    parser.add_argument("--rows", default="", metavar="REGEX", help="only rows whose name matches; likewise")
    parser.add_argument("--engines", default="", metavar="A,B", help="only these beside ours; likewise")
    options = parser.parse_args()
    names = options.names or known
    if unknown := set(names) - set(known):
        parser.error(f"there is no bench {sorted(unknown)}; choose from {', '.join(known)}")
    versions: dict[str, str] = {}
    tables = []
    for name in names:
        module = importlib.import_module(f"benches.bench_{name}")
        print(f"{module.TITLE}", file=sys.stderr)
        cases = _choose(module.cases(), options)
        tables.append((module.TITLE, module.NOTE, harness.run(cases, versions)))
    if (options.quick or options.rows or options.engines) and not options.record:
        print(record.text_of(tables))
    else:
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


def _choose(cases: list[harness.Case], options: argparse.Namespace) -> list[harness.Case]:
    chosen = [case for case in cases if re.search(options.rows, case.row)]
    if options.engines:
        wanted = {harness.OURS, *options.engines.split(",")}
        chosen = [
            dataclasses.replace(case, engines=tuple(name for name in case.engines if name in wanted)) for case in chosen
        ]
    n_rounds = options.rounds or (3 if options.quick else 0)
    return [case.shortened(n_rounds) for case in chosen] if n_rounds else chosen


if __name__ == "__main__":
    raise SystemExit(main())

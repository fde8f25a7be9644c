"""Does docs/safety.md list every unsafe block?"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNSAFE = re.compile(r"\bunsafe\b(?!_)")
ROW = re.compile(r"^\| `(rust/[^`]+)` \| (\d+) \|", re.MULTILINE)


def unsafe_in(path: Path) -> int:
    """How often the code (not its comments) says `unsafe`; types of function pointers do nothing by themselves."""
    lines = (line.partition("//")[0] for line in path.read_text(encoding="utf-8").splitlines())
    code = "\n".join(lines)
    return len(UNSAFE.findall(re.sub(r"\bunsafe extern \"\w+\" fn\b", "", code)))


def test_every_unsafe_block_is_listed() -> None:
    found = {str(path.relative_to(ROOT)): unsafe_in(path) for path in sorted(ROOT.glob("rust/*/src/**/*.rs"))}
    listed = {name: int(n) for name, n in ROW.findall((ROOT / "docs" / "safety.md").read_text(encoding="utf-8"))}
    assert listed == {name: n for name, n in found.items() if n}

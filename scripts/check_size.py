"""Is every file still about one idea, and is the binding still thin?

Two ratchets: no source file over 800 lines (aim at 300) unless it is listed here with the reason, and the crate that
names PyO3 at most 12 % of all Rust lines.

    python scripts/check_size.py        # prints both measures, exit status 1 on a breach
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AIM_LINES = 300
MAX_LINES = 800
MAX_BINDING_SHARE = 0.12
SUFFIXES = {".rs", ".py", ".pyi", ".cu", ".cuh", ".h", ".md", ".toml", ".sh"}
# path: why it is longer
EXCEPTIONS: dict[str, str] = {}


def main() -> int:
    """Measure every tracked source file; returns the exit status."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    n_lines = {
        name: len((ROOT / name).read_bytes().splitlines())
        for name in listing.splitlines()
        if Path(name).suffix in SUFFIXES and (ROOT / name).is_file() and "/data/" not in name
    }
    failures = [
        f"{name}: {n} lines, at most {MAX_LINES}"
        for name, n in n_lines.items()
        if n > MAX_LINES and name not in EXCEPTIONS
    ]
    failures += [f"{name}: listed as an exception, but not over {MAX_LINES} lines" for name in _idle(n_lines)]
    rust = {name: n for name, n in n_lines.items() if name.startswith("rust/") and name.endswith(".rs")}
    binding = sum(n for name, n in rust.items() if name.startswith("rust/python/"))
    share = binding / max(1, sum(rust.values()))
    if share > MAX_BINDING_SHARE:
        failures.append(f"rust/python: {share:.1%} of all Rust lines, at most {MAX_BINDING_SHARE:.0%}")
    over_aim = sum(n > AIM_LINES for n in n_lines.values())
    print(f"sizes: {len(n_lines)} files, {over_aim} over {AIM_LINES} lines, longest {max(n_lines.values())}")
    print(f"binding: {binding} of {sum(rust.values())} Rust lines, {share:.1%}")
    print("\n".join(failures), end="\n" if failures else "")
    return bool(failures)


def _idle(n_lines: dict[str, int]) -> list[str]:
    return [name for name in EXCEPTIONS if n_lines.get(name, 0) <= MAX_LINES]


if __name__ == "__main__":
    sys.exit(main())

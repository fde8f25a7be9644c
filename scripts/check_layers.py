"""Does every room look only the way it may?

The table of ARCHITECTURE.md, held by force: which crate may depend on which, which outside crates belong to one room
alone, which module of `decode` may name which, and what the core crates must not do at all.

    python scripts/check_layers.py      # exit status 1 and one line a breach
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CRATES = {
    "vocab": set(),
    "tokenize": {"vocab"},
    "formats": {"vocab", "tokenize"},
    "decode": {"vocab", "tokenize"},
    "gpu": {"vocab", "tokenize", "decode"},
    "storage": {"tokenize", "decode"},
    "python": {"vocab", "tokenize", "formats", "decode", "gpu", "storage"},
    "testkit": set(),
}
DEV_ONLY = {"testkit"}
# Outside crates that one room alone may name.
OWNERS = {"pyo3": "python", "numpy": "python", "libloading": "gpu", "llguidance": "decode", "toktrie": "decode"}

# Inside `decode`: which module may name which. A module that is not listed (error, say) is open to all and sees none.
DECODE = {
    "rng": set(),
    "dist": set(),
    "sample": {"rng", "dist"},
    "draft": set(),
    "verify": {"rng", "dist", "sample", "draft"},
    "bytelevel": {"dist"},
    "control": {"rng", "dist", "sample", "bytelevel"},
}

FORBID_UNSAFE = {"vocab", "formats"}
# Bytes in, bytes out. `gpu` must look for a driver and a cache, and `testkit` reads case files.
CORE = {"vocab", "tokenize", "formats", "decode"}
NEVER_IN_CORE = {
    # Which process this is may be asked: threads and locks of a parent are nobody's in its child.
    r"\bstd::(fs|env|net|process(?!::id\b))\b": "files, environment, network and processes belong to the callers",
    r"\b(Instant|SystemTime)::now\b": "no clock",
    r"\bstatic mut\b|\bthread_local!": "no global state",
    r"\bthread_rng\b|\brand::": "randomness only through a passed counter generator",
}


def breaches() -> Iterator[str]:
    """One line for every place that breaks the table."""
    # rust/fuzz is a workspace of its own and may see everything.
    for crate in sorted({path.parent.name for path in ROOT.glob("rust/*/Cargo.toml")} - {"fuzz"}):
        if crate in CRATES:
            yield from _manifest(crate)
            yield from _sources(crate)
        else:
            yield f"rust/{crate}: no such room in the table; say why it is separate"


def _manifest(crate: str) -> Iterator[str]:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    for section in ("dependencies", "dev-dependencies", "build-dependencies"):
        allowed = CRATES[crate] | (DEV_ONLY if section == "dev-dependencies" else set())
        for name in manifest.get(section, {}):
            if name.startswith("tokenloom-") and name.removeprefix("tokenloom-") not in allowed:
                yield f"rust/{crate}/Cargo.toml: may not see {name} ({section})"
            if OWNERS.get(name, crate) != crate:
                yield f"rust/{crate}/Cargo.toml: {name} belongs to {OWNERS[name]}"
    if manifest.get("lints", {}).get("workspace") is not True:
        yield f"rust/{crate}/Cargo.toml: expected `lints.workspace = true`"


def _sources(crate: str) -> Iterator[str]:
    folder = ROOT / "rust" / crate / "src"
    if crate in FORBID_UNSAFE and "#![forbid(unsafe_code)]" not in (folder / "lib.rs").read_text():
        yield f"rust/{crate}/src/lib.rs: expected #![forbid(unsafe_code)]"
    for path in sorted(folder.rglob("*.rs")) if crate in CORE else ():
        module = path.relative_to(folder).parts[0].removesuffix(".rs")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.partition("//")[0]
            place = f"{path.relative_to(ROOT)}:{number}"
            yield from (f"{place}: {why}" for what, why in NEVER_IN_CORE.items() if re.search(what, code))
            if crate == "decode" and module != "lib":
                hidden = DECODE.keys() - DECODE.get(module, set()) - {module}
                yield from (f"{place}: {module} may not see {seen}" for seen in _modules(code) if seen in hidden)


def _modules(code: str) -> list[str]:
    """What `crate::name` and `crate::{name, other::Thing}` name."""
    grouped = re.findall(r"\bcrate::\{(.*)", code)
    return re.findall(r"\bcrate::(\w+)", code) + re.findall(r"(?:^|[{,])\s*(\w+)", "".join(grouped))


if __name__ == "__main__":
    found = list(dict.fromkeys(breaches()))
    print("\n".join(found) or "layers: every room looks the way it may")
    sys.exit(bool(found))

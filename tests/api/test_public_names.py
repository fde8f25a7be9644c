"""Is every public name still there, and documented?

`public_names.txt` holds every name of every module that users import. Names may be added freely (then run
`python tests/api/test_public_names.py`, which rewrites the list); one that vanishes or is renamed fails here.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
import tokenloom

LIST = Path(__file__).with_name("public_names.txt")


# Shows and commands; the twins are for reading.
NOT_A_CONTRACT = {"tokenloom.cli", "tokenloom.demo", "tokenloom.reference"}


def public_modules() -> list[str]:
    """Every importable module without a leading underscore in its path; `_core` and `__main__` are not public."""
    found = pkgutil.walk_packages(tokenloom.__path__, "tokenloom.")
    names = [info.name for info in found if not any(part.startswith("_") for part in info.name.split("."))]
    return ["tokenloom", *sorted(names)]


def contract() -> list[str]:
    """The names of `tokenloom` and of its domains; what lies deeper is reached through them."""
    modules = [name for name in public_modules() if name.count(".") < 2 and name not in NOT_A_CONTRACT]
    return [name for module in modules for name in names_of(module)]


def names_of(module: str) -> list[str]:
    return [f"{module}.{name}" for name in sorted(getattr(importlib.import_module(module), "__all__", []))]


def test_no_public_name_vanished() -> None:
    gone = set(LIST.read_text().split()) - set(contract())
    assert not gone, f"renamed or removed: {sorted(gone)}"


@pytest.mark.parametrize("module", public_modules())
def test_module_says_what_is_public(module: str) -> None:
    loaded = importlib.import_module(module)
    assert (loaded.__doc__ or "").strip(), f"{module} has no docstring"
    for name in getattr(loaded, "__all__", []):
        thing = getattr(loaded, name)
        if callable(thing) and not hasattr(thing, "__args__"):
            assert (thing.__doc__ or "").strip(), f"{module}.{name} has no docstring"


if __name__ == "__main__":
    LIST.write_text("".join(f"{name}\n" for name in contract()))

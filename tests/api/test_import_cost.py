"""Does `import tokenloom` load NumPy and nothing else from outside?"""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest
import tokenloom

PROBE = """
import json, sys, numpy
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""

# What a user of NumPy alone may import. `torch`, `cli` and `demo` ask for more, by name.
HEAVY = ("cli", "demo", "torch")
LIGHT = [
    info.name
    for info in pkgutil.iter_modules(tokenloom.__path__, "tokenloom.")
    if not info.name.endswith((*HEAVY, "__main__"))
]


def loaded_by(module: str) -> set[str]:
    """Top-level modules that a fresh interpreter loads for `module` after NumPy, without the standard library's."""
    command = [sys.executable, "-c", PROBE.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout)) - set(sys.stdlib_module_names)


@pytest.mark.parametrize("modules", ["tokenloom", ", ".join(["tokenloom", *LIGHT])])
def test_import_loads_numpy_alone(modules: str) -> None:
    assert loaded_by(modules) <= {"tokenloom", "numpy"}


def test_probe_sees_what_is_loaded() -> None:
    """The probe itself: rich is seen where it is asked for."""
    assert "rich" in loaded_by("rich.progress")


def test_what_is_loaded_late_is_named_without_an_import() -> None:
    """`tl.compat.tiktoken` and its neighbours work behind `import tokenloom` alone, and load no peer."""
    names = "tl.compat.tiktoken.Encoding, tl.compat.tokenizers.Tokenizer, tl.compat.transformers.attach"
    assert loaded_by(f"tokenloom as tl; {names}") <= {"tokenloom", "numpy"}

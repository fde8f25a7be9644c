"""Does `import tokenloom` load NumPy and nothing else from outside?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import json, sys, numpy
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""

# What a user of NumPy alone may import. `torch`, `cli` and `demo` ask for more, by name.
LIGHT = ("tokenloom", "tokenloom.errors", "tokenloom.reference", "tokenloom.sample")


def loaded_by(module: str) -> set[str]:
    """Top-level modules that a fresh interpreter loads for `module` after NumPy, without the standard library's."""
    command = [sys.executable, "-c", PROBE.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout)) - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", LIGHT)
def test_import_loads_numpy_alone(module: str) -> None:
    assert loaded_by(module) <= {"tokenloom", "numpy"}


def test_probe_sees_what_is_loaded() -> None:
    """The probe itself: rich is seen where it is asked for."""
    assert "rich" in loaded_by("rich.progress")

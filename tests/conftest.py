"""Fixtures that every folder of tests shares: where the real files lie."""

from __future__ import annotations

import importlib.util
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def _load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while it is being run.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_RUNNING: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember which test is running: fixtures of modules and sessions are not told."""
    _RUNNING[:] = [item]


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """``asset("smollm2")`` is a folder of real files; an absent one is an error that says what to run.

    So is a heavy one in a test that is not: it would pass only where someone fetched it before.
    """
    script = _load_script("fetch_assets")

    def locate(name: str) -> Path:
        if script.find(name).heavy:
            assert _RUNNING[0].get_closest_marker("heavy"), f"expected a test marked heavy, as asset {name!r} is"
        folder: Path = script.locate(name)
        return folder

    return locate


@pytest.fixture(scope="session")
def compose() -> ModuleType:
    """Published vocabularies as the content of a tokenizer.json."""
    return _load_script("compose_tokenizers")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of small files that are part of the repository."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """Larger corpora and tokenizer files beside the checkout, or ``None``: a test must pass without them."""
    folder = ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def read_xz() -> Callable[[Path], bytes]:
    """The content of an xz file."""
    return lambda path: lzma.decompress(path.read_bytes())


@pytest.fixture(scope="session")
def random_schema() -> Callable[[int], dict[str, Any]]:
    """``random_schema(seed)`` is a JSON Schema that has instances, most of them short."""

    def schema(random: np.random.Generator, depth: int) -> dict[str, Any]:
        kind = random.integers(0, 6 if depth == 0 else 9)
        if kind == 0:
            least = int(random.integers(-20, 20))
            return {"type": "integer", "minimum": least, "maximum": least + int(random.integers(0, 99))}
        if kind == 1:
            return {"type": "string", "maxLength": int(random.integers(0, 9))}
        if kind == 2:
            return {"enum": [["a", 1, None, "word", 2.5, True][at] for at in random.permutation(6)[:3]]}
        if kind == 3:
            return {"type": ["boolean", "null"]}
        if kind == 4:
            return {"type": "string", "pattern": f"^[a-{'cdefgh'[random.integers(6)]}]{{1,4}}(x|-y)?$"}
        if kind == 5:
            return {"const": {"k": int(random.integers(99))}}
        if kind == 6:
            low = int(random.integers(0, 2))
            return {"type": "array", "items": schema(random, depth - 1), "minItems": low, "maxItems": low + 2}
        if kind == 7:
            return {"anyOf": [schema(random, depth - 1), schema(random, depth - 1)]}
        names = [f"{letter}{random.integers(9)}" for letter in "abcd"[: random.integers(1, 5)]]
        return {
            "type": "object",
            "properties": {name: schema(random, depth - 1) for name in names},
            "required": names[: random.integers(0, len(names) + 1)],
            "additionalProperties": False,
        }

    return lambda seed: schema(np.random.default_rng(seed), 2)

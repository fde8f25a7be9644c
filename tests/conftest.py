"""Fixtures that every folder of tests shares: where the real files lie."""

from __future__ import annotations

import importlib.util
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """``asset("smollm2")`` is a folder of real files; an absent one is an error that says what to run."""
    locate: Callable[[str], Path] = _load_script("fetch_assets").locate
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

"""Every public name of `tokenizers` 0.23.3 is there, or is an exception with a reason."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

MODULES = (
    "",
    "normalizers",
    "pre_tokenizers",
    "models",
    "decoders",
    "processors",
    "trainers",
    "implementations",
    "tools",
)
SPECIAL = ("__getitem__", "__setitem__", "__len__", "__repr__", "__str__", "__eq__", "__hash__", "__getstate__")
FILES = (
    "base_tokenizer",
    "bert_wordpiece",
    "byte_level_bpe",
    "char_level_bpe",
    "sentencepiece_bpe",
    "sentencepiece_unigram",
)
UNTRUE_SIGNATURES = ("custom", "pre_tokenize_str", "save", "token_to_id", "from_file")
EXCEPTIONS = {
    "List": "an import of `typing`",
    "Tuple": "an import of `typing`",
    "Union": "an import of `typing`",
    **{f"implementations.{name}": "a file of theirs" for name in FILES},
    "tools.visualizer": "a file of theirs",
    "tools.EncodingVisualizer.consecutive_chars_to_html": "a step of drawing",
}


def pairs() -> list[tuple[str, Any, Any]]:
    """Dotted names, what they are in the peer, and what here (``None`` where there is nothing)."""
    found = []
    for module in MODULES:
        theirs, ours = (
            importlib.import_module(f"{root}.{module}" if module else root)
            for root in ("tokenizers", "tokenloom.compat.tokenizers")
        )
        for name in dir(theirs):
            value = getattr(theirs, name)
            is_known_module = inspect.ismodule(value) and name in (*MODULES, "tokenizers")
            if is_known_module or (name.startswith("_") and name != "__version__"):
                continue
            dotted = f"{module}.{name}" if module else name
            mine = getattr(ours, name, None)
            found.append((dotted, value, mine))
            if inspect.isclass(value) and mine is not None:
                members = [member for member in dir(value) if not member.startswith("_") or member in SPECIAL]
                found += [(f"{dotted}.{m}", getattr(value, m), getattr(mine, m, inspect)) for m in members]
    return found


def is_missing(mine: Any) -> bool:
    return mine is inspect or mine is None


@pytest.mark.filterwarnings("ignore")
def test_no_name_is_missing():
    missing = {name for name, _, mine in pairs() if is_missing(mine)}
    excepted = {name for name in missing if any(name == known or name.startswith(f"{known}.") for known in EXCEPTIONS)}
    # A class attribute may be None by itself.
    absent = {name for name in missing - excepted if "." not in name or name.count(".") == 1}
    assert absent == set()
    assert {name for name in EXCEPTIONS if not any(n == name or n.startswith(f"{name}.") for n in missing)} == set()


@pytest.mark.filterwarnings("ignore")
def test_arguments_have_the_same_names():
    """As far as the peer says truly: its text signatures are written by hand."""
    different = {}
    for name, theirs, mine in pairs():
        if not callable(theirs) or inspect.isclass(theirs) or is_missing(mine) or ".__" in name:
            continue
        try:
            expected = [p for p in inspect.signature(theirs).parameters if p not in ("self", "args", "kwargs")]
            found = [p for p in inspect.signature(mine).parameters if p not in ("self", "cls", "options")]
        except (TypeError, ValueError):
            continue
        if expected != found and name.rpartition(".")[2] not in UNTRUE_SIGNATURES:
            different[name] = (expected, found)
    assert different == {}

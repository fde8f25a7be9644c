"""A megabyte of one character is an ordinary document, and so is a hundred megabytes of text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl

UNITS = ("a", "A", " ", "\n", "\r\n", "\t", "é", "=", "/", "1", "\u0301", "中", "😀", "'", "'s", "\x00", "a ", " a")


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base", "tiny"])
def test_a_megabyte_of_one_character(name: str, asset: Callable[[str], Path], test_data: Path) -> None:
    tiny = test_data / "tiny.tokenizer.json"
    tok = tl.Tokenizer.from_file(tiny if name == "tiny" else asset("tiktoken") / f"{name}.tiktoken")
    for unit in UNITS:
        text = unit * (1_000_000 // len(unit.encode()))
        ids = tok.encode(text)
        assert len(ids) == tok.count(text)
        assert tok.decode(ids) == text, unit


@pytest.mark.heavy
def test_a_hundred_megabytes_of_text(asset: Callable[[str], Path], test_data: Path) -> None:
    tok = tl.Tokenizer.from_file(asset("tiktoken") / "o200k_base.tiktoken")
    part = (test_data / "multilingual.txt").read_bytes()
    n_parts = 100_000_000 // len(part)
    ids = tok.encode((part * n_parts).decode())
    assert tok.decode_bytes(ids) == part * n_parts
    # Nothing is split across parts other than white space at the seam, so ids repeat with the parts.
    once = tok.encode((part * 2).decode())
    period = len(once) - len(tok.encode(part.decode()))
    assert np.array_equal(ids[: 10 * period], np.tile(ids[:period], 10))

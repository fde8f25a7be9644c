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


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.mark.parametrize("n_calls", [40, pytest.param(13_000, marks=pytest.mark.heavy)])
def test_words_that_never_repeat_fill_no_more_than_the_stated_memory(
    asset: Callable[[str], Path], n_calls: int
) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc on this system")
    tok = tl.Tokenizer.from_file(asset("tiktoken") / "cl100k_base.tiktoken")
    text = " ".join("q" + np.base_repr(i, 26).lower() for i in range(100_000))
    tok.count(text)
    before = _resident_bytes()
    for call in range(n_calls):
        # Other letters in front make other words of all of them: the heavy run encodes 10 GB, none twice.
        front = "".join(chr(97 + call // 26**place % 26) for place in range(3))
        assert tok.count(text.replace(" q", f" {front}")) > 100_000
    # 8 MB of remembered pretokens, and what the allocator keeps of the texts.
    assert _resident_bytes() - before < 24 << 20


def test_a_long_text_on_several_threads_has_the_same_ids(asset: Callable[[str], Path], test_data: Path) -> None:
    text = (test_data / "multilingual.txt").read_text(encoding="utf-8")
    text = (text + "\nThe end.\n") * (1_500_000 // len(text.encode()))
    for name in ("cl100k_base", "o200k_base", "r50k_base"):
        tok = tl.Tokenizer.from_file(asset("tiktoken") / f"{name}.tiktoken")
        assert np.array_equal(tok.encode(text, threads=3), tok.encode(text))

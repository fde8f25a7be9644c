"""History files that are damaged, foreign or cut, and what loading them does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import FormatError


def saved(path: Path) -> tl.draft.Suffix:
    drafter = tl.draft.Suffix()
    for ids in ([1, 2, 3, 4], [], [7, 1, 2, 9]):
        drafter.begin(ids).end()
    drafter.save(path)
    return drafter


@pytest.mark.parametrize("mapped", [False, True])
def test_a_loaded_history_drafts_alike(tmp_path: Path, mapped: bool) -> None:
    drafter = saved(tmp_path / "history")
    loaded = tl.draft.Suffix.load(tmp_path / "history", mapped=mapped)
    assert loaded.n_tokens == drafter.n_tokens == 11
    assert loaded.n_bytes == (0 if mapped else drafter.n_bytes)
    for prompt in ([1, 2], [7], [0, 1, 2, 3]):
        assert loaded.begin(prompt).propose() == drafter.begin(prompt).propose()
    # New texts join the old ones, and the file can be replaced while it is in use.
    loaded.begin([50, 51, 52]).end()
    loaded.save(tmp_path / "history")
    assert tl.draft.Suffix.load(tmp_path / "history").n_tokens == 15
    assert loaded.begin([50]).propose(1).tokens.tolist() == [51]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "begins with"),
        (lambda data: b"{}" * 40, "begins with"),
        (lambda data: data[:-4], "bytes, found"),
        (lambda data: data + b"\0" * 64, "bytes, found"),
        (lambda data: data + b"\0", "bytes, found"),
        (lambda data: data[:44] + b"\x01" + data[45:], "expected 0 in word 11 of the header, found 1"),
        (lambda data: data[:63] + b"\x80" + data[64:], "expected 0 in word 15 of the header, found 2147483648"),
        (lambda data: data[:16] + b"\x02" + data[17:], "format version 1, found 2"),
        (lambda data: data[:20] + data[20:24][::-1] + data[24:], "byte order"),
        (lambda data: data[:-70] + bytes([data[-70] ^ 1]) + data[-69:], "checksum"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, damage: object, message: str, mapped: bool) -> None:
    saved(tmp_path / "history")
    data = damage((tmp_path / "history").read_bytes())  # type: ignore[operator]
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        tl.draft.Suffix.load(tmp_path / "bad", mapped=mapped)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tl.draft.Suffix.load(tmp_path / "none")
    with pytest.raises(OSError, match="directory"):
        tl.draft.Suffix().save(tmp_path)
    with pytest.raises(FileNotFoundError):
        tl.draft.Suffix().save(tmp_path / "none" / "history")
    assert os.listdir(tmp_path) == []


def test_a_small_budget_keeps_the_newest_of_a_file(tmp_path: Path) -> None:
    drafter = tl.draft.Suffix(max_bytes=10**6)
    for i in range(30):
        drafter.begin(np.arange(1000) * i).end()
    drafter.save(tmp_path / "history")
    small = tl.draft.Suffix.load(tmp_path / "history", max_bytes=100_000)
    assert 0 < small.n_bytes <= 100_000
    assert len(small.begin(np.arange(5) * 29).propose(1)) == 1

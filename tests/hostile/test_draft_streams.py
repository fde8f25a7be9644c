"""Streams that come and go for days: a hundred thousand of them leave no memory behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenloom as tl

N_STREAMS = 100_000
MEMORY = Path("/proc/self/statm")

DRAFTERS: dict[str, Callable[[], tl.draft.Drafter]] = {
    "suffix": lambda: tl.draft.Suffix(max_bytes=2**20),
    "merged": lambda: tl.draft.Merged([tl.draft.Suffix(max_bytes=2**20), tl.draft.Recycling(rows=512)]),
}


def resident_bytes() -> int:
    gc.collect()
    return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if MEMORY.exists() else 0


@pytest.mark.parametrize("kind", DRAFTERS)
def test_a_hundred_thousand_streams(kind: str) -> None:
    drafter = DRAFTERS[kind]()
    before = 0
    for i in range(N_STREAMS):
        stream = drafter.begin([i % 97, i % 89, 3, i % 97, i % 89])
        if i % 50 == 0:
            stream.propose(8)
        stream.commit([3, i % 7])
        if i % 3:  # some are forgotten instead of ended
            stream.end()
        if i == N_STREAMS // 5:
            before = resident_bytes()
    del stream
    # A hundred bytes a stream would be eight megabytes.
    assert resident_bytes() - before < 6 * 2**20
    assert drafter.n_bytes <= 2**20 + 512 * 176  # type: ignore[attr-defined]

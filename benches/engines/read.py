"""One read of memory: the maximum of each row by torch, which draws nothing; one thread.

Its answer is torch's: the row of the table is a bound, not a peer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benches.engines import torch as peer
from benches.engines.sampling import rows_of
from benches.job import Job

PACKAGES = ("torch",)


def draw(arguments: dict[str, Any]) -> Job:
    """Reads every logit."""
    drawing = peer.draw(arguments)
    rows = torch.from_numpy(rows_of(arguments))

    def read() -> None:
        for _ in range(arguments["n_batches"]):
            rows.amax(dim=-1)

    reads = [partial(read) for _ in drawing.rounds]
    return Job(rounds=reads, answer=lambda _: drawing.answer(drawing.rounds[0]()), warm_up=read)

"""torch: rows sorted, cut where the mass is reached; one thread."""

from __future__ import annotations

from typing import Any

import torch

from benches.engines.sampling import rows_of, sampling_job
from benches.job import Job

PACKAGES = ("torch",)


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row; the result is the probabilities of the columns, and which columns they are."""
    torch.set_num_threads(1)
    rows = torch.from_numpy(rows_of(arguments))
    rules = arguments["rules"]

    def cut(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, columns = torch.sort(rows, dim=-1, descending=True)
        probs = torch.softmax(values, dim=-1)
        probs[probs.cumsum(-1) - probs >= rules["top_p"]] = 0
        columns.gather(1, torch.multinomial(probs, num_samples=1))
        return probs, columns

    def could_be_drawn(result: tuple[torch.Tensor, torch.Tensor]) -> Any:
        probs, columns = result
        return torch.zeros_like(rows).scatter_(1, columns, probs).numpy() > 0

    return sampling_job(arguments, cut, could_be_drawn)

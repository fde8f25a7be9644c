"""torch: ``topk`` first and the other rules on its few columns; without top-k, the exponential race; one thread."""

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

    def truncated(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, columns = torch.topk(rows, rules["top_k"], dim=-1)
        probs = torch.softmax(values / rules["temperature"], dim=-1)
        before = probs.cumsum(-1) - probs
        probs[before >= rules["top_p"]] = 0
        probs[probs < rules["min_p"] * probs[:, :1]] = 0
        columns.gather(1, torch.multinomial(probs, num_samples=1))
        return probs, columns

    def plain(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        probs = torch.softmax(rows / rules["temperature"], dim=-1)
        (probs / torch.empty_like(probs).exponential_()).argmax(-1)
        return probs, torch.arange(rows.shape[1]).expand_as(rows)

    def could_be_drawn(result: tuple[torch.Tensor, torch.Tensor]) -> Any:
        probs, columns = result
        return torch.zeros_like(rows).scatter_(1, columns, probs).numpy() > 0

    return sampling_job(arguments, truncated if "top_k" in rules else plain, could_be_drawn)

"""transformers: the logits processors that ``generate`` builds, then softmax and ``multinomial``; one thread."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from benches.engines.sampling import rows_of, sampling_job
from benches.job import Job

PACKAGES = ("transformers", "torch")

_MAKERS = {
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row."""
    torch.set_num_threads(1)
    rows = torch.from_numpy(rows_of(arguments))
    rules = arguments["rules"]
    chain = LogitsProcessorList([make(rules[name]) for name, make in _MAKERS.items() if name in rules])
    prompt = torch.zeros(len(rows), 1, dtype=torch.int64)

    def step(position: int) -> torch.Tensor:
        probs = torch.softmax(chain(prompt, rows), dim=-1)
        torch.multinomial(probs, num_samples=1)
        return probs

    return sampling_job(arguments, step, lambda probs: probs.numpy() > 0)

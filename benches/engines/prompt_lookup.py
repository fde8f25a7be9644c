"""Prompt lookup of transformers: searches the prompt and output of its own request for the last one or two tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from benches.engines.drafting import Ids, replay_job
from benches.job import Job

PACKAGES = ("transformers", "torch", "numpy")


class _Request:
    def __init__(self, prompt: Ids) -> None:
        self._ids = torch.from_numpy(prompt.astype(np.int64))[None]
        self._generator = PromptLookupCandidateGenerator(
            num_output_tokens=10, max_matching_ngram_size=2, max_length=2**31 - 1
        )

    def propose(self, n_left: int) -> tuple[list[int], None]:
        if self._ids.shape[1] == 0:
            return [], None
        candidates, _ = self._generator.get_candidates(self._ids)
        drafted: list[int] = candidates[0, self._ids.shape[1] :][:n_left].tolist()
        return drafted, None

    def commit(self, ids: Ids) -> None:
        self._ids = torch.cat([self._ids, torch.from_numpy(ids.astype(np.int64))[None]], dim=1)

    def end(self) -> None:
        pass


def draft_replay(arguments: dict[str, Any]) -> Job:
    """Defaults: n-grams of at most two tokens, ten tokens copied."""
    torch.set_num_threads(1)
    return replay_job(arguments, lambda: _Request)

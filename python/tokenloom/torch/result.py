"""What does a generation hand back?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Generation", "Stats"]


@dataclass
class Stats:
    """What one prompt's generation cost.

    Attributes:
        n_tokens: tokens generated.
        model_calls: forward passes this prompt took part in, its prompt's own included; without drafts, one a token.
        drafted: tokens proposed and run through the model.
        accepted: drafted tokens that were also drawn, hence kept.
        forced: tokens that the constraint forced and that were taken without asking the model.
        checks: tokens put to the constraint.
        seconds: wall time of the batch this prompt was in, by part: ``draft``, ``model``, ``draw``.
    """

    n_tokens: int = 0
    model_calls: int = 0
    drafted: int = 0
    accepted: int = 0
    forced: int = 0
    checks: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def tokens_per_call(self) -> float:
        """Tokens a forward pass yielded on average; 1.0 without drafts."""
        return self.n_tokens / self.model_calls if self.model_calls else 0.0

    @property
    def checks_per_token(self) -> float:
        """Tokens put to the constraint for each one generated."""
        return self.checks / self.n_tokens if self.n_tokens else 0.0


@dataclass
class Generation:
    """One prompt's continuation.

    Attributes:
        prompt_ids: what the model read as the prompt, uint32[m]; with ``heal``, one of its covers.
        text: the new text, without the end token and cut before the stop string that ended it. With ``heal`` it begins
            with what the cover says beyond the prompt.
        ids: every new token, uint32[n]; an end token or the tokens of a stop string are the last ones.
        logprobs: natural log-probability of each under the law it was drawn from (after temperature and truncation,
            before the constraint under ``method="awrs"``), float64[n].
        log_weight: natural log of the importance weight that AWRS gives this sample; 0 for the other methods.
        finish_reason: ``"eos"``, ``"stop"``, ``"length"``, or ``"constraint"`` (complete, and nothing may follow).
        stats: what it cost.
    """

    prompt_ids: np.ndarray[Any, np.dtype[np.uint32]]
    text: str
    ids: np.ndarray[Any, np.dtype[np.uint32]]
    logprobs: np.ndarray[Any, np.dtype[np.float64]]
    log_weight: float
    finish_reason: str
    stats: Stats

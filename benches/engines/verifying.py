"""What do the engines that verify drafts share: the drafts, and what they must agree on?

Decisions are random and differ between engines, so the drafts leave none that matters: up to a place that varies from
call to call the target likes every drafted token more than the draft does, and there it forbids the drafted token. The
answer is how many tokens stay, and whether the next token is one that the target likes more than the draft.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benches.job import Job

Committed = tuple[int, int]


class Draft(NamedTuple):
    """A chain, or independent drafts for one place; rows are normalised."""

    p: NDArray[np.float32]
    q: NDArray[np.float32]
    tokens: NDArray[np.int64]
    is_chain: bool


def verify_job(arguments: dict[str, Any], run: Callable[[Draft, int], Committed]) -> Job:
    """Round k verifies ``n_calls`` drafts."""
    rng = np.random.default_rng(arguments["seed"])
    n, n_vocab, is_chain = arguments["n_drafted"], arguments["n_vocab"], arguments["is_chain"]
    logits = rng.standard_normal((2, n + 1, n_vocab), dtype=np.float32) * np.float32(3)
    # A draft model is close to its target.
    logits[1] = 0.5 * logits[0] + 0.5 * logits[1]
    p, q = np.exp(logits - logits.max(-1, keepdims=True))
    if not is_chain:
        p[:], q[:] = p[0], q[0]
    is_above = p / p.sum(-1, keepdims=True) > 1.5 * q / q.sum(-1, keepdims=True)
    tokens = np.array([np.flatnonzero(row)[i] for i, row in enumerate(is_above[:n])])
    q = (q / q.sum(-1, keepdims=True))[:n]
    # A chain ends in its middle on average; of drafts for one place none is accepted.
    ends = [(i * n) // 3 if is_chain else 0 for i in range(4)]
    drafts = []
    for end in dict.fromkeys(ends):
        target = p.copy()
        target[end:, tokens[end:] if is_chain else tokens] = 0
        target /= target.sum(-1, keepdims=True)
        drafts.append(Draft(target, q, tokens, is_chain))

    def rounds(start: int) -> list[Committed]:
        return [run(drafts[i % len(drafts)], start + i) for i in range(arguments["n_calls"])]

    def answer(committed: list[Committed]) -> bytes:
        answers = []
        for i, (n_accepted, token) in enumerate(committed):
            draft = drafts[i % len(drafts)]
            at = n_accepted if is_chain else 0
            is_left = at == n or draft.p[at, token] > draft.q[at, token]
            answers.append((n_accepted, bool(is_left)))
        return repr(answers).encode()

    return Job(
        rounds=[partial(rounds, 1000 * n_round) for n_round in range(arguments["n_rounds"])],
        answer=answer,
        warm_up=partial(run, drafts[0], 10**6),
    )

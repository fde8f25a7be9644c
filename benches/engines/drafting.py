"""What the drafting engines share: recorded answers are replayed, and the model's part is to say what was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benches.job import Job

Ids = NDArray[np.int32]


class Replayed(Protocol):
    """One request on its way; made by a function of its prompt."""

    def propose(self, n_left: int) -> tuple[Sequence[int], Sequence[int] | None]:
        """Draft nodes at most ``n_left`` deep: their tokens and their parents, None for a chain."""

    def commit(self, ids: Ids) -> None:
        """These follow."""

    def end(self) -> None:
        """The answer is complete."""


def load_requests(path: str) -> list[tuple[str, Ids, Ids]]:
    """Category, prompt and answer of each request."""
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return [(kind, np.array(prompt, dtype=np.int32), np.array(answer, dtype=np.int32)) for kind, prompt, answer in rows]


def replay(requests: list[tuple[str, Ids, Ids]], begin: Callable[[Ids], Replayed]) -> dict[str, list[int]]:
    """Tokens, steps and drafted tokens of each category; a step commits the accepted path and one token."""
    counts: dict[str, list[int]] = {}
    for kind, prompt, answer in requests:
        stream = begin(prompt)
        truth = answer.tolist()
        done = 0
        count = counts.setdefault(kind, [0, 0, 0])
        while done < len(truth):
            tokens, parents = stream.propose(len(truth) - done)
            parents = range(-1, len(tokens) - 1) if parents is None else parents
            children = {pair: node for node, pair in enumerate(zip(parents, tokens, strict=True))}
            n_accepted, node = 0, -1
            while done + n_accepted < len(truth):
                child = children.get((node, truth[done + n_accepted]))
                if child is None:
                    break
                n_accepted, node = n_accepted + 1, child
            n_new = min(n_accepted + 1, len(truth) - done)
            stream.commit(answer[done : done + n_new])
            done += n_new
            count[0] += n_new
            count[1] += 1
            count[2] += len(tokens)
        stream.end()
    return counts


def replay_job(arguments: dict[str, Any], start: Callable[[], Callable[[Ids], Replayed]]) -> Job:
    """All requests once a round, nothing known at the start; engines agree on how much was said."""
    requests = load_requests(arguments["requests"])
    begins = [start() for _ in range(arguments["n_rounds"])]
    return Job(
        rounds=[lambda begin=begin: replay(requests, begin) for begin in begins],
        answer=lambda counts: json.dumps({kind: count[0] for kind, count in counts.items()}).encode(),
    )


def load_ids(arguments: dict[str, Any]) -> Ids:
    """The tokens of an update or propose case: random ones, or all requests in a row."""
    if "seed" in arguments:
        return np.random.default_rng(arguments["seed"]).integers(0, 49_152, arguments["n_tokens"]).astype(np.int32)
    parts = [np.concatenate([prompt, answer]) for _, prompt, answer in load_requests(arguments["requests"])]
    return np.concatenate(parts)[: arguments["n_tokens"]]


def contexts(arguments: dict[str, Any], ids: Ids) -> list[Ids]:
    """64 tokens each: cut from the indexed text where it goes on for 16 more, or of distinct ids that it lacks."""
    rng = np.random.default_rng(5)
    if arguments["is_hit"]:
        starts = rng.integers(0, len(ids) - 100, arguments["n_contexts"])
        return [ids[start : start + 64].copy() for start in starts]
    # Without replacement: an id that comes twice is a match inside the context.
    return [49_152 + rng.choice(49_152, 64, replace=False).astype(np.int32) for _ in range(arguments["n_contexts"])]

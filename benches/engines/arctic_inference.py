"""arctic-inference: suffix tries; ``SuffixDecodingCache`` keeps one for each request and one for all answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from arctic_inference.suffix_decoding import SuffixDecodingCache
from arctic_inference.suffix_decoding._C import SuffixTree

from benches.engines.drafting import Ids, contexts, load_ids, replay_job
from benches.job import Job

PACKAGES = ("arctic-inference", "numpy")
DEPTH = 64


class _Request:
    def __init__(self, cache: SuffixDecodingCache, name: int, prompt: Ids) -> None:
        self._cache, self._name = cache, name
        self._text = prompt
        cache.start_request(name, prompt)

    def propose(self, n_left: int) -> tuple[list[int], None]:
        context = self._text[-DEPTH:]
        return self._cache.speculate(self._name, context, max_spec_tokens=min(16, n_left)).token_ids, None

    def commit(self, ids: Ids) -> None:
        self._text = np.concatenate([self._text, ids])
        self._cache.add_active_response(self._name, ids)

    def end(self) -> None:
        self._cache.stop_request(self._name)


def draft_replay(arguments: dict[str, Any]) -> Job:
    """Defaults: factor 1, least probability 0.1, chains of at most 16."""

    def start() -> Callable[[Ids], _Request]:
        cache, names = SuffixDecodingCache(max_tree_depth=DEPTH), itertools.count()
        return lambda prompt: _Request(cache, next(names), prompt)

    return replay_job(arguments, start)


def draft_update(arguments: dict[str, Any]) -> Job:
    """One sequence in one tree, one call."""
    ids = load_ids(arguments)
    trees = [SuffixTree(DEPTH) for _ in range(arguments["n_rounds"])]
    return Job(
        rounds=[lambda tree=tree: tree.extend_ndarray(0, ids) or len(ids) for tree in trees],
        answer=lambda n: str(n).encode(),
    )


def draft_propose(arguments: dict[str, Any]) -> Job:
    """One tree, the context given as an array with each call."""
    ids = load_ids(arguments)
    tree = SuffixTree(DEPTH)
    tree.extend_ndarray(0, ids)
    rows = contexts(arguments, ids)

    def call() -> list[list[int]]:
        return [tree.speculate_ndarray(row, 16, 1.0, 0.0, 0.1, False).token_ids for row in rows]

    return Job(
        rounds=[call] * arguments["n_rounds"],
        answer=lambda drafts: repr([list(map(int, draft)) for draft in drafts]).encode(),
    )

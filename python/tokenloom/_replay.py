"""What would a drafter have saved on texts that were recorded?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenloom._core.draft import DraftTree
from tokenloom._cost import CostCurve

__all__ = ["Record", "Replayed", "replay"]

_N_BINS = 10


class Record(NamedTuple):
    """One request that was answered.

    Attributes:
        prompt: token ids.
        answer: token ids of what the model said.
        category: what it is counted under.
        topk_ids: the model's likeliest tokens at each token of the answer, int[len(answer), k], where recorded.
        topk_logprobs: their log-probabilities.
        prompt_topk_ids: the likeliest tokens behind each token of the prompt, int[len(prompt), k], where recorded.
        prompt_topk_logprobs: their log-probabilities.
    """

    prompt: Sequence[int] | NDArray[np.integer[Any]]
    answer: Sequence[int] | NDArray[np.integer[Any]]
    category: str = "all"
    topk_ids: NDArray[np.int64] | None = None
    topk_logprobs: NDArray[np.float32] | None = None
    prompt_topk_ids: NDArray[np.int64] | None = None
    prompt_topk_logprobs: NDArray[np.float32] | None = None


@dataclass
class Counts:
    """Sums over steps."""

    n_tokens: int = 0
    n_steps: int = 0
    n_drafted: int = 0

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a forward pass yields, the model's own included."""
        return self.n_tokens / max(self.n_steps, 1)

    @property
    def drafted_per_step(self) -> float:
        """Drafted tokens that a forward pass verifies."""
        return self.n_drafted / max(self.n_steps, 1)


@dataclass
class Replayed(Counts):
    """What a replay found.

    Attributes:
        categories: the same sums for each category.
        calibration_error: mean distance between the promised and the accepted part of drafted nodes, over ten classes
            of the path probability, weighted by their nodes.
        propose_seconds: time in ``propose``.
        commit_seconds: time in ``begin``, ``commit`` and ``end``.
        n_bytes: most memory held by one stream and by what the streams share.
        sizes: how many steps drafted so many nodes.
    """

    categories: dict[str, Counts] = field(default_factory=dict)
    calibration_error: float = 0.0
    propose_seconds: float = 0.0
    commit_seconds: float = 0.0
    n_bytes: int = 0
    sizes: dict[int, int] = field(default_factory=dict)

    def speedup(self, cost: CostCurve) -> float:
        """Predicted ratio of tokens a second to plain decoding, ``cost`` in seconds and the drafter's time added."""
        passes = sum(n * cost.at(size + 1) for size, n in self.sizes.items())
        seconds = passes + self.propose_seconds + self.commit_seconds
        return self.n_tokens * cost.at(1) / max(seconds, 1e-30)


def replay(drafter: Any, records: Iterable[Record], budget: int = 64, *, chain: bool = False) -> Replayed:
    """Draft, accept what agrees with the record, commit; nothing is known at the start but what ``drafter`` knows.

    Accepting what was recorded is what a verifier does under greedy decoding and under seeded sampling alike.

    Args:
        drafter: any drafter.
        records: requests in the order in which they came.
        budget: most nodes a step.
        chain: chains only.

    >>> import tokenloom as tl
    >>> found = tl.draft.replay(tl.draft.Ngram(), [tl.draft.Record([1, 2, 3, 4], [1, 2, 3, 4, 1, 2])])
    >>> found.n_tokens, found.n_steps
    (6, 2)
    """
    found = Replayed()
    bins = np.zeros((_N_BINS, 3))
    options = {"chain": True} if chain else {}
    for record in records:
        counts = found.categories.setdefault(record.category, Counts())
        start = time.perf_counter()
        said = (record.prompt_topk_ids, record.prompt_topk_logprobs)
        stream = drafter.begin(np.asarray(record.prompt, dtype=np.int32), *(said if said[0] is not None else ()))
        found.commit_seconds += time.perf_counter() - start
        answer = np.asarray(record.answer, dtype=np.int32)
        done = 0
        while done < len(answer):
            start = time.perf_counter()
            tree = stream.propose(budget, **options)
            proposed = time.perf_counter()
            path = _path(tree, answer[done:].tolist())
            n_new = min(len(path) + 1, len(answer) - done)
            top = _top_rows(record, done, path, len(tree))
            committing = time.perf_counter()
            stream.commit(answer[done : done + n_new], *top)
            found.commit_seconds += time.perf_counter() - committing
            found.propose_seconds += proposed - start
            _judge(bins, tree, path)
            # Nodes behind the end of the answer would not have been asked for.
            n_drafted = int((tree.depths <= len(answer) - done).sum())
            found.sizes[n_drafted] = found.sizes.get(n_drafted, 0) + 1
            for sums in (counts, found):
                sums.n_tokens += n_new
                sums.n_steps += 1
                sums.n_drafted += n_drafted
            done += n_new
        found.n_bytes = max(found.n_bytes, getattr(stream, "n_bytes", 0) + getattr(drafter, "n_bytes", 0))
        start = time.perf_counter()
        stream.end()
        found.commit_seconds += time.perf_counter() - start
    n_nodes = max(bins[:, 0].sum(), 1)
    found.calibration_error = float(np.abs(bins[:, 1] - bins[:, 2]).sum() / n_nodes)
    return found


def _path(tree: DraftTree, truth: list[int]) -> list[int]:
    """The nodes that agree with what came."""
    children = {pair: node for node, pair in enumerate(zip(tree.parents.tolist(), tree.tokens.tolist(), strict=True))}
    path: list[int] = []
    for token in truth:
        node = children.get((path[-1] if path else -1, token))
        if node is None:
            break
        path.append(node)
    return path


def _top_rows(record: Record, done: int, path: list[int], n_nodes: int) -> tuple[Any, ...]:
    """What was recorded of the model, in the rows of the draft; rejected rows are not known."""
    if record.topk_ids is None:
        return ()
    ids = np.full((n_nodes + 1, record.topk_ids.shape[1]), -1, np.int64)
    logprobs = np.zeros(ids.shape, np.float32)
    for i, row in enumerate([0, *(node + 1 for node in path)]):
        if done + i < len(record.topk_ids):
            ids[row] = record.topk_ids[done + i]
            if record.topk_logprobs is not None:
                logprobs[row] = record.topk_logprobs[done + i]
    return (ids,) if record.topk_logprobs is None else (ids, logprobs)


def _judge(bins: NDArray[np.float64], tree: DraftTree, path: list[int]) -> None:
    came = set(path)
    path_probs: list[float] = []
    for node, (parent, prob) in enumerate(zip(tree.parents.tolist(), tree.probs.tolist(), strict=True)):
        path_probs.append(prob * (path_probs[parent] if parent >= 0 else 1.0))
        bins[min(int(path_probs[node] * _N_BINS), _N_BINS - 1)] += (1, path_probs[node], node in came)


def read_record(row: Mapping[str, Any], encode: Any) -> Record:
    """A record from a parsed JSON line; ``encode`` turns text into ids.

    Raises:
        ValueError: no object with a prompt and an answer, these are neither text nor token ids, or what the model found
            likely does not fit them.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    answer = next((row[name] for name in ("answer", "output", "response", "completion") if name in row), None)
    if answer is None or "prompt" not in row:
        raise ValueError(f"expected a prompt and an answer, found {', '.join(row) or 'nothing'}")
    ids = [encode(part) if isinstance(part, str) else _ids(part) for part in (row["prompt"], answer)]
    category = str(row.get("category", "all"))
    category.encode()  # half a character can be told in JSON, but not printed
    return Record(ids[0], ids[1], category, *_top(row, "", len(ids[1])), *_top(row, "prompt_", len(ids[0])))


def _top(row: Mapping[str, Any], prefix: str, n_tokens: int) -> tuple[Any, Any]:
    """What the model found likely at each token, where it was recorded: ids and their log-probabilities."""
    names = (f"{prefix}topk_ids", f"{prefix}topk_logprobs")
    ids, logprobs = (row.get(name) for name in names)
    if ids is None and logprobs is None:
        return None, None
    if ids is None:
        raise ValueError(f"expected {names[0]} beside {names[1]}, found none")
    width = len(ids[0]) if isinstance(ids, list) and ids and isinstance(ids[0], list) else 1
    _check_rows(names[0], ids, (n_tokens, width), lambda id: type(id) is int and -1 <= id < 2**31)
    if logprobs is not None:
        _check_rows(names[1], logprobs, (n_tokens, width), lambda log: type(log) in (int, float) and log <= 0)
        logprobs = np.array(logprobs, np.float32).reshape(n_tokens, width)
    return np.array(ids, np.int64).reshape(n_tokens, width), logprobs


def _check_rows(name: str, rows: Any, shape: tuple[int, int], is_entry: Callable[[Any], bool]) -> None:
    is_list = isinstance(rows, list) and len(rows) == shape[0] and shape[1] > 0
    if not is_list or not all(
        isinstance(one, list) and len(one) == shape[1] and all(map(is_entry, one)) for one in rows
    ):
        kind = "token ids, -1 for none" if name.endswith("ids") else "log-probabilities of at most 0"
        expected = f"one row for each of {shape[0]} tokens, all of one width, of {kind}"
        raise ValueError(f"expected {name} as {expected}, found {str(rows)[:60]}")


def _ids(part: Any) -> NDArray[np.int64]:
    if not isinstance(part, list) or not all(type(id) is int and 0 <= id < 2**31 for id in part):
        raise ValueError(f"expected text or a list of token ids from 0 to 2147483647, found {str(part)[:60]}")
    return np.array(part, dtype=np.int64)

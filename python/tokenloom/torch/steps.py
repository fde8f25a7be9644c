"""What happens in one step of decoding, for every prompt of a batch?

The drafter proposes a tree for each unfinished prompt, and the constraint cuts what it forbids; the model reads all
trees in one forward pass; each prompt draws tokens down its tree until a draw leaves it; the cache forgets what was not
drawn, and the drafter hears what was. Prompts that end leave the batch.

Cost: one forward pass a step over B x (largest tree + 1) tokens. With a drafter that is always wrong, the plain loop
plus the wider passes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tokenloom._streams import NativeDrafter
from tokenloom.errors import ArrayError
from tokenloom.torch.batch import Batch
from tokenloom.torch.cost import cost_curve
from tokenloom.torch.draw import draw
from tokenloom.torch.pace import Pace
from tokenloom.torch.result import Generation
from tokenloom.torch.row import MAX_FORCED, Row

__all__ = ["Plan", "decode", "pace_of"]

_WIDEST = 48


@dataclass(frozen=True)
class Plan:
    """How all rows of a batch are decoded.

    Attributes:
        n_vocab: columns of the logits that are drawn from.
        method: how a constraint is applied.
        drafter: where the rows' streams come from, or None.
        budget: most nodes of one row's tree.
        pace: cuts the trees to what pays, or None.
        chain_only: read the main chain of a tree alone.
        is_static: allocate the cache once.
    """

    n_vocab: int
    method: str = "mask"
    drafter: Any = None
    budget: int = 16
    pace: Pace | None = None
    chain_only: bool = False
    is_static: bool = False


def decode(model: Any, rows: Sequence[Row], plan: Plan) -> dict[int, Generation]:
    """Decode one batch to its end; returns the generations by the index of their rows."""
    seconds = {"draft": 0.0, "model": 0.0, "draw": 0.0}
    done = {row.index: row.finish(seconds) for row in rows if row.finish_reason}
    rows = [row for row in rows if not row.finish_reason]
    if not rows:
        return done
    batch = _batch(model, rows, plan)
    while rows:
        start = time.perf_counter()
        proposed = _propose(rows, plan)
        for row, tree in zip(rows, proposed, strict=True):
            row.plan(tree, plan.budget, plan.chain_only, plan.n_vocab)
        trees = [row.tree for row in rows]
        for row, tree in zip(rows, trees if plan.pace is None else plan.pace.cut(trees), strict=True):
            row.read(tree)
        planned = time.perf_counter()
        logits = batch.feed([row.pending for row in rows], [row.tree for row in rows])
        fed = time.perf_counter()
        drawn = draw(rows, logits[:, : plan.n_vocab].numpy(), plan.method)
        batch.keep([row.accept(part) for row, part in zip(rows, drawn, strict=True)])
        if plan.pace is not None:
            plan.pace.learn([row.tree for row in rows], sum(len(part.path) for part in drawn))
        _commit(rows, logits[:, : plan.n_vocab], plan.drafter)
        left = [at for at, row in enumerate(rows) if not row.finish_reason]
        seconds["draft"] += planned - start
        seconds["model"] += fed - planned
        seconds["draw"] += time.perf_counter() - fed
        if len(left) < len(rows):
            done.update((row.index, row.finish(dict(seconds))) for row in rows if row.finish_reason)
            rows = [rows[at] for at in left]
            if rows:
                batch.select(left)
    return done


def pace_of(model: Any, draft_budget: Any) -> tuple[int, Pace | None]:
    """Most nodes and the pace that ``draft_budget`` means: a number, ``"auto"``, or a :class:`Pace`.

    Raises:
        ArrayError: it is none of them.
    """
    if isinstance(draft_budget, Pace):
        return _WIDEST, draft_budget
    if draft_budget == "auto":
        return _WIDEST, Pace(cost_curve(model))
    if isinstance(draft_budget, (int, np.integer)) and draft_budget >= 0:
        return int(draft_budget), None
    raise ArrayError(
        f"expected draft_budget of at least 0, 'auto' or a Pace, found {draft_budget!r}",
        argument="draft_budget",
        found=draft_budget,
    )


def _batch(model: Any, rows: Sequence[Row], plan: Plan) -> Batch:
    """An empty batch, or one that has read what the rows say was read before."""
    n_columns = None
    if plan.is_static:
        n_longest = max(row.n_read + len(row.pending) + row.n_useful + 1 for row in rows)
        n_drafted = 0 if plan.drafter is None else plan.budget
        if any(row.gate is not None for row in rows):
            n_drafted = max(n_drafted, MAX_FORCED)
        # The first block stands behind all that was read, of whichever row.
        n_first = max(row.n_read for row in rows) + max(len(row.pending) for row in rows) + n_drafted
        n_columns = max(Batch.columns_needed(len(rows), n_longest, n_drafted), n_first)
    parts = [row.give_read() for row in rows]
    if all(part is None for part in parts):
        return Batch(model, len(rows), n_columns)
    return Batch.joined(model, [part or Batch(model, 1) for part in parts], n_columns)


def _propose(rows: Sequence[Row], plan: Plan) -> list[Any]:
    """What the drafter says for each row, None where a draft would be of no use."""
    trees: list[Any] = [None] * len(rows)
    wanting = [at for at, row in enumerate(rows) if row.stream is not None and row.n_useful > 0]
    if plan.budget <= 0 or not wanting:
        return trees
    streams = [rows[at].stream for at in wanting]
    # Ours draft a chain where only a chain is read: the whole budget goes into it.
    shape = {"chain": True} if plan.chain_only and isinstance(plan.drafter, NativeDrafter) else {}
    if len(streams) > 1 and hasattr(plan.drafter, "propose_batch"):
        found = plan.drafter.propose_batch(streams, plan.budget, **shape)
    else:
        found = [stream.propose(budget=plan.budget, **shape) for stream in streams]
    for at, tree in zip(wanting, found, strict=True):
        trees[at] = tree
    return trees


def _commit(rows: Sequence[Row], logits: torch.Tensor, drafter: Any) -> None:
    """Tell the drafter what came of what was read, and what the model found likely where it learns from that."""
    n_top = drafter.n_top if isinstance(drafter, NativeDrafter) else 0
    ends = np.cumsum([len(row.tree) + 1 for row in rows])
    for row, end in zip(rows, ends, strict=True):
        if row.stream is None or not row.taken:
            continue
        ids = np.array(row.taken, dtype=np.int32)
        if not isinstance(drafter, NativeDrafter):
            row.stream.commit(ids)
            continue
        top: tuple[Any, ...] = (None, None)
        if n_top:
            own = logits[end - len(row.tree) - 1 : end]
            best = own.topk(min(n_top, own.shape[1]), dim=-1)
            top = best.indices.numpy(), (best.values - own.logsumexp(dim=-1, keepdim=True)).numpy()
        row.stream.commit(ids, *top, tree=row.tree)

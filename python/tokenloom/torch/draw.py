"""Which tokens are drawn from the logits of one step?

A row brings the logits after its last committed token and after each node of its draft tree. From the root on, a token
is drawn with the randomness of (seed, absolute position), as it would be without a draft; where the tree has a child
with that token, the next is drawn behind it. That is walk verification for a draft without probabilities of its own:
lossless, and no lossless rule accepts more. Only the rows on the path are looked at, the rows of all prompts together
depth by depth, so that a constraint is asked for masks of what is drawn alone.

Under a constraint:

- ``mask``: the constraint's mask is applied before the sampling rules.
- ``check``: the same tokens, by asking about single ones (``tl.control.draw_checked``). Truncation rules ask about the
  head of the row: where they keep the same tokens whether everything beyond the head is allowed or nothing, the rest
  does not matter. Constraints without masks are drawn from in this way under ``mask`` too.
- ``awrs``: adaptive weighted rejection sampling (Lipkin et al., 2025): few checks, and a log weight that makes up for
  the mass that was refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenloom import control, sample
from tokenloom._checking import draw_checked
from tokenloom._constraint import core_state
from tokenloom._mask_words import pack, unpack
from tokenloom.errors import DistributionError
from tokenloom.sample import Params
from tokenloom.torch.gate import Gate

if TYPE_CHECKING:
    from tokenloom.torch.row import Row

__all__ = ["Drawn", "draw"]

_HEADS = (64, 1024)
"""How many of the best tokens are asked about, one after the other, before there is a mask."""


@dataclass
class Drawn:
    """The tokens one row draws in one step: a path of its tree, and one more unless nothing may follow.

    Attributes:
        path: the accepted nodes, from a child of the root downwards.
        tokens: theirs, then one more.
        logprobs: natural log-probability of each.
        log_weights: natural log of the importance weight of each.
        dead_end: whether the constraint allows nothing behind the path.
    """

    path: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    log_weights: list[float] = field(default_factory=list)
    dead_end: bool = False

    def add(self, token: int, logprob: float, log_weight: float = 0.0) -> None:
        """One more token."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.log_weights.append(log_weight)


def draw(rows: Sequence[Row], logits: NDArray[np.float32], method: str) -> list[Drawn]:
    """Draw for every row.

    Args:
        rows: the rows of the step, planned.
        logits: float32[sum(len(row.tree) + 1), V], row by row.
        method: ``"mask"``, ``"check"`` or ``"awrs"``; rows without a constraint do not care.

    Raises:
        ConstraintError: the constraint has come to a dead end.
        DistributionError: the logits of a token that is needed are not numbers; names the prompt and the step.
    """
    ends = np.cumsum([len(row.tree) + 1 for row in rows])
    walkers = [_Walker(row, logits[end - len(row.tree) - 1 : end]) for row, end in zip(rows, ends, strict=True)]
    gate = rows[0].gate
    together = gate is None or (method == "mask" and gate.has_mask)
    step = _draw_together if together else _each_by(method)
    active = walkers
    while active:
        step(active)
        active = [walker for walker in active if walker.goes_on]
    for walker in walkers:
        walker.go_back()
    return [walker.drawn for walker in walkers]


class _Walker:
    """Where one row stands in its tree."""

    def __init__(self, row: Row, logits: NDArray[np.float32]) -> None:
        self.row = row
        self.drawn = Drawn()
        self.goes_on = True
        self._logits = logits
        self._children: dict[tuple[int, int], int] = {}
        for node, edge in enumerate(zip(row.tree.parents.tolist(), row.tree.tokens.tolist(), strict=True)):
            self._children.setdefault(edge, node)
        self._n_advanced = 0

    @property
    def position(self) -> int:
        return self.row.position + len(self.drawn.tokens)

    @property
    def text(self) -> NDArray[np.uint32]:
        """The prompt and all that came, uint32[n]."""
        return np.array([*self.row.prompt_ids, *self.row.ids, *self.drawn.tokens], dtype=np.uint32)

    def logits(self, mask: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """The logits where the walker stands, float32[V]; rules of the caller's own see what ``mask`` allows alone."""
        row: NDArray[np.float32] = self._logits[self.drawn.path[-1] + 1 if self.drawn.path else 0]
        if self.row.process is not None:
            row = row if mask is None else np.where(unpack(mask, len(row)), row, np.float32(-np.inf))
            row = self.row.process([*self.row.ids, *self.drawn.tokens], row)
        if not np.isfinite(row.max()):  # NaN wins every maximum
            token = int(np.argmax(np.isnan(row))) if np.isnan(row).any() else int(row.argmax())
            step = self.row.step + len(self.drawn.tokens)
            raise DistributionError(
                f"expected finite logits, found {row[token]} at token {token} (prompt {self.row.index}, step {step})",
                row=self.row.index,
            )
        return row

    def take(self, token: int, logprob: float, log_weight: float = 0.0) -> None:
        """Take a token; the walk goes on where the tree has it."""
        at = self.drawn.path[-1] if self.drawn.path else -1
        self.drawn.add(token, logprob, log_weight)
        node = self._children.get((at, token))
        self.goes_on = node is not None and not self.row.ends_with(token)
        if node is None:
            return
        self.drawn.path.append(node)
        if self.goes_on and self.row.gate is not None:
            self.row.gate.advance(token)
            self._n_advanced += 1
            # What is forced is not drawn, drafted or not; the walk then ends on a node, without one more token.
            self.goes_on = not self.row.jumps

    def stop(self) -> None:
        """Nothing may follow here."""
        self.drawn.dead_end = True
        self.goes_on = False

    def go_back(self) -> None:
        """The constraint's state as it was before the walk."""
        if self.row.gate is not None:
            self.row.gate.rollback(self._n_advanced)


def _draw_together(walkers: list[_Walker]) -> None:
    """One token for each walker, drawn in one call."""
    masks = None
    if walkers[0].row.gate is not None:
        each = [walker.row.gate.mask() for walker in walkers if walker.row.gate is not None]
        masks = np.stack([mask for mask in each if mask is not None])
        is_open = np.asarray(masks.any(axis=1))
        for walker, has_any in zip(walkers, is_open, strict=True):
            if not has_any:
                walker.stop()
        walkers = [walker for walker in walkers if walker.goes_on]
        masks = masks[is_open]
    if not walkers:
        return
    sampled = sample.sample(
        np.stack([walker.logits(None if masks is None else masks[at]) for at, walker in enumerate(walkers)]),
        [walker.row.params for walker in walkers],
        seeds=np.array([walker.row.seed for walker in walkers], dtype=np.uint64),
        positions=np.array([walker.position for walker in walkers], dtype=np.int64),
        mask=masks,
        **_texts(walkers),
    )
    for walker, token, logprob in zip(walkers, sampled.tokens, sampled.logprobs, strict=True):
        if token < 0:  # every allowed token is impossible
            walker.stop()
        else:
            walker.take(int(token), float(logprob))


def _texts(walkers: Sequence[_Walker]) -> dict[str, Any]:
    """The texts so far as the sampling rules take them; nothing where no rule looks at them."""
    if not any(walker.row.params.rules.needs_history for walker in walkers):
        return {}
    n_prompts = np.array([len(walker.row.prompt_ids) for walker in walkers], dtype=np.int64)
    return {"history": [walker.text for walker in walkers], "prompt_lengths": n_prompts}


def _each_by(method: str) -> Any:
    """One token for each walker, each by itself, with checks in place of masks."""
    one = _draw_awrs if method == "awrs" else _draw_checked

    def step(walkers: list[_Walker]) -> None:
        for walker in walkers:
            gate = walker.row.gate
            assert gate is not None
            token, logprob, log_weight = one(walker, gate)
            if token < 0:
                walker.stop()
            else:
                walker.take(token, logprob, log_weight)

    return step


def _draw_checked(walker: _Walker, gate: Gate) -> tuple[int, float, float]:
    row = walker.row
    if row.process is None and row.params == Params(temperature=row.params.temperature):
        own = gate.state if core_state(gate.state) is not None else gate
        rng = sample.Rng(row.seed, walker.position)
        drawn = draw_checked(walker.logits(), own, rng, row.params.temperature, gate.eos)
        if own is not gate:
            gate.n_checks += drawn.n_checks
        return drawn.token, drawn.logprob, 0.0
    if row.process is None and _keeps_prefix(row.params):
        return _draw_from_head(walker, gate, walker.logits(), _HEADS)
    mask = gate.mask()
    if mask is None:
        return _draw_from_head(walker, gate, walker.logits(), ())
    if not mask.any():
        return -1, -np.inf, 0.0
    return *_sample_one(walker, walker.logits(mask), mask[None]), 0.0


def _keeps_prefix(params: Params) -> bool:
    """Whether every rule keeps the best tokens down to some place."""
    rules = {name: getattr(params, name) for name in ("temperature", "top_k", "top_p", "min_p")}
    return params == Params(**rules)


def _draw_from_head(
    walker: _Walker, gate: Gate, logits: NDArray[np.float32], heads: tuple[int, ...]
) -> tuple[int, float, float]:
    """Ask about the best tokens, more and more of them, until the rest does not matter."""
    order = np.argsort(-logits, kind="stable")
    order = order[: int(np.isfinite(logits).sum())]
    allowed = np.zeros(len(logits), dtype=np.bool_)
    n_asked = 0
    for n_head in (*(n for n in heads if n < len(order)), len(order)):
        fresh = order[n_asked:n_head]
        allowed[fresh] = gate.check_many(fresh)
        n_asked = n_head
        mask = pack(allowed)[None]
        if n_head < len(order):
            rest = np.ones_like(allowed)
            rest[order[:n_head]] = False
            if not allowed.any() or not _keep_alike(walker.row.params, logits, mask, pack(allowed | rest)[None]):
                if gate.has_mask and n_head == heads[-1]:
                    break
                continue
        if not allowed.any():
            return -1, -np.inf, 0.0
        return *_sample_one(walker, logits, mask), 0.0
    whole = gate.mask()
    if whole is None or not whole.any():
        return -1, -np.inf, 0.0
    return *_sample_one(walker, logits, whole[None]), 0.0


def _keep_alike(params: Params, logits: NDArray[np.float32], one: NDArray[np.int32], other: NDArray[np.int32]) -> bool:
    """Whether the rules keep the same tokens under both masks."""
    kept = [sample.keep_set(logits[None], params, mask) for mask in (one, other)]
    return bool((kept[0] == kept[1]).all())


def _sample_one(walker: _Walker, logits: NDArray[np.float32], mask: NDArray[np.int32]) -> tuple[int, float]:
    sampled = sample.sample(
        logits[None],
        walker.row.params,
        seeds=np.array([walker.row.seed], dtype=np.uint64),
        positions=np.array([walker.position], dtype=np.int64),
        mask=mask,
        **_texts([walker]),
    )
    return int(sampled.tokens[0]), float(sampled.logprobs[0])


def _draw_awrs(walker: _Walker, gate: Gate) -> tuple[int, float, float]:
    with np.errstate(divide="ignore"):
        logprobs = np.log(sample.distribution(walker.logits()[None], walker.row.params, **_texts([walker]))[0])
    token, log_weight, _ = control.awrs(logprobs, gate, sample.Rng(walker.row.seed, walker.position))
    if token < 0:
        return -1, -np.inf, -np.inf
    return int(token), float(logprobs[token]), float(log_weight)

"""Which tokens are drawn from the logits of one step?

A row brings the logits after its last committed token and after each token of its chain. Every token is drawn with the
randomness of (seed, absolute position), as it would be without a chain; the chain is accepted as far as the draws
repeat it. That is walk verification for a draft without probabilities of its own: lossless, and no lossless rule
accepts more.

Under a constraint:

- ``mask``: the constraint's mask is applied before the sampling rules.
- ``check``: draw without the constraint, then put the token to it; a refused token is struck out and the draw repeated
  with the same randomness. Without truncation rules this gives the same tokens as ``mask``, because the winner of a
  race among all tokens, if allowed, also wins the race among the allowed ones. With top-k, top-p and the like the
  first draw is truncated before the constraint is asked, as in llama.cpp.
- ``awrs``: adaptive weighted rejection sampling (Lipkin et al., 2025): few checks, and a log weight that makes up for
  the mass that was refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenloom import control, sample, verify
from tokenloom.draft import DraftTree
from tokenloom.errors import DistributionError
from tokenloom.torch.gate import Gate, set_bit

if TYPE_CHECKING:
    from tokenloom.torch.row import Row

__all__ = ["Drawn", "draw"]

_MAX_REDRAWS = 32


@dataclass
class Drawn:
    """The tokens one row draws in one step: a beginning of its chain, and one more unless nothing may follow."""

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
        logits: float32[sum(len(row.chain) + 1), V], row by row.
        method: ``"mask"``, ``"check"`` or ``"awrs"``; rows without a constraint do not care.

    Raises:
        DistributionError: the logits of a token that is needed are not numbers; names the prompt and the step.
    """
    ends = np.cumsum([len(row.chain) + 1 for row in rows])
    # A row of the model that is broken matters only where a token is drawn from it, so it is looked at there.
    broken = ~np.isfinite(logits.max(axis=1))
    parts = [slice(end - len(row.chain) - 1, end) for row, end in zip(rows, ends, strict=True)]
    if rows[0].gate is None or method == "mask":
        return _draw_together(rows, logits, parts, broken)
    one = _draw_awrs if method == "awrs" else _draw_checked
    return [_draw_alone(row, logits[part], broken[part], one) for row, part in zip(rows, parts, strict=True)]


def _draw_together(
    rows: Sequence[Row], logits: NDArray[np.float32], parts: list[slice], broken: NDArray[np.bool_]
) -> list[Drawn]:
    masks, empty = _masks(rows)
    sampled = sample.sample(
        logits,
        [row.params for row in rows for _ in range(len(row.chain) + 1)],
        seeds=np.concatenate([np.full(len(row.chain) + 1, row.seed, np.uint64) for row in rows]),
        positions=np.concatenate([row.position + np.arange(len(row.chain) + 1) for row in rows]),
        mask=masks,
    )
    return [
        _walk(row, logits[part], sampled.tokens[part], sampled.logprobs[part], broken[part], empty[part])
        for row, part in zip(rows, parts, strict=True)
    ]


def _masks(rows: Sequence[Row]) -> tuple[NDArray[np.int32] | None, NDArray[np.bool_]]:
    """The masks of all rows, and where none of the tokens is allowed (there the mask is opened: nothing is drawn)."""
    if rows[0].gate is None:
        return None, np.zeros(sum(len(row.chain) + 1 for row in rows), dtype=np.bool_)
    masks = np.stack([mask for row in rows for mask in row.masks])
    empty = ~masks.any(axis=1)
    masks[empty] = -1
    return masks, np.asarray(empty)


def _walk(
    row: Row,
    logits: NDArray[np.float32],
    tokens: NDArray[np.int64],
    logprobs: NDArray[np.float32],
    broken: NDArray[np.bool_],
    empty: NDArray[np.bool_],
) -> Drawn:
    drawn = Drawn()
    chain = DraftTree(tokens=row.chain, parents=range(-1, len(row.chain) - 1))
    # A row without a token has -1, which is no id; the loop below looks at such rows before it takes their token.
    n_accepted = verify.follow(np.maximum(tokens, 0), chain).n_accepted
    for depth in range(n_accepted + 1):
        if empty[depth]:
            drawn.dead_end = True
            break
        if broken[depth]:
            raise _broken_row(row, depth, logits[depth])
        drawn.add(int(tokens[depth]), float(logprobs[depth]))
        if row.ends_with(int(tokens[depth])):
            break
    return drawn


def _draw_alone(row: Row, logits: NDArray[np.float32], broken: NDArray[np.bool_], one: Any) -> Drawn:
    """Draw token by token, with the constraint's state moved along the chain and back."""
    gate = row.gate
    assert gate is not None
    drawn = Drawn()
    n_advanced = 0
    for depth in range(len(row.chain) + 1):
        if broken[depth]:
            raise _broken_row(row, depth, logits[depth])
        token, logprob, log_weight = one(row, gate, logits[depth], row.position + depth)
        if token < 0:
            drawn.dead_end = True
            break
        drawn.add(token, logprob, log_weight)
        if row.ends_with(token) or depth == len(row.chain) or token != row.chain[depth]:
            break
        gate.advance(token)
        n_advanced += 1
    gate.rollback(n_advanced)
    return drawn


def _draw_checked(row: Row, gate: Gate, logits: NDArray[np.float32], position: int) -> tuple[int, float, float]:
    open_mask = np.full((1, -(-len(logits) // 32)), -1, dtype=np.int32)
    for _ in range(_MAX_REDRAWS):
        token, logprob = _sample_one(row, logits, position, open_mask)
        if gate(token):
            return token, logprob, 0.0
        set_bit(open_mask[0], token, False)
    mask = gate.mask()[None]
    if not mask.any():
        return -1, -np.inf, 0.0
    return *_sample_one(row, logits, position, mask), 0.0


def _sample_one(row: Row, logits: NDArray[np.float32], position: int, mask: NDArray[np.int32]) -> tuple[int, float]:
    seeds, positions = np.array([row.seed], dtype=np.uint64), np.array([position], dtype=np.int64)
    sampled = sample.sample(logits[None], row.params, seeds=seeds, positions=positions, mask=mask)
    return int(sampled.tokens[0]), float(sampled.logprobs[0])


def _draw_awrs(row: Row, gate: Gate, logits: NDArray[np.float32], position: int) -> tuple[int, float, float]:
    with np.errstate(divide="ignore"):
        logprobs = np.log(sample.distribution(logits[None], row.params)[0])
    token, log_weight, _ = control.awrs(logprobs, gate, sample.Rng(row.seed, position))
    if token < 0:
        return -1, -np.inf, -np.inf
    return int(token), float(logprobs[token]), float(log_weight)


def _broken_row(row: Row, depth: int, logits: NDArray[np.float32]) -> DistributionError:
    token = int(np.argmax(~np.isfinite(logits))) if np.isnan(logits).any() else int(logits.argmax())
    return DistributionError(
        f"expected finite logits, found {logits[token]} at token {token} (prompt {row.index}, step {row.step + depth})",
        row=row.index,
    )

"""In which order are the open places of a masked text filled, and where does a text grow that has none?

A masked model gives a law for every open place at once, given what is filled already. Filling all of them from one pass
ignores how they depend on each other; filling one after another costs a pass each. Between the two lies the order: the
most certain places first, some in each pass, and, for block diffusion, one block after another from the left.

Insertion is the other order: any gap may open. A step looks at every gap with an open place in it and fills
the most certain one, so a text grows from its middle as well as from its end.

Cost: open places / ``n_together`` passes over the whole sequence, the last one of each block perhaps for fewer.
Insertion: one pass over as many rows as there are gaps for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom import sample
from tokenloom.errors import ParamsError
from tokenloom.sample import Params
from tokenloom.torch.uncertainty import entropy

__all__ = ["insert", "unmask"]

_ORDERS = ("left", "confidence", "margin", "entropy")


def unmask(
    model: Any,
    ids: Sequence[int],
    mask: int,
    *,
    order: str = "confidence",
    block: int | None = None,
    n_together: int = 1,
    params: Params = Params(temperature=0.0),  # noqa: B008 (immutable)
    seed: int = 0,
) -> NDArray[np.uint32]:
    """Fill every masked place of a sequence.

    Args:
        model: a Hugging Face masked language model (or any whose logits at a place speak of that place).
        ids: the sequence, with ``mask`` at its open places.
        mask: the id of an open place; never filled in.
        order: which places come first: ``"left"``; ``"confidence"``: the greatest best probability; ``"margin"``: the
            greatest distance to the second; ``"entropy"``: the least.
        block: places in a block; blocks are filled from the left. Default: one block.
        n_together: places filled after each pass.
        params: how a token is drawn; default: the likeliest.
        seed: with the place, all the randomness.

    Returns:
        The filled sequence, uint32[n].

    Raises:
        ParamsError: an unknown order, or numbers below 1.
    """
    if order not in _ORDERS or n_together < 1 or (block is not None and block < 1):
        raise ParamsError(
            f"expected an order of {', '.join(_ORDERS)} and numbers of at least 1, "
            f"found {order!r}, block {block}, n_together {n_together}"
        )
    found = np.array(ids, dtype=np.int64)
    while len(places := np.flatnonzero(found == mask)):
        if block is not None:
            places = places[places // block == places[0] // block]
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(found)[None].to(model.device))
        logits = output.logits[0, torch.from_numpy(places)].float().cpu().numpy()
        logits[:, mask] = -np.inf
        first = np.argsort(-_certainty(logits, order), kind="stable")[:n_together]
        drawn = sample.sample(
            logits[first], params, seeds=np.full(len(first), seed, dtype=np.uint64), positions=places[first]
        )
        found[places[first]] = drawn.tokens
    return found.astype(np.uint32)


def insert(
    model: Any,
    ids: Sequence[int],
    mask: int,
    n_new: int,
    *,
    first: int = 0,
    order: str = "confidence",
    at_least: float | None = None,
    params: Params = Params(temperature=0.0),  # noqa: B008 (immutable)
    seed: int = 0,
) -> NDArray[np.uint32]:
    """Let a sequence grow by insertion.

    Args:
        model: a Hugging Face masked language model.
        ids: the sequence, without open places.
        mask: the id of an open place; never filled in.
        n_new: most tokens to insert.
        first: the first gap that may open: 0 is before the first token, ``len(ids)`` behind the last; a prompt of n
            tokens stays whole with ``first=n``.
        order: which gap opens: ``"confidence"``, ``"margin"`` or ``"entropy"``, see :func:`unmask`; of equal
            ones the left.
        at_least: ends where no gap's best probability (with ``"margin"``: distance; with ``"entropy"``: minus the
            entropy in nats, at most 0) reaches this; None: never before ``n_new``.
        params: how a token is drawn; default: the likeliest.
        seed: with the number of the step, all the randomness.

    Returns:
        The longer sequence, uint32[at most len(ids) + n_new].

    Raises:
        ParamsError: an unknown order, a gap that is not there, or a negative number of tokens.
    """
    if order not in _ORDERS[1:] or n_new < 0 or not 0 <= first <= len(ids):
        raise ParamsError(
            f"expected an order of {', '.join(_ORDERS[1:])}, at least 0 tokens and a gap up to {len(ids)}, "
            f"found {order!r}, {n_new} and {first}"
        )
    found = [int(token) for token in ids]
    for step in range(n_new):
        gaps = np.arange(first, len(found) + 1)
        rows = torch.tensor([[*found[:gap], mask, *found[gap:]] for gap in gaps.tolist()])
        with torch.inference_mode():
            output = model(input_ids=rows.to(model.device))
        logits = output.logits[torch.arange(len(gaps)), torch.from_numpy(gaps)].float().cpu().numpy()
        logits[:, mask] = -np.inf
        certainty = _certainty(logits, order)
        best = int(np.argmax(certainty))
        if at_least is not None and certainty[best] < at_least:
            break
        drawn = sample.sample(logits[best : best + 1], params, seeds=[seed], positions=[step])
        found.insert(int(gaps[best]), int(drawn.tokens[0]))
    return np.array(found, dtype=np.uint32)


def _certainty(logits: NDArray[np.float32], order: str) -> NDArray[np.float64]:
    if order == "left":
        return np.zeros(len(logits))
    laws = sample.distribution(logits)
    if order == "entropy":
        return -entropy(laws)
    two = np.partition(laws, -2, axis=1)[:, -2:]
    best: NDArray[np.float64] = two[:, 1] - (two[:, 0] if order == "margin" else 0.0)
    return best

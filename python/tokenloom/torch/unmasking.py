"""In which order are the open places of a masked text filled?

A masked model gives a law for every open place at once, given what is filled already. Filling all of them from one pass
ignores how they depend on each other; filling one after another costs a pass each. Between the two lies the order: the
most certain places first, some in each pass, and, for block diffusion, one block after another from the left.

Cost: open places / ``n_together`` passes over the whole sequence, the last one of each block perhaps for fewer.
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

__all__ = ["unmask"]

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


def _certainty(logits: NDArray[np.float32], order: str) -> NDArray[np.float64]:
    if order == "left":
        return np.zeros(len(logits))
    laws = sample.distribution(logits)
    if order == "entropy":
        entropies: NDArray[np.float64] = np.sum(laws * np.log(np.where(laws > 0, laws, 1.0)), axis=1)
        return entropies
    two = np.partition(laws, -2, axis=1)[:, -2:]
    best: NDArray[np.float64] = two[:, 1] - (two[:, 0] if order == "margin" else 0.0)
    return best

"""How uncertain is a law about the next token?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy"]


def entropy(laws: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The entropy of each law in nats, float64[...], of probabilities float[..., V]."""
    found: NDArray[np.float64] = -np.sum(laws * np.log(np.where(laws > 0, laws, 1.0)), axis=-1)
    return found

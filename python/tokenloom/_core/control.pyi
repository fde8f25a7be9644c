from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenloom._core.sample import Rng

__all__ = ["awrs"]

def awrs(logprobs: NDArray[np.floating], check: Any, rng: int | Rng) -> tuple[int, float, int]: ...

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tokenloom._core.draft import DraftTree
from tokenloom._core.sample import Rng

__all__ = ["follow", "greedy", "walk"]

def greedy(
    logits: NDArray[np.floating], trees: Sequence[DraftTree]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...
def walk(
    probs: NDArray[np.floating], trees: Sequence[DraftTree], rngs: Sequence[int | Rng]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...
def follow(
    sampled: ArrayLike | Sequence[int], tree: DraftTree
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tokenloom._core.draft import DraftTree
from tokenloom._core.sample import Rng

__all__ = ["accept", "acceptance", "follow", "law"]

_Arrays: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int8]]

def accept(
    rule: tuple[str, bool],
    p: NDArray[np.floating],
    q: NDArray[np.floating] | None,
    trees: Sequence[DraftTree] | NDArray[np.int64],
    rngs: Sequence[int | Rng],
    threads: int,
) -> tuple[_Arrays, Exception | None]: ...
def acceptance(p: NDArray[np.floating], q: NDArray[np.floating], k: int, rule: str) -> float: ...
def follow(sampled: ArrayLike | Sequence[int], tree: DraftTree) -> _Arrays: ...
def law(
    rule: tuple[str, bool], p: NDArray[np.floating], q: NDArray[np.floating] | None, tree: DraftTree
) -> list[tuple[list[int], int, float]]: ...

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tokenloom._core.draft import DraftTree
from tokenloom._core.sample import Rng

__all__ = [
    "accept",
    "acceptance",
    "any_order",
    "context_draft",
    "continuous",
    "follow",
    "law",
    "prune",
    "relaxed",
]

_Arrays: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int8]]

def accept(
    rule: tuple[str, bool, bool],
    p: NDArray[np.floating],
    q: NDArray[np.floating] | None,
    trees: Sequence[DraftTree] | NDArray[np.int64],
    rngs: Sequence[int | Rng],
    threads: int,
) -> tuple[_Arrays, Exception | None]: ...
def acceptance(p: NDArray[np.floating], q: NDArray[np.floating], k: int, rule: str) -> float: ...
def any_order(
    p: NDArray[np.floating],
    q: NDArray[np.floating],
    tokens: Sequence[DraftTree] | NDArray[np.int64],
    positions: NDArray[np.uint64],
    rngs: Sequence[int | Rng],
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], Exception | None]: ...
def context_draft(
    text: NDArray[np.int64], positions: NDArray[np.uint64], n_vocab: int, rng: int | Rng
) -> tuple[NDArray[np.int32], NDArray[np.float64]]: ...
def continuous(
    p_mean: NDArray[np.float64],
    p_std: NDArray[np.float64],
    q_mean: NDArray[np.float64],
    q_std: NDArray[np.float64],
    points: NDArray[np.float64],
    lengths: Sequence[int],
    rngs: Sequence[int | Rng],
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int8], Exception | None]: ...
def follow(sampled: ArrayLike | Sequence[int], tree: DraftTree) -> _Arrays: ...
def law(
    rule: tuple[str, bool, bool], p: NDArray[np.floating], q: NDArray[np.floating] | None, tree: DraftTree
) -> list[tuple[list[int], int, float]]: ...
def prune(tree: DraftTree, keep: NDArray[np.bool_]) -> tuple[DraftTree, NDArray[np.int32]]: ...
def relaxed(
    rule: tuple[str, float, float, NDArray[np.int32] | None],
    p: NDArray[np.floating],
    q: NDArray[np.floating] | None,
    trees: Sequence[DraftTree] | NDArray[np.int64],
    rngs: Sequence[int | Rng | None],
    threads: int,
) -> tuple[_Arrays, Exception | None, NDArray[np.float64]]: ...

from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_VOCAB",
    "Rng",
    "check_params",
    "derive_seeds",
    "draw",
    "keep_sets",
    "probabilities",
    "waiting_times",
]

MAX_VOCAB: int

__all__ = [
    "MAX_VOCAB",
    "Rng",
    "check_params",
    "derive_seeds",
    "draw",
    "keep_sets",
    "probabilities",
    "waiting_times",
]

@final
class Rng:
    @property
    def seed(self) -> int: ...
    @property
    def position(self) -> int: ...
    def __new__(cls, seed: int, position: int | None = None) -> Self: ...
    def at(self, position: int) -> Rng: ...
    def derive(self, stream: int) -> Rng: ...
    def uniform(self, token: int, purpose: int = 0) -> float: ...
    def exponential(self, token: int, purpose: int = 0) -> float: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, int]: ...
    def __copy__(self) -> Rng: ...
    def __deepcopy__(self, memo: Any, /) -> Rng: ...

_Rules = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

def check_params(temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float) -> None: ...
def derive_seeds(rng: int | Rng, n_streams: int) -> NDArray[np.uint64]: ...
def waiting_times(rng: int | Rng, purpose: int, n_tokens: int) -> NDArray[np.float32]: ...
def draw(
    logits: NDArray[np.float32],
    rules: _Rules,
    seeds: NDArray[np.uint64],
    positions: NDArray[np.uint64],
    mask: NDArray[np.uint32] | None,
    purpose: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int8], NDArray[np.float32]]: ...
def keep_sets(
    logits: NDArray[np.float32], rules: _Rules, mask: NDArray[np.uint32] | None
) -> tuple[NDArray[np.bool_], list[int]]: ...
def probabilities(
    logits: NDArray[np.float32],
    exact: NDArray[np.float64] | None,
    rules: _Rules,
    mask: NDArray[np.uint32] | None,
) -> tuple[NDArray[np.float64], list[int]]: ...

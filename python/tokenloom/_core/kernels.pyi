import numpy as np
from numpy.typing import NDArray

__all__ = ["arrivals", "forbid", "mixture", "range_sums"]

_F32 = NDArray[np.float32]
_I64 = NDArray[np.int64]

def arrivals(
    logits: _F32,
    addresses: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    purpose: int,
    after: tuple[_F32, _I64],
    n: int,
) -> tuple[_I64, _F32, _F32, NDArray[np.int8]]: ...
def forbid(
    logits: NDArray[np.uint16] | NDArray[np.uint32], forbidden: int, masks: NDArray[np.uint32], rows: _I64
) -> None: ...
def mixture(table: _F32 | tuple[NDArray[np.uint16], bool], tokens: _I64, weights: _F32) -> _F32: ...
def range_sums(
    logits: _F32, order: NDArray[np.uint32], ranges: NDArray[np.uint32]
) -> tuple[_F32, NDArray[np.float64]]: ...

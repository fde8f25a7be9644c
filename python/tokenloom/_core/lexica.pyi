from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenloom._core.formats import Spec
from tokenloom._core.tokenizer import Tokenizer

__all__ = ["merge_batch", "union"]

class _Dynamic(Protocol):
    @property
    def boundary(self) -> str: ...
    @property
    def n_merges(self) -> int: ...
    @property
    def enough_tokens(self) -> int: ...
    @property
    def max_token_bytes(self) -> int: ...
    @property
    def max_surface(self) -> int: ...

def merge_batch(
    tokenizer: Tokenizer, values: NDArray[np.uint32], offsets: NDArray[np.int64], fields: _Dynamic
) -> tuple[
    NDArray[np.uint32],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.uint8],
    NDArray[np.int64],
    NDArray[np.uint32],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int64],
]: ...
def union(first: Tokenizer, second: Tokenizer) -> tuple[Spec, NDArray[np.int64], int]: ...

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenloom._core.tokenizer import Tokenizer

__all__ = ["permutation", "rows", "segment_by_rule", "segment_by_tokenizer"]

_Starts: TypeAlias = NDArray[np.int64]
_Arrays: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int32], _Starts, _Starts, _Starts]

def segment_by_rule(
    texts: Iterable[str | bytes], rule: str, size: int, max_word_bytes: int | None, threads: int
) -> _Arrays: ...
def segment_by_tokenizer(
    texts: Iterable[str | bytes], tokenizer: Tokenizer, pretokens: bool, max_word_bytes: int | None, threads: int
) -> _Arrays: ...
def rows(
    word_start: NDArray[np.int64], doc_word: NDArray[np.int64], max_bytes: int, across: bool
) -> NDArray[np.int64]: ...
def permutation(n_ids: int, kept: NDArray[np.uint32], seed: int, sequence: int) -> NDArray[np.uint32]: ...

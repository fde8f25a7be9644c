from collections.abc import Callable, Iterable
from typing import Protocol, Self, final

import numpy as np
from numpy.typing import NDArray
from tokenloom._core.formats import Spec
from tokenloom._core.tokenizer import Tokenizer
from tokenloom._core.train import WordCounts, _Stage

__all__ = [
    "Events",
    "Lexicon",
    "merge_batch",
    "random_pieces",
    "train_less_is_better",
    "train_picky",
    "union",
]

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
def random_pieces(
    blocks: Iterable[tuple[list[str | bytes], int]], ranges: list[tuple[int, int, float]], seed: int
) -> WordCounts: ...
def train_picky(
    words: WordCounts,
    special_tokens: list[str],
    stage: _Stage,
    threshold: float,
    patterns: list[str],
    progress: Callable[[str, int, int, int, int], object] | None,
) -> tuple[Spec, int, tuple[NDArray[np.uint32], NDArray[np.int64]], tuple[NDArray[np.uint32], NDArray[np.int64]]]: ...

@final
class Events:
    def __new__(
        cls, tokenizer: Tokenizer, n_kept: int, values: NDArray[np.uint32], offsets: NDArray[np.int64]
    ) -> Self: ...
    def encode(self, tokenizer: Tokenizer, text: str | bytes) -> NDArray[np.uint32]: ...

class _Reader(Protocol):
    @property
    def n_epochs(self) -> int: ...
    @property
    def life(self) -> int: ...
    @property
    def max_chars(self) -> int: ...
    @property
    def memory_in(self) -> float: ...
    @property
    def memory_out(self) -> float: ...
    @property
    def update_rate(self) -> float: ...
    @property
    def max_gap(self) -> int: ...

def train_less_is_better(
    documents: list[list[str]],
    fields: _Reader,
    seed: int,
    progress: Callable[[str, int, int, int, int], object] | None,
) -> list[str]: ...

@final
class Lexicon:
    def __new__(cls, chunks: list[str], max_chars: int) -> Self: ...
    def ends(self, text: str) -> NDArray[np.int64]: ...

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from tokenloom._core.sample import Rng
from tokenloom._core.tokenizer import Tokenizer

@final
class Constraint:
    @staticmethod
    def grammar(kind: str, source: str, tokenizer: Tokenizer, eos: Sequence[int]) -> Constraint: ...
    @staticmethod
    def table(
        next: NDArray[np.uint32], complete: NDArray[np.bool_], start: int, tokenizer: Tokenizer, eos: Sequence[int]
    ) -> Constraint: ...
    @staticmethod
    def phrases(
        required: Sequence[bytes],
        banned: Sequence[bytes],
        stops: Sequence[bytes],
        tokenizer: Tokenizer,
        eos: Sequence[int],
    ) -> Constraint: ...
    @staticmethod
    def choice(
        items: Sequence[bytes],
        separator: bytes,
        bounds: tuple[int, int | None],
        repeats: bool,
        tokenizer: Tokenizer,
        eos: Sequence[int],
    ) -> Constraint: ...
    @staticmethod
    def excerpt(source: bytes, n_least: int, tokenizer: Tokenizer, eos: Sequence[int]) -> Constraint: ...
    @staticmethod
    def conjunction(parts: Sequence[Constraint]) -> Constraint | None: ...
    def start(self) -> State: ...

@final
class State:
    @property
    def ids(self) -> NDArray[np.uint32]: ...
    @property
    def prefix(self) -> bytes: ...
    def mask(self) -> NDArray[np.int32]: ...
    def fill_mask(self, out: NDArray[np.uint32]) -> None: ...
    def check(self, id: int) -> bool: ...
    def check_many(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.bool_]: ...
    def fork(self) -> State: ...
    def advance(self, id: int) -> None: ...
    def rollback(self, n: int) -> None: ...
    def is_accepting(self) -> bool: ...
    def forced(self) -> NDArray[np.uint32]: ...

__all__ = [
    "Constraint",
    "State",
    "awrs",
    "awrs_batch",
    "cap_probs",
    "draw_checked",
    "fill_masks",
    "resample",
    "walk_mask",
]

def awrs(
    logprobs: NDArray[np.floating],
    check: tuple[Any, list[tuple[int, bool]]],
    rng: int | Rng,
    weighing: tuple[str, int, int, int, int, float],
    mask: NDArray[np.uint32] | None,
    proposal: NDArray[np.floating] | None,
) -> tuple[int, float, int]: ...
def awrs_batch(
    logprobs: NDArray[np.floating],
    checks: Sequence[tuple[Any, list[tuple[int, bool]]]],
    contexts: Sequence[int],
    seeds: Sequence[int],
    positions: Sequence[int],
    weighing: tuple[str, int, int, int, int, float],
    masks: NDArray[np.uint32] | None,
    proposals: NDArray[np.floating] | None,
    threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]: ...
def cap_probs(probs: NDArray[np.float64], caps: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]: ...
def draw_checked(
    logits: NDArray[np.float32], temperature: float, check: Any, rng: int | Rng, ends: Sequence[int]
) -> tuple[int, float, int, bool]: ...
def fill_masks(states: Sequence[State | None], out: NDArray[np.uint32], threads: int) -> None: ...
def resample(log_weights: NDArray[np.float64], scheme: str, rng: int | Rng) -> NDArray[np.int64] | None: ...
def walk_mask(tokenizer: Tokenizer, feed: Callable[[int], bool], undo: Callable[[int], None]) -> NDArray[np.int32]: ...

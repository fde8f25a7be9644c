from collections.abc import Callable
from typing import Self, final

from tokenloom._core.formats import Spec

__all__ = ["Trained", "WordCounter", "bpe", "superbpe"]

@final
class WordCounter:
    def __new__(cls, cuts: list[list[str]], n_threads: int) -> Self: ...
    def add(self, units: list[str | bytes]) -> None: ...
    def add_lines(self, text: bytes) -> None: ...

@final
class Trained:
    @property
    def tokens(self) -> list[tuple[int, bytes]]: ...
    @property
    def merges(self) -> list[tuple[int, int, int]]: ...
    @property
    def n_words(self) -> int: ...
    def spec(self) -> Spec: ...

def bpe(
    counter: WordCounter,
    vocab_size: int,
    special_tokens: list[str],
    min_frequency: int,
    max_token_length: int | None,
    progress: Callable[[str, int, int], object] | None,
) -> Trained: ...
def superbpe(
    counter: WordCounter,
    vocab_size: int,
    special_tokens: list[str],
    min_frequency: int,
    max_token_length: int | None,
    progress: Callable[[str, int, int], object] | None,
    transition: int,
    max_words: int,
    forbidden: list[bytes],
) -> Trained: ...

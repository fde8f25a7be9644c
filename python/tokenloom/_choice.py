"""Which of several tokenizers writes a text in the fewest tokens?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._training import compiled_machine
from tokenloom.errors import TrainError, UnknownTokenError
from tokenloom.tokenizer import Ids, Ragged, Text, Tokenizer

__all__ = ["Choice", "Chosen"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Texts, each by the tokenizer that needs the fewest tokens.

    Attributes:
        ids: The texts in ids of the merged vocabulary.
        chosen: int32 ``[n]``; which tokenizer wrote each.
        n_tokens: int64 ``[n, K]``; how many tokens each tokenizer would have needed.
    """

    ids: Ragged
    chosen: NDArray[np.int32]
    n_tokens: NDArray[np.int64]


class Choice:
    """Several tokenizers and the vocabulary of all their tokens; immutable.

    A token has the id of the first tokenizer in the list that has its bytes, so the ids of the first one stay; those
    that it lacks follow, tokenizer by tokenizer.

    Args:
        tokenizers: The general one first, then those of domains.

    Attributes:
        tokens: The bytes of every id of the merged vocabulary.
        kinds: int32 ``[len(tokens)]``; which tokenizer an id comes from, the type tag of the token.
        ids: For each tokenizer int64 ``[vocab_size]``, the merged id of each of its ids; -1 for what is no token.

    Raises:
        TrainError: There is none, or one is no tokenizer.
        UnsupportedFeatureError: One is no BPE tokenizer of the compiled machine.

    >>> import tokenloom as tl
    >>> general = tl.train.bpe(["a cat sat"] * 3, vocab_size=260, progress=False)
    >>> medical = tl.train.bpe(["myocarditis"] * 3, vocab_size=265, progress=False)
    >>> choice = tl.lexica.Choice([general, medical])
    >>> chosen = choice.encode_batch(["a cat sat", "myocarditis"])
    >>> chosen.chosen.tolist(), choice.decode_bytes(chosen.ids[1])
    ([0, 1], b'myocarditis')
    """

    __slots__ = ("ids", "kinds", "tokenizers", "tokens")

    tokenizers: tuple[Tokenizer, ...]
    tokens: tuple[bytes, ...]
    kinds: NDArray[np.int32]
    ids: tuple[NDArray[np.int64], ...]

    def __init__(self, tokenizers: Sequence[Tokenizer]) -> None:
        if not tokenizers:
            raise TrainError("expected at least one tokenizer, found none")
        known: dict[tuple[bool, bytes], int] = {}
        tokens: list[bytes] = []
        kinds: list[int] = []
        maps: list[NDArray[np.int64]] = []
        for number, tokenizer in enumerate(tokenizers):
            compiled_machine(tokenizer, f"tokenizer {number}")
            added = set(tokenizer.special_tokens.values())
            ids = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
            for id in range(tokenizer.vocab_size):
                try:
                    token = tokenizer.token_bytes(id)
                except UnknownTokenError:
                    token = None
                if token is not None or number == 0:
                    # Ids of the first tokenizer stay, also where two of them have the same bytes.
                    key = (id in added, token or b"")
                    place = known.setdefault(key, len(tokens))
                    if place == len(tokens) or number == 0:
                        place = len(tokens)
                        tokens.append(token or b"")
                        kinds.append(number)
                    if token is not None:
                        ids[id] = place
            maps.append(ids)
        for name, value in (
            ("tokenizers", tuple(tokenizers)),
            ("tokens", tuple(tokens)),
            ("kinds", np.array(kinds, dtype=np.int32)),
            ("ids", tuple(maps)),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Choice is immutable, cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Choice, (self.tokenizers,))

    def encode_batch(self, texts: Iterable[Text], threads: int | None = None) -> Chosen:
        """Each text by the tokenizer that needs the fewest tokens; of several, by the first in the list.

        Args:
            texts: Sentences, or whatever is written as a whole by one tokenizer.
            threads: Threads that encode.

        Raises:
            PatternError: A split pattern gives up on a text.
        """
        given = list(texts)
        rows = [tokenizer.encode_batch(given, threads=threads) for tokenizer in self.tokenizers]
        n_tokens = np.stack([np.diff(ragged.offsets) for ragged in rows], axis=1)
        chosen = n_tokens.argmin(axis=1).astype(np.int32)
        parts = [self.ids[kind][rows[kind][at]] for at, kind in enumerate(chosen.tolist())]
        offsets = np.concatenate([[0], np.cumsum(n_tokens.min(axis=1, initial=np.iinfo(np.int64).max))])
        values = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        return Chosen(Ragged(values, offsets if len(given) else [0]), chosen, n_tokens)

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of merged ids, joined.

        Raises:
            UnknownTokenError: An id is not in the merged vocabulary.
        """
        found = np.asarray(ids, dtype=np.int64).tolist()
        for id in found:
            if not 0 <= id < len(self.tokens):
                raise UnknownTokenError(f"expected an id below {len(self.tokens)}, found {id}", token=id)
        return b"".join(self.tokens[id] for id in found)

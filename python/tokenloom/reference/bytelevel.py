"""Twin of ``tokenloom.bytelevel``: covers found by encoding texts.

A token sequence is viable if it is the start of the encoding of some text (texts are UTF-8). The twin
tries texts: the bytes of the sequence with every continuation of a given list behind them. That is exact where the list
holds, for each way in which the split pattern's view of the text so far depends on what comes, a continuation that
brings it about.

Every candidate token of every context is encoded again: O(V * len(continuations)) encodings a context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenloom.errors import DistributionError

__all__ = ["covers", "is_viable", "log_mass", "log_mass_marginal", "next_byte", "next_byte_marginal"]

Encode = Callable[[bytes], Sequence[int]]
Model = Callable[[list[list[int]]], NDArray[np.float64]]


def is_viable(ids: Sequence[int], encode: Encode, tokens: Mapping[int, bytes], continuations: Sequence[bytes]) -> bool:
    """Whether ``ids`` start the encoding of a text."""
    text = b"".join(tokens[id] for id in ids)
    return any(_is_text(text + more) and list(encode(text + more))[: len(ids)] == list(ids) for more in continuations)


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def covers(
    text: bytes, encode: Encode, tokens: Mapping[int, bytes], continuations: Sequence[bytes], ids: tuple[int, ...] = ()
) -> Iterator[tuple[int, ...]]:
    """The viable sequences that start with ``ids``, reach the end of ``text`` and need their last token for it."""
    if not text:
        yield ids
        return
    for id, token in tokens.items():
        agrees = token.startswith(text) or text.startswith(token)
        if agrees and is_viable((*ids, id), encode, tokens, continuations):
            yield from covers(text[len(token) :], encode, tokens, continuations, (*ids, id))


def log_prob(ids: Sequence[int], lm: Model) -> float:
    """The product of the model's raw token probabilities, as a natural logarithm."""
    return float(sum(lm([list(ids[:n])])[0][id] for n, id in enumerate(ids)))


def log_mass(
    text: bytes, encode: Encode, tokens: Mapping[int, bytes], continuations: Sequence[bytes], lm: Model
) -> float:
    """The natural log-probability that a text starts with ``text``."""
    found = [log_prob(ids, lm) for ids in covers(text, encode, tokens, continuations)]
    return float(np.logaddexp.reduce(found)) if found else -np.inf


def next_byte(
    text: bytes,
    encode: Encode,
    tokens: Mapping[int, bytes],
    continuations: Sequence[bytes],
    lm: Model,
    symbols: Sequence[int],
) -> NDArray[np.float64]:
    """The natural log-probabilities of the next byte, float64 ``[257]``.

    Raises:
        DistributionError: no text starts with ``text``.
    """
    masses = [log_mass(text + bytes([byte]), encode, tokens, continuations, lm) for byte in range(256)]
    whole = list(encode(text))
    ends = [log_prob([*whole, id], lm) for id in symbols]
    masses.append(float(np.logaddexp.reduce(ends)) if ends else -np.inf)
    total = np.logaddexp.reduce(masses)
    if total == -np.inf:
        raise DistributionError("no text starts with these bytes")
    log_probs: NDArray[np.float64] = np.array(masses) - total
    return log_probs


def log_mass_marginal(text: bytes, tokens: Mapping[int, bytes], lm: Model, ids: tuple[int, ...] = ()) -> float:
    """The natural log mass of all token sequences behind ``ids`` whose bytes start with ``text``, the shortest ones."""
    if not text:
        return 0.0
    row = lm([list(ids)])[0]
    found = [row[id] for id, token in tokens.items() if token.startswith(text)]
    for id, token in tokens.items():
        if len(token) < len(text) and text.startswith(token):
            found.append(row[id] + log_mass_marginal(text[len(token) :], tokens, lm, (*ids, id)))
    return float(np.logaddexp.reduce(found)) if found else -np.inf


def next_byte_marginal(
    text: bytes, tokens: Mapping[int, bytes], lm: Model, symbols: Sequence[int]
) -> NDArray[np.float64]:
    """The natural log-probabilities of the next byte over all token sequences, float64 ``[257]``."""

    def log_end(text: bytes, ids: tuple[int, ...]) -> float:
        row = lm([list(ids)])[0]
        if not text:
            return float(np.logaddexp.reduce(row[list(symbols)]))
        nexts = [(id, token) for id, token in tokens.items() if text.startswith(token)]
        found = [row[id] + log_end(text[len(token) :], (*ids, id)) for id, token in nexts]
        return float(np.logaddexp.reduce(found)) if found else -np.inf

    bytes_behind = [log_mass_marginal(text + bytes([byte]), tokens, lm) for byte in range(256)]
    masses = np.array([*bytes_behind, log_end(text, ())])
    log_probs: NDArray[np.float64] = masses - np.logaddexp.reduce(masses)
    return log_probs

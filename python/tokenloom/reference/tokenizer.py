"""Byte pair encoding by its definition, and the two facts that make it linear.

``ranks`` maps a pair of tokens (as bytes) to its rank: the smaller is merged first. Tokens are their bytes here.
"""

from __future__ import annotations

from itertools import pairwise

Ranks = dict[tuple[bytes, bytes], int]


def encode(text: bytes, ranks: Ranks) -> list[bytes]:
    """The definition: merge the pair of the smallest rank, leftmost on ties, until none merges. O(n^2)."""
    tokens = [text[i : i + 1] for i in range(len(text))]
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not found:
            return tokens
        _, i = min(found)
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


def splits(vocab: set[bytes], ranks: Ranks) -> dict[bytes, tuple[bytes, bytes] | None]:
    """Every token that encoding can produce, with the pair it is merged from last (``None`` for a single byte)."""
    found: dict[bytes, tuple[bytes, bytes] | None] = {}
    for token in vocab:
        if len(token) == 1:
            found[token] = None
        elif encode(token, ranks) == [token]:
            # Without the merges that make the whole token, its encoding stops at the two parts.
            parts = encode(token, {pair: rank for pair, rank in ranks.items() if b"".join(pair) != token})
            if len(parts) == 2:
                found[token] = (parts[0], parts[1])
    return found


def is_valid_pair(left: bytes, right: bytes, ranks: Ranks, split: dict[bytes, tuple[bytes, bytes] | None]) -> bool:
    """Whether encoding ``left + right`` gives the two back; ranks grow from parts to wholes.

    Goes back in time from the finished tokens. At each state the merge across the boundary must come after the event
    that ended the state.
    """

    def time(token: bytes) -> int:
        parts = split[token]
        return -1 if parts is None else ranks[parts]

    limit: float = float("inf")
    while ranks.get((left, right), limit) >= limit:
        if time(left) > time(right):
            limit, left = time(left), split[left][1]  # type: ignore[index]
        elif time(right) >= 0:
            # On equal ranks the crossing merge lies left of the event and goes first.
            limit, right = time(right) + 0.5, split[right][0]  # type: ignore[index]
        else:
            return True
    return False


def encode_linear(text: bytes, ranks: Ranks, split: dict[bytes, tuple[bytes, bytes] | None]) -> list[bytes]:
    """The only sequence of producible tokens whose adjacent pairs are all valid, by depth-first search."""
    longest = max(map(len, split))
    dead: set[int] = set()

    def candidates(at: int) -> list[bytes]:
        ends = range(min(len(text), at + longest), at, -1)
        return [text[at:end] for end in ends if text[at:end] in split and end not in dead]

    tokens: list[bytes] = []
    open_choices = [candidates(0)]
    at = 0
    while at < len(text):
        if not open_choices[-1]:
            # The encoding of a prefix is unique: what failed from here once fails always.
            dead.add(at)
            open_choices.pop()
            at -= len(tokens.pop())
            continue
        token = open_choices[-1].pop(0)
        if at + len(token) not in dead and (not tokens or is_valid_pair(tokens[-1], token, ranks, split)):
            tokens.append(token)
            at += len(token)
            open_choices.append(candidates(at))
    return tokens

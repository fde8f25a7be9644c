"""How is BPE over characters trained? The rule, without any data structure.

``tokenloom.compat.tokenizers.trainers.BpeTrainer`` and ``WordPieceTrainer`` give the same tokens and merges. Sources:
Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (2016); the trainer of Hugging
Face ``tokenizers``, whose rule for ids and ties this is.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["symbols", "train"]

Words = list[tuple[list[str], int]]


def symbols(
    words: Mapping[str, int], known: Sequence[str], alphabet: Sequence[str], prefix: str = "", suffix: str = ""
) -> tuple[list[str], Words]:
    """The tokens before any merge, with the words in them.

    Characters with a prefix or suffix follow ``known`` ones in the order in which they come; a character that is no
    token is left out.
    """
    tokens = list(dict.fromkeys([*known, *alphabet]))
    cut: Words = []
    for word, count in words.items():
        found = [
            (prefix if at > 0 else "") + char + (suffix if at == len(word) - 1 else "")
            for at, char in enumerate(word)
            if char in tokens
        ]
        tokens += [symbol for symbol in dict.fromkeys(found) if symbol not in tokens]
        cut.append((found, count))
    return tokens, cut


def train(
    words: Mapping[str, int],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    initial_alphabet: Sequence[str] = (),
    limit_alphabet: int | None = None,
    prefix: str = "",
    suffix: str = "",
    first: Sequence[str] = (),
) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens by id, and merges. ``first`` are characters with a prefix or suffix that get their ids in this order."""
    seen: Counter[str] = Counter()
    for word, count in words.items():
        seen.update({char: word.count(char) * count for char in set(word)})
    # Initial characters are the last that a limit leaves out; of equally frequent ones the larger goes first.
    frequent = sorted(
        {*seen, *initial_alphabet},
        key=lambda char: (False, 0, char) if char in initial_alphabet else (True, -seen[char], char),
    )
    alphabet = sorted(frequent[:limit_alphabet])
    known = [*dict.fromkeys([*special_tokens, *alphabet]), *first]
    tokens, corpus = symbols(dict(sorted(words.items())), known, [], prefix, suffix)
    widths = dict.fromkeys(tokens, 1)
    merges: list[tuple[str, str]] = []
    while len(tokens) < vocab_size:
        counts: Counter[tuple[str, str]] = Counter()
        for parts, count in corpus:
            for pair in itertools.pairwise(parts):
                counts[pair] += count
        place = {token: id for id, token in enumerate(tokens)}
        # The largest count first; among equals the smaller left id, then the smaller right id.
        for left, right in sorted(counts, key=lambda pair: (-counts[pair], place[pair[0]], place[pair[1]])):
            width = widths[left] + widths[right]
            if max_token_length is None or width == 2 or width < max_token_length:
                break
        else:
            break
        if counts[left, right] < min_frequency:
            break
        token = left + (right.removeprefix(prefix) if prefix else right)
        tokens += [] if token in tokens else [token]
        widths[token] = width
        merges = [merge for merge in merges if merge != (left, right)] + [(left, right)]
        corpus = [(_merged(parts, left, right, token), count) for parts, count in corpus]
    return tokens, merges


def _merged(word: list[str], left: str, right: str, token: str) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(word):
        is_pair = word[at : at + 2] == [left, right]
        out.append(token if is_pair else word[at])
        at += 2 if is_pair else 1
    return out

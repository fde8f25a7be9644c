"""How are BPE and SuperBPE trained? The rule, without any data structure.

Every step counts all pairs again and every merge scans every word: quadratic and short. ``tokenloom.train`` gives the
same merges. Sources: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (2016),
section 3.2; Liu, Hayase et al., *SuperBPE: Space Travel for Language Models* (2025), section 2.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Trained", "bpe", "byte_order", "count_words", "superbpe"]

Merge = tuple[int, int, int]
Word = tuple[int, ...]


@dataclass(frozen=True)
class Trained:
    """Token strings by id (a special token is ``None``) and merges ``(left, right, result)`` in rank order."""

    tokens: list[bytes | None]
    merges: list[Merge]


def count_words(units: Iterable[str], pattern: str) -> Counter[bytes]:
    """The matches of ``pattern`` in each unit, and what lies between them, with their counts."""
    words: Counter[bytes] = Counter()
    for unit in units:
        done = 0
        for match in re.finditer(pattern, unit):
            words.update((unit[done : match.start()].encode(), match.group().encode()))
            done = match.end()
        words[unit[done:].encode()] += 1
    del words[b""]
    return words


def byte_order() -> list[int]:
    """The 256 bytes in the order of the characters that stand for them in ``tokenizer.json``.

    Printable Latin-1 stands for itself; the other bytes are spelled from U+0100 upwards.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return printable + [byte for byte in range(256) if byte not in printable]


def bpe(
    words: Mapping[bytes, int],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> Trained:
    """BPE over counted words, with the tie rule of the Hugging Face trainer."""
    tokens = _first_tokens(special_tokens)
    ids = {token: i for i, token in enumerate(tokens)}
    corpus = Counter({tuple(ids[bytes([byte])] for byte in word): count for word, count in words.items()})
    merges: list[Merge] = []
    _merge_pairs(corpus, tokens, merges, vocab_size, min_frequency, max_token_length, lambda token: False)
    return Trained(tokens, merges)


def superbpe(
    words: Mapping[bytes, int],
    chunks: Mapping[bytes, int],
    vocab_size: int,
    transition: int,
    max_words: int = 4,
    forbidden: Sequence[bytes] = (b": ",),
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> Trained:
    """BPE over ``words`` up to ``transition`` tokens, then on over ``chunks`` of the same corpus."""
    first = bpe(words, transition, special_tokens, min_frequency, max_token_length)
    tokens = _first_tokens(special_tokens)
    ids = {token: i for i, token in enumerate(tokens)}
    corpus = Counter({tuple(ids[bytes([byte])] for byte in chunk): count for chunk, count in chunks.items()})
    merges: list[Merge] = []
    for old_left, old_right, _ in first.merges:
        # -1: the part itself was dropped.
        left, right = ids.get(first.tokens[old_left], -1), ids.get(first.tokens[old_right], -1)
        if not any((left, right) in itertools.pairwise(chunk) for chunk in corpus):
            continue  # The chunks never use it: its place goes to a superword.
        token = _string(tokens, left) + _string(tokens, right)
        ids[token] = len(tokens)
        tokens.append(token)
        merges.append((left, right, ids[token]))
        corpus = _merge_everywhere(corpus, merges[-1])

    def is_refused(token: bytes) -> bool:
        return sum(map(bool, token.split(b" "))) > max_words or any(part in token for part in forbidden)

    _merge_pairs(corpus, tokens, merges, vocab_size, min_frequency, max_token_length, is_refused)
    return Trained(tokens, merges)


def _first_tokens(special_tokens: Sequence[str]) -> list[bytes | None]:
    return [None for _ in special_tokens] + [bytes([byte]) for byte in byte_order()]


def _merge_pairs(
    corpus: Counter[Word],
    tokens: list[bytes | None],
    merges: list[Merge],
    vocab_size: int,
    min_frequency: int,
    max_token_length: int | None,
    is_refused: Callable[[bytes], bool],
) -> None:
    while len(tokens) < vocab_size:
        counts: Counter[tuple[int, int]] = Counter()
        for word, count in corpus.items():
            for pair in itertools.pairwise(word):
                counts[pair] += count
        # The largest count first; among equals the smaller left id, then the smaller right id.
        for left, right in sorted(counts, key=lambda pair: (-counts[pair], pair)):
            token = _string(tokens, left) + _string(tokens, right)
            is_short = max_token_length is None or len(token) == 2 or len(token) < max_token_length
            if counts[left, right] >= min_frequency and is_short and not is_refused(token):
                break
        else:
            return
        tokens.append(token)
        merges.append((left, right, len(tokens) - 1))
        corpus = _merge_everywhere(corpus, merges[-1])


def _string(tokens: list[bytes | None], token: int) -> bytes:
    string = tokens[token]
    assert string is not None, "a special token is never part of a word"
    return string


def _merge_everywhere(corpus: Counter[Word], merge: Merge) -> Counter[Word]:
    """All occurrences in every word, from left to right."""
    left, right, result = merge
    merged: Counter[Word] = Counter()
    for word, count in corpus.items():
        out: list[int] = []
        i = 0
        while i < len(word):
            if word[i : i + 2] == (left, right):
                out.append(result)
                i += 2
            else:
                out.append(word[i])
                i += 1
        merged[tuple(out)] += count
    return merged

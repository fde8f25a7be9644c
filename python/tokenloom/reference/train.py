"""How are BPE and SuperBPE trained? The rule, without any data structure.

Every step counts all pairs again and every merge scans every word: quadratic and short. ``tokenloom.train`` gives the
same merges. Sources: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (2016),
section 3.2; Liu, Hayase et al., *SuperBPE: Space Travel for Language Models* (2025), section 2; Schmidt et al.,
*Boundless Byte Pair Encoding* (2025).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

__all__ = ["Stage", "Trained", "boundless", "bpe", "byte_order", "count_words", "extend", "superbpe", "train"]

Merge = tuple[int, int, int]
Word = tuple[int, ...]


@dataclass
class Trained:
    """Token strings by id (a special token is ``None``) and merges ``(left, right, result)`` in rank order."""

    tokens: list[bytes | None]
    merges: list[Merge] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """How often the pair of each merge occurred, where it was counted."""


@dataclass(frozen=True)
class Stage:
    """The words of a stage and its rules."""

    words: Mapping[bytes, int]
    vocab_size: int
    min_frequency: int = 0
    max_token_length: int | None = None
    is_refused: Callable[[bytes], bool] = lambda token: False
    drops_unused: bool = False
    max_inherited: int | None = None


def count_words(units: Iterable[str], pattern: str, weights: Iterable[int] | None = None) -> Counter[bytes]:
    """The matches of ``pattern`` in each unit, and what lies between them, with their counts."""
    words: Counter[bytes] = Counter()
    for unit, weight in zip(units, itertools.repeat(1) if weights is None else weights, strict=False):
        done = 0
        for match in re.finditer(pattern, unit):
            words[unit[done : match.start()].encode()] += weight
            words[match.group().encode()] += weight
            done = match.end()
        words[unit[done:].encode()] += weight
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
    return train([Stage(words, vocab_size, min_frequency, max_token_length)], special_tokens)


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

    def is_refused(token: bytes) -> bool:
        return sum(map(bool, token.split(b" "))) > max_words or any(part in token for part in forbidden)

    first = Stage(words, transition, min_frequency, max_token_length)
    second = Stage(chunks, vocab_size, min_frequency, max_token_length, is_refused, drops_unused=True)
    return train([first, second], special_tokens)


def train(
    stages: Sequence[Stage],
    special_tokens: Sequence[str] = (),
    initial_alphabet: bytes = bytes(range(256)),
    limit_alphabet: int | None = None,
    seed_merges: Sequence[tuple[bytes, bytes]] = (),
) -> Trained:
    """Stage after stage, each on its own words."""
    seen: Counter[int] = Counter()
    for word, count in stages[0].words.items():
        seen.update({byte: word.count(byte) * count for byte in set(word)})
    alphabet = [byte for byte in byte_order() if byte in seen or byte in initial_alphabet]
    if limit_alphabet is not None:
        # Initial bytes stay before all others, in their order; sorting keeps the order of equals.
        ranked = sorted(alphabet, key=lambda byte: -1 << 80 if byte in initial_alphabet else -seen[byte])
        ranked = ranked[:limit_alphabet]
        alphabet = [byte for byte in alphabet if byte in ranked]

    def first_tokens() -> list[bytes | None]:
        return [*(None for _ in special_tokens), *(bytes([byte]) for byte in alphabet)]

    trained = Trained(first_tokens())
    for seed in seed_merges:
        _add(trained, *map(trained.tokens.index, seed))
    for index, stage in enumerate(stages):
        before = trained.merges if index == 0 else trained.merges[: stage.max_inherited]
        old, trained = trained.tokens, Trained(first_tokens())
        corpus = _symbols(stage.words, trained.tokens)
        for merge in before:
            # -1: the part itself was dropped.
            parts = [old[part] for part in merge[:2]]
            left, right = (trained.tokens.index(part) if part in trained.tokens else -1 for part in parts)
            is_used = any((left, right) in itertools.pairwise(symbols) for symbols in corpus)
            if index > 0 and stage.drops_unused and not is_used:
                continue  # Its place goes to a token of this stage.
            corpus = _merge_everywhere(corpus, _add(trained, left, right))
        _merge_pairs(corpus, trained, stage)
    return trained


def boundless(
    stage: Stage,
    runs: Mapping[tuple[bytes, ...], int],
    transition: int | str | None,
    special_tokens: Sequence[str] = (),
) -> Trained:
    """Superwords of whole words: ``runs`` are those of two or more words that hold letters.

    ``transition`` is the number of tokens before the first superword, ``"auto"`` finds it, ``None`` orders by count.
    """
    within = train(
        [replace(stage, vocab_size=transition if isinstance(transition, int) else stage.vocab_size)], special_tokens
    )
    if not isinstance(transition, int):
        across = _supermerges(within, runs, replace(stage, vocab_size=len(within.tokens) + stage.vocab_size))
        # Sorting keeps the order of equals: merges within words come first.
        order = sorted([*_counted(within), *_counted(across)], key=lambda counted: -counted[0])
        mixed = _assemble(within, order, stage.vocab_size, special_tokens)
        if transition is None:
            return mixed
        known = {within.tokens[result] for _, _, result in within.merges}
        n_within = 256 + len(special_tokens) + sum(mixed.tokens[result] in known for _, _, result in mixed.merges)
        within = train([replace(stage, vocab_size=n_within)], special_tokens)
    across = _supermerges(within, runs, stage)
    return _assemble(within, [*_counted(within), *_counted(across)], stage.vocab_size, special_tokens)


def _supermerges(within: Trained, runs: Mapping[tuple[bytes, ...], int], stage: Stage) -> Trained:
    corpus: Counter[Word] = Counter()
    for run, count in runs.items():
        part: list[int] = []
        for word in run:
            (symbols,) = _symbols({word: 1}, within.tokens)
            for merge in within.merges:
                ((symbols, _),) = _merge_everywhere(Counter({symbols: 1}), merge).items()
            if len(symbols) == 1:
                part += symbols
            else:
                corpus[tuple(part)] += count
                part = []
        corpus[tuple(part)] += count
    across = Trained(list(within.tokens))
    known = set(within.tokens)
    refused = stage.is_refused
    _merge_pairs(corpus, across, replace(stage, is_refused=lambda token: refused(token) or token in known))
    return across


def _counted(trained: Trained) -> list[tuple[int, bytes, bytes]]:
    merges = zip(trained.counts, trained.merges, strict=True)
    return [
        (count, _string(trained.tokens, left), _string(trained.tokens, right)) for count, (left, right, _) in merges
    ]


def _assemble(
    within: Trained, order: Sequence[tuple[int, bytes, bytes]], vocab_size: int, special_tokens: Sequence[str]
) -> Trained:
    n_first = len(special_tokens) + 256
    trained = Trained(within.tokens[:n_first])
    for _, left, right in order:
        if len(trained.tokens) == vocab_size:
            break
        _add(trained, trained.tokens.index(left), trained.tokens.index(right))
    return trained


def extend(tokens: list[bytes | None], encode: Callable[[bytes], list[int]], stage: Stage) -> Trained:
    """New tokens and merges behind those of a tokenizer, whose encoding of a word is where merging starts."""
    corpus: Counter[Word] = Counter()
    for word, count in stage.words.items():
        corpus[tuple(encode(word))] += count
    trained = Trained(list(tokens))
    _merge_pairs(corpus, trained, stage)
    return trained


def _symbols(words: Mapping[bytes, int], tokens: list[bytes | None]) -> Counter[Word]:
    ids = {token[0]: id for id, token in enumerate(tokens) if token is not None and len(token) == 1}
    corpus: Counter[Word] = Counter()
    for word, count in words.items():
        corpus[tuple(ids[byte] for byte in word if byte in ids)] += count
    return corpus


def _add(trained: Trained, left: int, right: int) -> Merge:
    token = _string(trained.tokens, left) + _string(trained.tokens, right)
    if token not in trained.tokens:
        trained.tokens.append(token)
    trained.merges.append((left, right, trained.tokens.index(token)))
    return trained.merges[-1]


def _merge_pairs(corpus: Counter[Word], trained: Trained, stage: Stage) -> None:
    tokens, longest = trained.tokens, stage.max_token_length
    while len(tokens) < stage.vocab_size:
        counts: Counter[tuple[int, int]] = Counter()
        for word, count in corpus.items():
            for pair in itertools.pairwise(word):
                counts[pair] += count
        # The largest count first; among equals the smaller left id, then the smaller right id.
        for left, right in sorted(counts, key=lambda pair: (-counts[pair], pair)):
            token = _string(tokens, left) + _string(tokens, right)
            is_short = longest is None or len(token) == 2 or len(token) < longest
            if counts[left, right] >= stage.min_frequency and is_short and not stage.is_refused(token):
                break
        else:
            return
        trained.counts.append(counts[left, right])
        corpus = _merge_everywhere(corpus, _add(trained, left, right))


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

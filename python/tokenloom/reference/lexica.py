"""How does a batch, a pair of tokenizers or a reader come by its own vocabulary? The rules, without any data structure.

Sources: Feher, Vulić, Minixhofer, *Retrofitting Large Language Models with Dynamic Tokenization* (2024); Chizhov,
Arnett, Korotkova, Yamshchikov, *BPE Gets Picky* (2024).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["dynamic", "merge", "picky", "replay", "union"]


def dynamic(
    batch: Sequence[Sequence[bytes]], n_merges: int, may_join: Callable[[bytes, bytes], bool]
) -> list[list[bytes]]:
    """Joins the most frequent pair of neighbours of a batch, ``n_merges`` times or until there is none.

    Every step counts all pairs anew; ``max`` keeps the first of equals, and pairs are met in the order of the batch.
    """
    sequences = [list(sequence) for sequence in batch]
    for _ in range(n_merges):
        pairs = itertools.chain.from_iterable(map(itertools.pairwise, sequences))
        counts = Counter(pair for pair in pairs if may_join(*pair))
        if not counts:
            break
        best = max(counts, key=lambda pair: counts[pair])
        sequences = [_replaced(sequence, list(best), [best[0] + best[1]]) for sequence in sequences]
    return sequences


Pair = tuple[bytes, bytes]
Event = tuple[list[bytes], list[bytes]]


def merge(parts: Iterable[bytes], ranks: Mapping[Pair, int]) -> list[bytes]:
    """Byte pair encoding: the pair of the lowest rank, the leftmost of several, again and again."""
    parts = list(parts)
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]
        if not pairs:
            return parts
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def union(first: Mapping[Pair, int], second: Mapping[Pair, int]) -> tuple[dict[Pair, int], list[bytes], list[bytes]]:
    """The merges of two byte-level tokenizers in one, the tokens that the first lacks, and the bridges to them."""
    ranks, known = dict(first), {left + right for left, right in first}
    theirs = dict.fromkeys(left + right for left, right in sorted(second, key=lambda pair: second[pair]))
    new = [token for token in theirs if token not in known]
    bridges: list[bytes] = []
    for token in new:
        place = 0
        while len(parts := merge((bytes([byte]) for byte in token), ranks)) > 1:
            # The next pair behind the last one that was joined; from the start where none is left.
            starts = list(itertools.accumulate(map(len, parts), initial=0))
            i = next((i for i, start in enumerate(starts[:-2]) if start >= place), 0)
            ranks[parts[i], parts[i + 1]] = len(ranks)
            joined = parts[i] + parts[i + 1]
            place = starts[i] + len(joined)
            if joined not in known and joined not in theirs and joined not in bridges:
                bridges.append(joined)
    return ranks, new, bridges


def picky(
    words: Mapping[bytes, int], vocab_size: int, threshold: float, order: Sequence[bytes], min_frequency: int = 0
) -> tuple[list[bytes], list[bytes], list[Event]]:
    """The tokens that are left, those that were removed, and the events ``(before, after)``.

    ``order`` are the first tokens, the bytes among them, which stay; ties go by the order in which tokens were made.
    """
    corpus = {word: [bytes([byte]) for byte in word] for word in words}
    tokens, left, made_of = list(order), set(order), dict[bytes, Pair]()
    events: list[Event] = []

    def apply(before: list[bytes], after: list[bytes]) -> int:
        events.append((before, after))
        n_times = 0
        for word, symbols in corpus.items():
            corpus[word] = _replaced(symbols, before, after)
            # All that an event makes of n tokens is made of them at once, so the difference in length tells how often.
            n_times += words[word] * (len(symbols) - len(corpus[word])) // (len(before) - len(after))
        return n_times

    def walk(token: bytes) -> list[bytes]:
        return [token] if token in left else [part for half in made_of[token] for part in walk(half)]

    for _ in range(4 * vocab_size):
        counts: Counter[Pair] = Counter()
        for word, symbols in corpus.items():
            for pair in itertools.pairwise(symbols):
                counts[pair] += words[word]
        best = min(counts, key=lambda pair: (-counts[pair], *map(tokens.index, pair)), default=None)
        if len(left) >= vocab_size or best is None or counts[best] < max(1, min_frequency):
            break
        token = best[0] + best[1]
        if token not in tokens:
            tokens.append(token)
        made_of.setdefault(token, best)
        left.add(token)
        n_merged = apply(list(best), [token])
        for part in dict.fromkeys(best):
            n_elsewhere = sum(words[word] * symbols.count(part) for word, symbols in corpus.items())
            if part not in order and n_merged / (n_elsewhere + n_merged) > threshold:
                left.remove(part)
                apply([part], walk(part))
    return [token for token in tokens if token in left], [token for token in tokens if token not in left], events


def replay(word: bytes, left: Iterable[bytes], events: Iterable[Event]) -> list[bytes]:
    """A word after all events, each applied to all its occurrences; a word that is a token is that token."""
    if word in left:
        return [word]
    symbols = [bytes([byte]) for byte in word]
    for before, after in events:
        symbols = _replaced(symbols, before, after)
    return symbols


def _replaced(symbols: list[bytes], before: list[bytes], after: list[bytes]) -> list[bytes]:
    out: list[bytes] = []
    i = 0
    while i < len(symbols):
        is_here = symbols[i : i + len(before)] == before
        out += after if is_here else symbols[i : i + 1]
        i += len(before) if is_here else 1
    return out

"""How are merges shared out among languages? The rule, without any data structure.

``tokenloom.compat.tokenizers.trainers.ParityBpeTrainer`` gives the same merges. Sources: Foroutan et al.,
*Parity-Aware Byte-Pair Encoding* (2025), and the trainer of Hugging Face ``tokenizers``, whose rule for ties and
windows this is.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

__all__ = ["next_language", "train"]

Words = list[list[str]]


def next_language(
    needs: Sequence[float], ended: set[int], window: tuple[int, float] | None, turns: list[int]
) -> int | None:
    """The language of the largest need, unless it had more than its share of the last turns."""
    open_ones = [at for at in range(len(needs)) if at not in ended]
    if not open_ones:
        return None
    ranked = sorted(open_ones, key=lambda at: (-needs[at], at))
    if window is None:
        return ranked[0]
    size, alpha = window
    share = alpha / len(needs)
    chosen = ranked[0]
    passed: set[int] = set()
    # Where all had their share the first language is asked, though it may have ended.
    for candidate in [*ranked, 0]:
        if turns[-size:].count(candidate) / size <= share:
            chosen = candidate
            break
        passed.add(candidate)
        if len(passed) == len(needs):
            chosen = candidate
            break
    turns.append(chosen)
    return chosen


def train(
    corpora: Sequence[Sequence[str]],
    n_merges: int,
    parallel: Sequence[Sequence[str]] | None = None,
    targets: Sequence[float] | None = None,
    n_global_merges: int = 0,
    min_frequency: int = 0,
    window: tuple[int, float] | None = None,
) -> list[tuple[str, str]]:
    """Merges in rank order: the words of each language, and of texts that say the same in each."""
    words: list[Words] = [[list(word) for word in corpus] for corpus in corpora]
    texts = None if parallel is None else [[list(word) for word in text] for text in parallel]
    first = [sum(map(len, corpus)) for corpus in words]
    ended: set[int] = set()
    turns: list[int] = []
    merges: list[tuple[str, str]] = []
    while len(merges) < n_merges:
        now = [sum(map(len, corpus)) for corpus in words]
        if len(merges) < n_global_merges:
            language, counted = None, [word for corpus in words for word in corpus]
        else:
            if targets is not None:
                needs = [-(a / b / target) for a, b, target in zip(first, now, targets, strict=True)]
            else:
                needs = [float(n) for n in (now if texts is None else [sum(map(len, text)) for text in texts])]
            language = next_language(needs, ended, window, turns)
            if language is None:
                break
            counted = words[language]
        counts = Counter(pair for word in counted for pair in itertools.pairwise(word))
        # Of equally frequent pairs the one with the larger strings.
        best = max(counts, key=lambda pair: (counts[pair], pair), default=None)
        if best is None or counts[best] < min_frequency:
            if language is None:
                break
            ended.add(language)
            continue
        merges.append(best)
        words = [[_merged(word, *best) for word in corpus] for corpus in words]
        texts = None if texts is None else [[_merged(word, *best) for word in text] for text in texts]
    return merges


def _merged(word: list[str], left: str, right: str) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(word):
        is_pair = word[at : at + 2] == [left, right]
        out.append(left + right if is_pair else word[at])
        at += 2 if is_pair else 1
    return out

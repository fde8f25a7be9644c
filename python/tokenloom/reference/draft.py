"""Drafting by searching the whole text at every step.

The compiled drafters find the same contexts with a suffix automaton and with sorted segments; here they are found as
they are defined.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

END = 2**31
"""Follows the last token of a finished text."""

MAX_LEVELS = 8
PER_SEGMENT, MAX_NEIGHBOURS = 16, 32
NEGLIGIBLE = 0.02
ESCAPE, ESCAPE_DECAY = (3.7, 0.3), (0.7, 0.98)
HISTORY_ESCAPE, HISTORY_DECAY = 3.0, 0.95
RECENCY = 0.4


class Level(NamedTuple):
    """A context that occurred: its length, its source (0 is the text itself), what followed, and what followed last."""

    n_tokens: int
    source: int
    followers: list[int]
    latest: int


def ends(text: Sequence[int], string: Sequence[int]) -> list[int]:
    """The index behind every occurrence of ``string``, in order."""
    n = len(string)
    return [end for end in range(n, len(text) + 1) if list(text[end - n : end]) == list(string)]


def own_levels(text: Sequence[int], context: Sequence[int], max_depth: int) -> list[Level]:
    """Every suffix of ``context`` that occurs in other places than the next longer one, and goes on; longest first."""
    levels: list[Level] = []
    last = None
    for n in range(min(max_depth, len(context)), 0, -1):
        places = ends(text, context[-n:])
        followers = [text[end] for end in places if end < len(text)]
        if places != last and followers:
            levels.append(Level(n, 0, followers, followers[-1]))
        last = places
    return levels[:MAX_LEVELS]


def occurrence(text: Sequence[int], max_depth: int) -> tuple[int, int, int] | None:
    """Longest suffix of ``text`` that was followed by a token: its length, how often, and where it last was."""
    levels = own_levels(text, text, max_depth)
    if not levels:
        return None
    n = levels[0].n_tokens
    places = [end for end in ends(text, text[-n:]) if end < len(text)]
    return n, len(places), places[-1]


def agreement(text: Sequence[int], end: int, context: Sequence[int]) -> int:
    """How many tokens before ``end`` agree with the end of ``context``."""
    n = 0
    while n < min(end, len(context)) and text[end - 1 - n] == context[-1 - n]:
        n += 1
    return n


def nearest(segment: Sequence[int], context: Sequence[int]) -> list[tuple[int, int]]:
    """``(agreement, end)`` of the places in a segment whose left context agrees longest with ``context``.

    The places are sorted by their contexts, read backwards; from where ``context`` itself would stand, the better of
    the two neighbours is taken again and again.
    """
    order = sorted(range(1, len(segment) + 1), key=lambda end: list(segment[:end][::-1]))
    high = bisect_left(order, list(context[::-1]), key=lambda end: list(segment[:end][::-1]))
    low = high - 1
    found: list[tuple[int, int]] = []
    while len(found) < PER_SEGMENT:
        below = agreement(segment, order[low], context) if low >= 0 else 0
        above = agreement(segment, order[high], context) if high < len(order) else 0
        if below == above == 0:
            break
        if above >= below:
            found.append((above, order[high]))
            high += 1
        else:
            found.append((below, order[low]))
            low -= 1
    return found


def past_levels(segments: Sequence[Sequence[int]], context: Sequence[int], drafted: Sequence[int]) -> list[Level]:
    """The levels behind ``context`` and ``drafted`` of the places that agree with ``context``."""
    places = [(n, segment, end) for segment in reversed(segments) for n, end in nearest(segment, context) if n > 0]
    places = sorted(places, key=lambda place: -place[0])[:MAX_NEIGHBOURS]
    k = len(drafted)
    places = [place for place in places if list(place[1][place[2] : place[2] + k]) == list(drafted)]
    levels: list[Level] = []
    for n in sorted({n for n, _, _ in places}, reverse=True):
        followers = [[*segment, END][end + k] for m, segment, end in places if m >= n]
        levels.append(Level(n + k, 1, followers, followers[0]))
    return levels[:MAX_LEVELS]


def blend(levels: Sequence[Level], least: float) -> dict[int, float]:
    """The probability of each token that may follow; levels are skipped once less than ``least`` is left to them."""
    probs: dict[int, float] = {}
    left = 1.0
    for n_tokens, source, followers, latest in sorted(levels, key=lambda level: (-level[0], level[1])):
        if left < max(NEGLIGIBLE, least):
            break
        n = len(followers) + RECENCY
        k = min(n_tokens, 64) - 1
        escape = sum(part * decay**k for part, decay in zip(ESCAPE, ESCAPE_DECAY, strict=True))
        share = left * n / (n + escape * (1.0 + HISTORY_ESCAPE * HISTORY_DECAY**k * (source > 0)))
        left -= share
        for token, count in Counter(followers).items():
            if token != END:
                prob = share * (count + RECENCY * (token == latest)) / n
                probs[token] = probs.get(token, 0.0) + prob
    return probs


def draft_tree(
    text: Sequence[int], segments: Sequence[Sequence[int]], max_depth: int, min_prob: float, budget: int
) -> dict[tuple[int, ...], float]:
    """Paths and path probabilities of the suffix drafter's tree behind ``text``.

    Args:
        text: the stream so far.
        segments: ended texts, each followed by ``END``, as the history holds them, oldest first.
        max_depth: longest context.
        min_prob: least probability of a path.
        budget: most nodes.
    """
    tree: dict[tuple[int, ...], float] = {(): 1.0}
    heap: list[tuple[float, tuple[int, ...]]] = []

    def expand(path: tuple[int, ...]) -> None:
        context = [*text, *path]
        levels = own_levels(text, context, max_depth)
        levels += past_levels(segments, text[-max_depth:], path)
        for token, prob in blend(levels, min_prob / tree[path]).items():
            if tree[path] * prob >= min_prob:
                heapq.heappush(heap, (-tree[path] * prob, (*path, token)))

    expand(())
    while heap and len(tree) <= budget:
        prob, path = heapq.heappop(heap)
        tree[path] = -prob
        expand(path)
    del tree[()]
    return tree


def copy_behind(text: Sequence[int], min_match: int, max_match: int, length: int) -> list[int]:
    """What prompt lookup copies from behind the longest, latest match; a copy that reaches the end repeats itself."""
    found = occurrence(text, max_match)
    if found is None or found[0] < min_match:
        return []
    behind = list(text[found[2] :])
    return [behind[i % len(behind)] for i in range(length)]


OUTSIDE = 1e-4
"""The weight of a frequency in other texts beside one in the text itself."""


def branches(
    text: Sequence[int], segments: Sequence[Sequence[int]], key_length: int, branch_length: int
) -> dict[tuple[int, ...], float]:
    """Every branch behind the last ``key_length`` tokens, or as many as occur, with its weight over its parent's."""
    own: list[int] = []
    others: list[tuple[Sequence[int], int]] = []
    for n in range(min(key_length, len(text)), 0, -1):
        own = [end for end in ends(text, text[-n:]) if end < len(text)]
        others = [(segment, end) for segment in segments for end in ends(segment, text[-n:])]
        if own or others:
            break
    tree: dict[tuple[int, ...], float] = {}

    def grow(path: tuple[int, ...], own: list[int], others: list[tuple[Sequence[int], int]]) -> None:
        k = len(path)
        inside = [end for end in own if end + k < len(text)]
        total = len(inside) * (1 - OUTSIDE) + len(others) * OUTSIDE
        tokens = {text[end + k] for end in inside} | {segment[end + k] for segment, end in others}
        for token in tokens - {END}:
            here = [end for end in inside if text[end + k] == token]
            there = [(segment, end) for segment, end in others if segment[end + k] == token]
            tree[(*path, token)] = (len(here) * (1 - OUTSIDE) + len(there) * OUTSIDE) / total
            if k + 1 < branch_length:
                grow((*path, token), here, there)

    grow((), own, others)
    return tree


def n_paying(seconds: Sequence[float], path_probs: Sequence[float]) -> int:
    """How many nodes maximise tokens a second, where a pass over n rows takes ``seconds[n - 1]``."""
    rates = [(1 + sum(path_probs[:n])) / seconds[n] for n in range(len(path_probs) + 1)]
    return rates.index(max(rates))

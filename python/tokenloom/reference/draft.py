"""Suffix drafting by searching the whole text at every step.

The compiled drafter finds the same matches with a suffix automaton in constant time a token; here they are found as
they are defined.
"""

from __future__ import annotations

from collections.abc import Sequence

END = -1
"""Follows the last token of a finished document."""

MAX_LEVELS = 8
NEGLIGIBLE = 0.02
ESCAPE_SHORT, ESCAPE_LONG, ESCAPE_DECAY = 3.0, 0.3, 0.7
HISTORY_ESCAPE = 5.0
RECENCY = 0.4


class Index:
    """Documents, and what followed a string in them.

    Args:
        documents: token sequences; all but the stream's own end with ``END``.
        max_depth: longest string that is looked up.
    """

    def __init__(self, documents: Sequence[Sequence[int]], max_depth: int) -> None:
        self.documents = [list(document) for document in documents]
        self.max_depth = max_depth

    def occurrences(self, string: Sequence[int]) -> list[tuple[int, int]]:
        """``(document, end)`` of every occurrence, oldest first; ``end`` is the index behind its last token."""
        found, n = [], len(string)
        for d, document in enumerate(self.documents):
            for end in range(n, len(document) + 1):
                if document[end - n : end] == list(string):
                    found.append((d, end))
        return found

    def followers(self, string: Sequence[int]) -> list[tuple[int, int]]:
        """``(token, position)`` behind every occurrence that was continued, oldest first; positions count through."""
        starts = [0]
        for document in self.documents:
            starts.append(starts[-1] + len(document))
        return [
            (self.documents[d][end], starts[d] + end)
            for d, end in self.occurrences(string)
            if end < len(self.documents[d])
        ]

    def longest_suffix(self, context: Sequence[int]) -> list[int]:
        """The longest suffix of ``context`` that occurs, at most ``max_depth`` tokens."""
        for n in range(min(self.max_depth, len(context)), 0, -1):
            if self.occurrences(context[-n:]):
                return list(context[-n:])
        return []

    def levels(self, suffix: Sequence[int]) -> list[list[int]]:
        """Every suffix that occurs in other places than the next longer one, and was continued; longest first."""
        result, last = [], None
        for n in range(len(suffix), 0, -1):
            string = list(suffix[-n:])
            places = self.occurrences(string)
            if places != last and self.followers(string):
                result.append(string)
            last = places
        return result


def occurrence(text: Sequence[int], max_depth: int) -> tuple[int, int, int] | None:
    """Longest suffix of ``text`` that was followed by a token: its length, how often, and where it last was."""
    index = Index([text], max_depth)
    levels = index.levels(index.longest_suffix(text))
    if not levels:
        return None
    followers = index.followers(levels[0])
    return len(levels[0]), len(followers), followers[-1][1]


def blend(sources: Sequence[tuple[Index, bool, Sequence[int]]]) -> tuple[int, float] | None:
    """The most probable next token and its probability.

    Args:
        sources: ``(index, is_own, suffix)``: where is looked, whether it is the stream's own text, what matches there.
    """
    levels = [
        (len(string), -rank, is_own, index.followers(string))
        for rank, (index, is_own, suffix) in enumerate(sources)
        for string in index.levels(suffix)
    ]
    levels.sort(key=lambda level: (-level[0], -level[1]))
    left, shares = 1.0, []
    for length, _, is_own, followers in levels[:MAX_LEVELS]:
        if left < NEGLIGIBLE:
            break
        n = len(followers) + RECENCY
        escape = ESCAPE_LONG + (ESCAPE_SHORT - ESCAPE_LONG) * ESCAPE_DECAY ** (min(length, 64) - 1)
        share = left * n / (n + escape * (1.0 if is_own else HISTORY_ESCAPE))
        left -= share
        shares.append((share, n, [token for token, _ in followers]))
    best: tuple[int, float] | None = None
    seen: set[int] = {END}
    for _, _, tokens in shares:
        latest = tokens[-1]
        if latest in seen:
            continue
        seen.add(latest)
        prob = sum(s * (t.count(latest) + RECENCY * (t[-1] == latest)) / n for s, n, t in shares)
        if best is None or prob > best[1]:
            best = (latest, prob)
    return best


def draft_chain(
    text: Sequence[int], history: Sequence[Sequence[int]], max_depth: int, min_prob: float, budget: int
) -> tuple[list[int], list[float]]:
    """Tokens and probabilities that the suffix drafter proposes behind ``text``, given ended streams ``history``."""
    indexes = [
        (Index([text], max_depth), True),
        (Index([[*document, END] for document in history], max_depth), False),
    ]
    tokens: list[int] = []
    probs: list[float] = []
    suffixes = [index.longest_suffix(text) for index, _ in indexes]
    chain_prob = 1.0
    while len(tokens) < budget:
        best = blend([(index, own, suffix) for (index, own), suffix in zip(indexes, suffixes, strict=True)])
        if best is None or chain_prob * best[1] < min_prob:
            break
        chain_prob *= best[1]
        tokens.append(best[0])
        probs.append(best[1])
        suffixes = [
            index.longest_suffix([*suffix, best[0]]) for (index, _), suffix in zip(indexes, suffixes, strict=True)
        ]
    return tokens, probs

"""Drafting from what the model once found likely: token recycling, and Goose's spine with branches.

The compiled tables have a fixed number of rows, in which a row may be replaced by another; here nothing is forgotten.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import takewhile

N_NEXT = 10
SHARE_OF_LATEST = 0.5

Row = list[tuple[int, float]]
"""Likely tokens with their probabilities, the likeliest first."""


class Adjacency:
    """For each token and each pair of tokens the likely next ones, as they were said last."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, ...], Row] = {}

    def behind(self, context: Sequence[int], n: int) -> Row:
        """What stands behind the last ``n`` tokens."""
        return self.rows.get(tuple(context[-n:]), []) if len(context) >= n else []

    def said(self, context: Sequence[int], row: Row) -> None:
        """The model said so: the last writer wins."""
        best: dict[int, float] = {}
        for token, logprob in row:
            best.setdefault(token, math.exp(logprob))
        for n in (1, 2):
            if len(context) >= n:
                self.rows[tuple(context[-n:])] = list(best.items())[:N_NEXT]

    def came(self, context: Sequence[int], token: int) -> None:
        """The token came, and nothing is known of probabilities: it goes to the front, the others keep half."""
        for n in (1, 2):
            if len(context) >= n:
                old = dict(self.behind(context, n))
                first = (token, SHARE_OF_LATEST + SHARE_OF_LATEST * old.pop(token, 0.0))
                rest = [(other, prob * SHARE_OF_LATEST) for other, prob in old.items()]
                self.rows[tuple(context[-n:])] = [first, *rest][:N_NEXT]

    def read_prompt(self, prompt: Sequence[int], rows: Sequence[Row] | None) -> None:
        """Take a prompt, with what the model said behind each of its tokens where that is known."""
        for i in range(len(prompt)):
            if rows is not None:
                self.said(prompt[: i + 1], rows[i])
            elif i > 0:
                self.came(prompt[:i], prompt[i])

    def read_step(
        self,
        text: Sequence[int],
        tokens: Sequence[int],
        tree: tuple[Sequence[int], Sequence[int]] = ((), ()),
        rows: Sequence[Row] | None = None,
    ) -> None:
        """Take a step behind ``text``, with what the model said behind it and behind each node of a tree.

        Args:
            text: the text before the step.
            tokens: what came.
            tree: tokens and parents of the drafted nodes.
            rows: what the model said, first behind the text.
        """
        if rows is None:
            for i, token in enumerate(tokens):
                context = [*text, *tokens[:i]]
                if context:
                    self.came(context, token)
            return
        if text:
            self.said(text, rows[0])
        for node, (token, parent) in enumerate(zip(*tree, strict=True)):
            before = [tree[0][parent]] if parent >= 0 else list(text[-1:])
            self.said([*before, token], rows[node + 1])


PAIR_TRUST, SINGLE_TRUST = 0.4, 0.3


def recycled(adjacency: Adjacency, context: Sequence[int]) -> list[tuple[int, float, Row]]:
    """What recycling knows behind a context: its length, the share it gets of what is left, and the likely tokens."""
    found = [(n, trust, adjacency.behind(context, n)) for n, trust in ((2, PAIR_TRUST), (1, SINGLE_TRUST))]
    return [level for level in found if level[2]]


KEYS = (5, 4, 3)
COPY, LONG_COPY = 20, 100
BUDGET, EXTRA_BUDGET = 60, 40
SMOOTHING = 0.3
ON_SPINE = 0.5
MIN_SCORE = 0.01
MAX_DEPTH = 6

Path = tuple[int, ...]


def copied(text: Sequence[int], end: Sequence[int]) -> tuple[list[int], bool] | None:
    """What followed the first place of the longest key that ``end`` ends with, and do all of several places agree?"""
    for n in KEYS:
        key = list(end[-n:])
        places = [i for i in range(n, len(text)) if list(text[i - n : i]) == key] if len(key) == n else []
        if places:
            agree = len(places) >= 2 and len({text[i] for i in places}) == 1
            return list(text[places[0] : places[0] + COPY]), agree
    return None


def spine(text: Sequence[int]) -> tuple[list[int], Fraction]:
    """The copy, and the confidence in it."""
    found = copied(text, text)
    if found is None:
        return [], Fraction(0)
    copy, agree = found
    if not agree:
        n = len(copy)
        return copy, Fraction(7, 10) + Fraction(n - 8, 60) if n >= 8 else Fraction(6 * n, 80)
    while len(copy) < LONG_COPY:
        more = copied(text, [*text[-KEYS[0] :], *copy])
        if more is None or not more[1]:
            break
        copy += more[0]
    return copy[:LONG_COPY], Fraction(1)


def followed(acceptance: float, spine: Sequence[int], tokens: Sequence[int]) -> float:
    """The average part of a spine that was accepted, after one more step."""
    if not spine:
        return acceptance
    came = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(spine, tokens, strict=False))))
    return acceptance + SMOOTHING * (came / len(spine) - acceptance)


def scores(adjacency: Adjacency, context: Sequence[int]) -> Row:
    """Likely tokens with scores that sum to one: behind the pair if it is known, else behind the token."""
    row = adjacency.behind(context, 2) or adjacency.behind(context, 1)
    total = sum(prob for _, prob in row)
    return [(token, prob / total) for token, prob in row]


def goose(
    text: Sequence[int], adjacency: Adjacency, acceptance: float, budget: int
) -> tuple[list[int], dict[Path, float]]:
    """The spine, and the paths of the whole tree with the probability of each node behind its parent."""
    copy, confidence = spine(text)
    budget = min(budget, BUDGET + math.floor(EXTRA_BUDGET * confidence))
    least = Fraction(15 if acceptance < 0.2 else 30 if acceptance < 0.4 else 50, 100)
    copy = copy[: math.floor(budget * (least + confidence * (1 - least)))]
    tree: dict[Path, float] = {tuple(copy[: i + 1]): max(float(confidence), 0.2) for i in range(len(copy))}

    def branch(root: Path, n_most: int, taken: int | None) -> None:
        n_end = len(tree) + n_most
        queue = deque([(root, taken)])
        while queue:
            path, skipped = queue.popleft()
            row = scores(adjacency, [*text, *path])
            for token, score in row[: max(10 // (len(path) + 1), 1)]:
                if len(tree) >= n_end:
                    return
                if token != skipped and score >= MIN_SCORE:
                    tree[*path, token] = score
                    if len(path) + 1 < MAX_DEPTH:
                        queue.append(((*path, token), None))

    n_branches = budget - len(copy)
    n_on_spine = math.floor(n_branches * ON_SPINE) if copy else 0
    branch((), n_branches - n_on_spine, copy[0] if copy else None)
    harmonic = sum(Fraction(1, i) for i in range(1, len(copy) + 1))
    left = n_on_spine
    for i in range(1, len(copy) + 1):
        part = min(max(math.floor(n_on_spine / (i * harmonic)), 1), left)
        left -= part
        branch(tuple(copy[:i]), part, copy[i] if i < len(copy) else None)
    return copy, tree

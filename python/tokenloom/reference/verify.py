"""Verifying drafted tokens: every rule, with the residual distributions written out.

``p[row]`` is the target behind row 0 (the root) or row ``j + 1`` (node ``j``), ``q[row]`` what the children of that row
were drawn from; both normalised. A rule asks a chance for its decisions and returns the deepest accepted node, -1 for
the root, and the token behind it; :meth:`Tree.path_to` gives the path.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenloom.reference import rng

Row = Sequence[float]
Ending = tuple[int, int]


class Chance(Protocol):
    """The decisions of one verification."""

    def accepts(self, node: int, probability: float) -> bool:
        """True with this probability."""

    def draw(self, weights: Row, depth: int, purpose: int) -> int:
        """A token in proportion to its weight."""


@dataclass
class Seeded:
    """Decisions by address: node at the position of the root, tokens at their own."""

    seed: int
    position: int

    def accepts(self, node: int, probability: float) -> bool:
        """A uniform number below the probability."""
        return rng.uniform(self.seed, self.position, node, rng.ACCEPT) < probability

    def draw(self, weights: Row, depth: int, purpose: int) -> int:
        """The first to arrive in the exponential race; of what is left, where the masses pass a uniform share of it."""
        if purpose == rng.RESIDUAL:
            share = rng.uniform(self.seed, self.position + depth, 0, purpose) * sum(weights)
            sums = itertools.accumulate(weights)
            return next(token for token, total in enumerate(sums) if total > share)

        def arrival(token: int) -> float:
            return rng.exponential(self.seed, self.position + depth, token, purpose) / weights[token]

        return min((token for token, weight in enumerate(weights) if weight > 0), key=arrival)


@dataclass
class Tree:
    """Nodes in topological order."""

    tokens: Sequence[int]
    parents: Sequence[int]

    def children(self, node: int) -> list[int]:
        """The nodes behind this one, in order."""
        return [j for j, parent in enumerate(self.parents) if parent == node]

    def path_to(self, node: int) -> list[int]:
        """From a child of the root down to ``node``; empty for the root."""
        return [] if node < 0 else [*self.path_to(self.parents[node]), node]


def normalised(weights: Row) -> list[float]:
    """Weights over their sum; as they are where there is none."""
    total = sum(weights)
    return [weight / total for weight in weights] if total > 0 else list(weights)


def excess(p: Row, q: Row, factor: float = 1.0) -> list[float]:
    """The positive part of ``factor p - q``."""
    return [max(factor * a - b, 0.0) for a, b in zip(p, q, strict=True)]


def without(q: Row, tokens: Sequence[int]) -> list[float]:
    """The law of a draw from ``q`` that is none of these tokens."""
    return normalised([0.0 if token in tokens else mass for token, mass in enumerate(q)])


def walk_with(tree: Tree, draw: Callable[[int, int], int]) -> Ending:
    """Draw where you stand, ``draw(row, depth)``; step down while the draw is there."""
    node, depth = -1, 0
    while True:
        token = draw(node + 1, depth)
        found = [child for child in tree.children(node) if tree.tokens[child] == token]
        if not found:
            return node, token
        node, depth = found[0], depth + 1


def greedy(logits: Sequence[Row], tree: Tree) -> Ending:
    """The best token of each row, ties to the smallest id."""
    return walk_with(tree, lambda row, _: max(range(len(logits[row])), key=lambda t: (logits[row][t], -t)))


def walk(p: Sequence[Row], tree: Tree, chance: Chance) -> Ending:
    """The token that the target says in each row."""
    return walk_with(tree, lambda row, depth: chance.draw(p[row], depth, rng.SAMPLE))


def chain(p: Sequence[Row], q: Sequence[Row], tree: Tree, chance: Chance) -> Ending:
    """Token by token; the tree is a chain."""
    for node, token in enumerate(tree.tokens):
        if not chance.accepts(node, p[node][token] / q[node][token]):
            return node - 1, chance.draw(excess(p[node], q[node]), node, rng.RESIDUAL)
    n = len(tree.tokens)
    return n - 1, chance.draw(p[n], n, rng.SAMPLE)


def block(p: Sequence[Row], q: Sequence[Row], tree: Tree, chance: Chance) -> Ending:
    """The longest prefix of a chain that passes its own test."""
    n = len(tree.tokens)
    shares = [1.0]
    for node, token in enumerate(tree.tokens):
        shares.append(min(1.0, shares[-1] * p[node][token] / q[node][token]))
    for n_kept in range(n, -1, -1):
        share = shares[n_kept]
        left = 0.0 if n_kept == n else sum(excess(p[n_kept], q[n_kept], share))
        passes = share if n_kept in (0, n) or share == 1.0 else left / (left + 1.0 - share)
        if n_kept == 0 or chance.accepts(n_kept - 1, passes):
            break
    if n_kept == n:
        return n - 1, chance.draw(p[n], n, rng.SAMPLE)
    return n_kept - 1, chance.draw(excess(p[n_kept], q[n_kept], shares[n_kept]), n_kept, rng.RESIDUAL)


def traversal(p: Sequence[Row], q: Sequence[Row], tree: Tree, replacement: bool, chance: Chance) -> Ending:
    """From the leaves up: a node that fails leaves its parent with less to keep."""
    n_rows = len(tree.tokens) + 1
    target = [list(p[row]) for row in range(n_rows)]
    draft = [list(q[row]) if row < len(q) else [] for row in range(n_rows)]
    share = [1.0] * n_rows
    left = [tree.children(node) for node in range(-1, n_rows - 1)]
    node = -1
    while True:
        row = node + 1
        if left[row]:
            child = left[row][0]
            token = tree.tokens[child]
            share[child + 1] = min(1.0, share[row] * target[row][token] / draft[row][token])
            node = child
        elif node < 0 or chance.accepts(node, share[row]):
            depth = len(tree.path_to(node))
            purpose = rng.RESIDUAL if tree.children(node) else rng.SAMPLE
            return node, chance.draw(target[row], depth, purpose)
        else:
            token, node = tree.tokens[node], tree.parents[node]
            row = node + 1
            left[row].pop(0)
            rest = excess(target[row], draft[row], share[row])
            target[row] = normalised(rest)
            mass = sum(rest)
            share[row] = 1.0 if share[row] == 1.0 else mass / (mass + 1.0 - share[row])
            if not replacement:
                draft[row] = without(draft[row], [token])


def recursive(p: Sequence[Row], q: Sequence[Row], tree: Tree, replacement: bool, chance: Chance) -> Ending:
    """Sibling after sibling, each against what the ones before left."""

    def choose(target: Row, draft: Row, candidates: list[int], depth: int) -> Ending:
        for node in candidates:
            token = tree.tokens[node]
            if chance.accepts(node, target[token] / draft[token]):
                return node, -1
            target = normalised(excess(target, draft))
            if not replacement:
                draft = without(draft, [token])
        return -1, chance.draw(target, depth, rng.RESIDUAL)

    return _descend(p, q, tree, replacement, chance, choose)


def kseq(p: Sequence[Row], q: Sequence[Row], tree: Tree, chance: Chance) -> Ending:
    """All siblings against one threshold."""

    def choose(target: Row, draft: Row, candidates: list[int], depth: int) -> Ending:
        factor = division_factor(target, draft, len(candidates))
        for node in candidates:
            token = tree.tokens[node]
            if chance.accepts(node, target[token] / (factor * draft[token])):
                return node, -1
        return -1, chance.draw(excess(target, [factor * b for b in draft]), depth, rng.RESIDUAL)

    return _descend(p, q, tree, True, chance, choose)


def division_factor(p: Row, q: Row, k: int) -> float:
    """``rho`` in [1, k] with ``1 - (1 - b)^k = rho b``; ``b`` is the mass of ``min(q, p / rho)``. By bisection."""
    low, high = 1.0, float(k)
    for _ in range(100):
        rho = (low + high) / 2
        b = sum(min(draft, target / rho) for target, draft in zip(p, q, strict=True))
        low, high = (rho, high) if 1 - (1 - b) ** k > rho * b else (low, rho)
    return high


def greedy_multi(p: Sequence[Row], q: Sequence[Row], tree: Tree, chance: Chance) -> Ending:
    """Siblings that are certain but for the last, which was drawn from the others' complement."""
    node, depth = -1, 0
    while children := tree.children(node):
        row, drawn = node + 1, children[-1]
        certain = {tree.tokens[child]: child for child in reversed(children[:-1])}
        draft = without(q[row], list(certain))
        token = tree.tokens[drawn]
        if chance.accepts(drawn, p[row][token] / draft[token]):
            node = drawn
        else:
            said = chance.draw(excess(p[row], draft), depth, rng.RESIDUAL)
            if said not in certain:
                return node, said
            node = certain[said]
        depth += 1
    return node, chance.draw(p[node + 1], depth, rng.SAMPLE)


def optimal_acceptance(p: Row, q: Row, k: int) -> float:
    """The smallest of ``1 + p(H) - q(H)^k`` over all sets H, which are the tokens with the largest q/p."""
    order = sorted(range(len(p)), key=lambda token: -q[token] / p[token] if p[token] else float("-inf"))
    sets = [order[:n] for n in range(len(order) + 1)]
    return min(1 + sum(p[t] for t in tokens) - sum(q[t] for t in tokens) ** k for tokens in sets)


def any_order(p: Sequence[Row], q: Sequence[Row], tokens: Sequence[int], chance: Chance) -> tuple[int, int]:
    """How many tokens stay, and the one instead of the first rejected; -1 where all stay."""
    for i, token in enumerate(tokens):
        if not chance.accepts(i, p[i][token] / q[i][token]):
            return i, chance.draw(excess(p[i], q[i]), i, rng.RESIDUAL)
    return len(tokens), -1


def context_law(text: Sequence[int], decided: Sequence[int], place: int, n_vocab: int) -> list[float]:
    """What followed the left neighbour of ``place`` in the decided text, else all its tokens, else anything."""
    pairs = [(a, b) for a, b in itertools.pairwise(decided) if a >= 0 and b >= 0]
    before = text[place - 1] if place else -1
    seen = [b for a, b in pairs if a == before] or [token for token in decided if token >= 0]
    return normalised([seen.count(token) for token in range(n_vocab)] if seen else [1.0] * n_vocab)


def typical(p: Sequence[Row], tree: Tree, epsilon: float, delta: float) -> tuple[int, float]:
    """The end of the longest path of tokens that pass, and how far its law is from the target's."""
    reached = {-1: (0, 0.0, 0.0)}
    for node, (token, parent) in enumerate(zip(tree.tokens, tree.parents, strict=True)):
        row = p[parent + 1]
        entropy = -sum(mass * math.log(mass) for mass in row if mass > 0)
        if parent in reached and 0 < row[token] >= min(epsilon, delta * math.exp(-entropy)):
            depth, log_prob, change = reached[parent]
            reached[node] = (depth + 1, log_prob + math.log(row[token]), change + 1 - row[token])
    end = max(reached, key=lambda node: (reached[node][:2], -node))
    return end, min(1.0, reached[end][2])


def margin(p: Sequence[Row], tree: Tree, ratio: float) -> tuple[int, float]:
    """Down the most probable children while they are close to the best token."""
    node, change = -1, 0.0
    while children := tree.children(node):
        row = p[node + 1]
        best = max(children, key=lambda child: (row[tree.tokens[child]], -child))
        if not 0 < row[tree.tokens[best]] >= ratio * max(row):
            break
        node, change = best, change + 1 - row[tree.tokens[best]]
    return node, min(1.0, change)


def neighbours(
    p: Sequence[Row], tree: Tree, order: Sequence[Sequence[int]], delta: float, chance: Chance
) -> tuple[int, int, float]:
    """A token is accepted as often as it and its neighbours are said; the siblings of a place share ``delta``."""
    node, depth, change = -1, 0, 0.0
    while children := tree.children(node):
        row, chosen, reach, left = list(p[node + 1]), -1, 1.0, delta
        for child in children:
            token, lent = tree.tokens[child], 0.0
            if reach <= 0 or sum(row) <= 0:
                break
            for other in [other for other in dict.fromkeys(order[token]) if other != token]:
                if lent + row[other] > left / reach:
                    break
                lent += row[other]
            change, left = change + reach * lent, max(left - reach * lent, 0.0)
            reach *= max(1 - row[token] - lent, 0.0)
            if chosen < 0 and chance.accepts(child, row[token] + lent):
                chosen = child
            row = without(row, [token])
        if chosen < 0:
            return node, chance.draw(row, depth, rng.RESIDUAL), min(1.0, change)
        node, depth = chosen, depth + 1
    return node, chance.draw(p[node + 1], depth, rng.SAMPLE), min(1.0, change)


def reflected(p_mean: Row, q_mean: Row, std: Row, point: Row) -> tuple[float, list[float]]:
    """How often a point drawn around ``q_mean`` stays, and what takes its place around ``p_mean``."""
    noise = [(x - mean) / s for x, mean, s in zip(point, q_mean, std, strict=True)]
    shift = [(b - a) / s for a, b, s in zip(p_mean, q_mean, std, strict=True)]
    along = sum(a * b for a, b in zip(noise, shift, strict=True))
    length = sum(a * a for a in shift)
    turned = [a - (2 * along / length * b if length else 0.0) for a, b in zip(noise, shift, strict=True)]
    return min(1.0, math.exp(-along - length / 2)), [
        mean + s * a for mean, s, a in zip(p_mean, std, turned, strict=True)
    ]


def _descend(
    p: Sequence[Row],
    q: Sequence[Row],
    tree: Tree,
    replacement: bool,
    chance: Chance,
    choose: Callable[[Row, Row, list[int], int], Ending],
) -> Ending:
    """Go down while a sibling is chosen; equal siblings that were drawn independently go down together."""
    nodes, depth, last = [-1], 0, -1
    while candidates := [child for node in nodes for child in tree.children(node)]:
        row = tree.parents[candidates[0]] + 1
        node, token = choose(p[row], q[row], candidates, depth)
        if node < 0:
            return last, token
        equal = [other for other in candidates if other != node and tree.tokens[other] == tree.tokens[node]]
        nodes, depth, last = [node, *(equal if replacement else [])], depth + 1, node
    return last, chance.draw(p[nodes[0] + 1], depth, rng.SAMPLE)

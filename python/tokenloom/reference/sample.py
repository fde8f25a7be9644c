"""How is the next token drawn from a row of logits?

The rules of ``tokenloom.sample`` in plain float64: sort, add up, cut. Where a rule compares against a limit that no sum
comes close to, the compiled code keeps the same tokens; its masses are rounded to 2^-42 and its weights to float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tokenloom.reference import rng


def weights_of(logits: Sequence[float], temperature: float) -> list[float]:
    """The weights ``e^((l - max) / T)``: probabilities before they are normalised."""
    best = max(logits)
    return [math.exp((logit - best) / temperature) for logit in logits]


def cut(order: Sequence[int], mass: Callable[[int], float], limit: float) -> set[int]:
    """The tokens before which less than ``limit`` has been seen, in this order; at least one."""
    kept: set[int] = set()
    seen = 0.0
    for token in order:
        if kept and seen >= limit:
            break
        kept.add(token)
        seen += mass(token)
    return kept


def keep_set(
    logits: Sequence[float],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
) -> set[int]:
    """The tokens that may be drawn, each rule applied to what the one before has left."""

    def best_first(tokens: set[int]) -> list[int]:
        return sorted(tokens, key=lambda token: (-logits[token], token))

    kept = {token for token, logit in enumerate(logits) if logit > -math.inf}
    if temperature == 0:
        return {best_first(kept)[0]}
    weights = weights_of(logits, temperature)
    if top_k > 0:
        kept = cut(best_first(kept), lambda token: 1, top_k)
    if top_p < 1:
        total = math.fsum(weights[token] for token in kept)
        kept = cut(best_first(kept), weights.__getitem__, top_p * total)
    if min_p > 0:
        kept = {token for token in kept if weights[token] >= min_p}
    if typical_p < 1:
        total = math.fsum(weights[token] for token in kept)
        surprise = {token: math.log(total) - (logits[token] - max(logits)) / temperature for token in kept}
        entropy = math.fsum(weights[token] / total * surprise[token] for token in kept)
        by_distance = sorted(kept, key=lambda token: (abs(surprise[token] - entropy), token))
        kept = cut(by_distance, weights.__getitem__, typical_p * total)
    return kept


def distribution(logits: Sequence[float], temperature: float = 1.0, **rules: float) -> list[float]:
    """The probability of every token under the rules."""
    kept = keep_set(logits, temperature, **rules)  # type: ignore[arg-type]
    weights = weights_of(logits, temperature or 1.0)
    total = math.fsum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(len(logits))]


def draw(probabilities: Sequence[float], seed: int, position: int, purpose: int = rng.SAMPLE) -> int:
    """The winner of the race: the token with the smallest waiting time divided by its probability."""
    runners = [token for token, p in enumerate(probabilities) if p > 0]
    return min(runners, key=lambda token: rng.exponential(seed, position, token, purpose) / probabilities[token])

"""Adaptive weighted rejection sampling with the recursive estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from tokenloom.reference import rng


def race_order(probs: Sequence[float], seed: int, position: int) -> list[int]:
    """All tokens with mass, in the order in which they arrive: a draw without replacement."""
    tokens = [token for token, p in enumerate(probs) if p > 0]
    return sorted(tokens, key=lambda token: rng.exponential(seed, position, token) / probs[token])


def recursive(probs: Sequence[float], order: Iterable[int], check: Callable[[int], bool]) -> tuple[int, float, int]:
    """Token, weight and number of checks; ``(-1, 0.0, n_checks)`` where nothing is allowed.

    Args:
        probs: masses of the tokens.
        order: tokens in the order of a draw without replacement.
        check: whether a token is allowed.
    """
    unseen = [token for token in order if probs[token] > 0]
    n_checks = 0
    while unseen:
        token = unseen.pop(0)
        n_checks += 1
        if not check(token):
            continue
        if not unseen:
            return token, probs[token], n_checks
        # What the next token says about the rest, times the mass of the rest, is an unbiased guess of its allowed mass.
        rest = math.fsum(probs[other] for other in unseen)
        return token, probs[token] + rest * check(unseen[0]), n_checks + 1
    return -1, 0.0, n_checks

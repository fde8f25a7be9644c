"""Sequential Monte Carlo over tokens, with all chance passed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

Text: TypeAlias = tuple[int, ...]
Law: TypeAlias = Callable[[Text], Sequence[float]]
Draw: TypeAlias = Callable[[Text, int, int], tuple[int, float]]
Resample: TypeAlias = Callable[[list[float], int], list[int]]


def smc(draw: Draw, resample: Resample, n: int, ess: float, n_steps: int, end: int) -> list[tuple[Text, float]]:
    """Texts and weights of ``n`` particles.

    Args:
        draw: ``draw(text, step, particle)`` gives a token and its weight; weight 0 ends the particle.
        resample: ``resample(weights, step)`` gives ancestors.
        n: how many particles.
        ess: resample below this share of effective particles.
        n_steps: most tokens.
        end: the token that ends a text.
    """
    texts: list[Text] = [()] * n
    weights = [1.0] * n
    for step in range(n_steps):
        for i, text in enumerate(texts):
            if weights[i] > 0 and text[-1:] != (end,):
                token, weight = draw(text, step, i)
                weights[i] *= weight
                texts[i] = (*text, token) if weight > 0 else text
        is_running = [w > 0 and text[-1:] != (end,) for w, text in zip(weights, texts, strict=True)]
        if not any(is_running):
            break
        effective = math.fsum(weights) ** 2 / math.fsum(w * w for w in weights)
        if effective < ess * n:
            texts = [texts[a] for a in resample(weights, step)]
            weights = [math.fsum(weights) / n] * n
    return list(zip(texts, weights, strict=True))

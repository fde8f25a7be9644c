"""Rules that need the decoding loop: cautious trials, soft tokens, guided laws, orders of unmasking."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

Law = Sequence[float]


def entropy(law: Law) -> float:
    """In nats."""
    return -math.fsum(p * math.log(p) for p in law if p > 0)


def n_trials(
    uncertainty: float, least: float = 0.01, most: float = 1.5, n_most: int = 10, counting: str = "paper"
) -> int:
    """How many trials cautious decoding makes where the next token has this entropy."""
    share = (uncertainty - least) / (most - least)
    if counting == "paper":
        return max(1, min(n_most, math.floor(share * n_most)))
    return int(1 + (n_most - 1) * min(max(share, 0.0), 1.0))


def cautious(
    law: Callable[[tuple[int, ...]], Law],
    draw: Callable[[Law, int, int], int],
    text: tuple[int, ...],
    stops: Collection[int],
    ends: Collection[int],
    n_tokens: int,
    trials: Callable[[float], int] = n_trials,
) -> tuple[int, ...]:
    """A text in which every uncertain stretch is the most probable per token of several trials.

    Args:
        law: the next token's probabilities after a text.
        draw: ``draw(law, position, trial)``.
        text: where to begin.
        stops: tokens after which trials are compared.
        ends: tokens that end the text.
        n_tokens: most tokens.
        trials: how many, by the entropy of the next token.
    """
    goal = len(text) + n_tokens
    while len(text) < goal and text[-1] not in ends:
        n = trials(entropy(law(text)))
        best = (math.inf, text)
        for trial in range(n):
            path = text
            loss: list[float] = []
            while not loss or (n > 1 and len(path) < goal and path[-1] not in {*stops, *ends}):
                here = law(path)
                token = draw(here, len(path), trial)
                loss.append(-math.log(here[token]))
                path = (*path, token)
            best = min(best, (math.fsum(loss) / len(loss), path), key=lambda one: one[0])
        text = best[1]
    return text


def soft_token(
    law: Law, top_k: int = 30, top_p: float = 0.95, min_p: float = 0.001, n_kept: int = 10
) -> dict[int, float]:
    """The tokens that are mixed into the next input, with their weights; the likeliest first."""
    order = sorted(range(len(law)), key=lambda token: (-law[token], token))[:top_k]
    total, before = math.fsum(law[token] for token in order), 0.0
    kept: list[int] = []
    for token in order:
        if before >= top_p * total and kept:
            break
        kept.append(token)
        before += law[token]
    kept = [token for token in kept if law[token] >= min_p * law[order[0]]][:n_kept]
    total = math.fsum(law[token] for token in kept)
    return {token: law[token] / total for token in kept}


def soft_thinking(
    law: Callable[[list[dict[int, float]]], Law],
    draw: Callable[[list[dict[int, float]]], int],
    text: Sequence[int],
    end_of_thinking: int,
    ends: Collection[int],
    n_soft: int,
    n_tokens: int,
    cold_entropy: float = 0.01,
    cold_steps: int = 256,
) -> tuple[list[int], list[int]]:
    """The tokens that a soft thought shows, and the answer behind it.

    Args:
        law: the next token's probabilities behind mixtures, at the temperature of the thought.
        draw: a token of the answer.
        text: where to begin.
        end_of_thinking: the token that closes a thought.
        ends: tokens that end the text.
        n_soft: most soft steps.
        n_tokens: most tokens of the answer.
        cold_entropy: a step below it is certain.
        cold_steps: so many certain steps in a row close the thought.
    """
    path = [{token: 1.0} for token in text]
    shown: list[int] = []
    n_certain = 0
    while len(shown) < n_soft:
        here = law(path)
        mixture = soft_token(here)
        best = next(iter(mixture))
        n_certain = n_certain + 1 if entropy(here) < cold_entropy else 0
        if best == end_of_thinking:
            break
        if best in ends:
            return shown, []
        if n_certain >= cold_steps:
            break
        shown.append(best)
        path.append(mixture)
    path.append({end_of_thinking: 1.0})
    answer: list[int] = []
    while len(answer) < n_tokens and not (answer and answer[-1] in ends):
        answer.append(draw(path))
        path.append({answer[-1]: 1.0})
    return shown, answer


def guided(with_condition: Law, without: Law, scale: float) -> list[float]:
    """Classifier-free guidance: ``l_u + g (l_c - l_u)``, renormalised; log-probabilities in, probabilities out."""
    scores = [
        u + scale * (c - u) if c > -math.inf and u > -math.inf else -math.inf
        for c, u in zip(with_condition, without, strict=True)
    ]
    return _softmax(scores)


def contrastive(expert: Law, amateur: Law, alpha: float = 0.1, beta: float = 0.5) -> list[float]:
    """Contrastive decoding: ``(1 + b) l_e - b l_a`` where ``p_e >= alpha max p_e``."""
    floor = max(expert) + math.log(alpha)
    scores = [
        (1 + beta) * e - beta * a if e >= floor and a > -math.inf else -math.inf
        for e, a in zip(expert, amateur, strict=True)
    ]
    return _softmax(scores)


def _softmax(scores: Sequence[float]) -> list[float]:
    best = max(scores)
    weights = [math.exp(score - best) if score > -math.inf else 0.0 for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def unmask(
    laws: Callable[[list[int]], list[Law]],
    ids: Sequence[int],
    mask: int,
    order: str = "confidence",
    block: int | None = None,
    n_together: int = 1,
) -> list[int]:
    """Fill every masked place, the most certain ones first, each with its likeliest token.

    Args:
        laws: the probabilities at every place of a sequence.
        ids: the sequence.
        mask: the id that stands for an open place.
        order: ``"left"``, ``"confidence"`` (greatest probability), ``"margin"`` (over the second) or ``"entropy"``.
        block: open places of one block after another are filled, ``block`` places a block.
        n_together: places filled in one step.
    """
    found = list(ids)
    while mask in found:
        open_places = [at for at, token in enumerate(found) if token == mask]
        if block:
            open_places = [at for at in open_places if at // block == open_places[0] // block]
        rows = laws(found)

        def certainty(at: int, rows: list[Law] = rows) -> float:
            two = sorted((p for token, p in enumerate(rows[at]) if token != mask), reverse=True)[:2]
            return {"left": 0.0, "confidence": two[0], "margin": two[0] - two[1], "entropy": -entropy(rows[at])}[order]

        for at in sorted(open_places, key=lambda at: (-certainty(at), at))[:n_together]:
            found[at] = max(
                (token for token in range(len(rows[at])) if token != mask), key=lambda token: rows[at][token]
            )
    return found


def insert(
    laws: Callable[[list[int]], list[Law]], ids: Sequence[int], mask: int, n_new: int, first: int, order: str
) -> list[int]:
    """The most certain of the gaps from ``first`` on takes its likeliest token, ``n_new`` times."""
    found = list(ids)
    for _ in range(n_new):
        scored = []
        for gap in range(first, len(found) + 1):
            row = laws([*found[:gap], mask, *found[gap:]])[gap]
            one, two, *_ = sorted((p for token, p in enumerate(row) if token != mask), reverse=True)
            scored.append(({"confidence": one, "margin": one - two, "entropy": -entropy(row)}[order], -gap, row))
        _, gap, row = max(scored, key=lambda found: found[:2])
        best = max((token for token in range(len(row)) if token != mask), key=lambda token: row[token])
        found.insert(-gap, best)
    return found

"""Twin of ``tokenloom.control``: regular expressions by derivatives, draws by checks, capped probabilities.

The derivative of a language by a character holds what may follow that character. A text may go on where its derivative
is not empty, and may end where its derivative holds the empty text. So a token is allowed if the derivative by its
characters is not empty: no automaton is needed (Brzozowski, 1964).

Patterns have literals, classes, groups, alternatives and the repeats ``? * + {m} {m,n}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["allowed_tokens", "cap_probs", "derive", "draw_checked", "is_complete", "parse"]

Language = tuple[Any, ...]
"""``("none",)``, ``("empty",)``, ``("char", pattern)``, ``("cat", a, b)``, ``("or", a, b)`` or ``("star", a)``."""

NONE: Language = ("none",)
EMPTY: Language = ("empty",)


def cat(a: Language, b: Language) -> Language:
    """Texts of ``a``, each followed by a text of ``b``."""
    if NONE in (a, b):
        return NONE
    return b if a == EMPTY else a if b == EMPTY else ("cat", a, b)


def either(a: Language, b: Language) -> Language:
    """Texts of ``a`` or of ``b``."""
    return b if a in (NONE, b) else a if b == NONE else ("or", a, b)


def parse(pattern: str) -> Language:
    """The language of a pattern."""
    language, rest = _alternatives(pattern)
    if rest:
        raise ValueError(f"unexpected {rest!r}")
    return language


def _alternatives(rest: str) -> tuple[Language, str]:
    language, rest = _sequence(rest)
    while rest.startswith("|"):
        other, rest = _sequence(rest[1:])
        language = either(language, other)
    return language, rest


def _sequence(rest: str) -> tuple[Language, str]:
    language = EMPTY
    while rest and rest[0] not in "|)":
        if rest[0] == "(":
            atom, rest = _alternatives(rest[1:])
            rest = rest[1:]
        else:
            length = len(re.match(r"\[\^?\]?[^\]]*\]|\\.|.", rest, re.DOTALL)[0])  # type: ignore[index]
            atom, rest = ("char", rest[:length]), rest[length:]
        atom, rest = _repeated(atom, rest)
        language = cat(language, atom)
    return language, rest


def _repeated(atom: Language, rest: str) -> tuple[Language, str]:
    found = re.match(r"[?*+]|\{(\d+)(,?)(\d*)\}", rest)
    if found is None:
        return atom, rest
    least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(found[0], (None, None))
    if least is None:
        least = int(found[1])
        most = int(found[3]) if found[3] else None if found[2] else least
    language: Language = ("star", atom) if most is None else EMPTY
    for _ in range(0 if most is None else most - least):
        language = either(EMPTY, cat(atom, language))
    for _ in range(least):
        language = cat(atom, language)
    return language, rest[found.end() :]


def is_complete(language: Language) -> bool:
    """Whether the empty text belongs to the language."""
    match language:
        case ("empty",) | ("star", _):
            return True
        case ("cat", a, b):
            return is_complete(a) and is_complete(b)
        case ("or", a, b):
            return is_complete(a) or is_complete(b)
    return False


def derive(language: Language, text: str) -> Language:
    """What may follow ``text``."""
    for char in text:
        language = _derive(language, char)
    return language


def _derive(language: Language, char: str) -> Language:
    match language:
        case ("char", pattern):
            return EMPTY if re.fullmatch(pattern, char) else NONE
        case ("cat", a, b):
            after = cat(_derive(a, char), b)
            return either(after, _derive(b, char)) if is_complete(a) else after
        case ("or", a, b):
            return either(_derive(a, char), _derive(b, char))
        case ("star", a):
            return cat(_derive(a, char), language)
    return NONE


def allowed_tokens(language: Language, tokens: Mapping[int, str]) -> set[int]:
    """The tokens that may follow where ``language`` is what may follow; the end is not among them."""
    return {id for id, token in tokens.items() if derive(language, token) != NONE}


def draw_checked(
    logits: Sequence[float], waits: Sequence[float], check: Callable[[int], bool]
) -> tuple[int | None, list[int]]:
    """The token of a constrained race, and the tokens that were checked, in order.

    Args:
        logits: of all tokens.
        waits: the exponential waiting time of each token: it arrives after ``wait / exp(logit)``.
        check: whether a token is allowed.
    """
    asked: dict[int, bool] = {}

    def first(order: list[int]) -> int | None:
        for token in order:
            if token not in asked:
                asked[token] = check(token)
            if asked[token]:
                return token
        return None

    tokens = [token for token, logit in enumerate(logits) if logit > -math.inf]
    best = first(sorted(tokens, key=lambda token: (-logits[token], token)))
    if best is None:
        return None, list(asked)
    # Better tokens are known to be refused; the others race at the scale of the best allowed one.
    runners = [token for token in tokens if logits[token] <= logits[best]]
    arrival = {token: waits[token] / math.exp(logits[token] - logits[best]) for token in runners}
    return first(sorted(runners, key=lambda token: (arrival[token], token))), list(asked)


def cap_probs(probs: Sequence[float], caps: Sequence[float]) -> list[float]:
    """The distribution ``min(s p, cap)`` that sums to one; the caps alone, renormalised, where they hold less."""
    room = math.fsum(cap for p, cap in zip(probs, caps, strict=True) if p > 0)
    if room <= 1:
        return [cap / room if p > 0 else 0.0 for p, cap in zip(probs, caps, strict=True)]
    low, high = 0.0, 1.0

    def filled(s: float) -> list[float]:
        return [min(s * p, cap) for p, cap in zip(probs, caps, strict=True)]

    while math.fsum(filled(high)) < 1:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.fsum(filled(middle)) < 1 else (low, middle)
    return filled(high)

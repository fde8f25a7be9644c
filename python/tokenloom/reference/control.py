"""Twin of the grammars of ``tokenloom.control``: regular expressions by derivatives.

The derivative of a language by a character holds what may follow that character. A text may go on where its derivative
is not empty, and may end where its derivative holds the empty text. So a token is allowed if the derivative by its
characters is not empty: no automaton is needed (Brzozowski, 1964).

Patterns have literals, classes, groups, alternatives and the repeats ``? * + {m} {m,n}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["allowed_tokens", "derive", "is_complete", "parse"]

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

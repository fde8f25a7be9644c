"""Is an argument of the type that ``tokenizers`` takes there?

Its compiled functions refuse what is of another type: ``1`` is no bool, ``None`` no string, ``2.5`` no count.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np


def flag(value: Any) -> bool:
    """A bool, of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"expected a bool, found {type(value).__name__}")
    return bool(value)


def text(value: Any) -> str:
    """A string that is Unicode: a lone surrogate is a ``UnicodeEncodeError``."""
    if not isinstance(value, str):
        raise TypeError(f"expected a str, found {type(value).__name__}")
    value.encode()
    return str(value)


def count(value: Any) -> int:
    """A whole number that is not negative, below 2^64.

    Raises:
        TypeError: It is no whole number.
        OverflowError: It is out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"expected an int, found {type(value).__name__}") from None
    if not 0 <= number < 1 << 64:
        raise OverflowError(f"expected a count from 0 to 2^64 - 1, found {number}")
    return number


def token_id(value: Any) -> int:
    """A whole number that fits in 32 bits; see :func:`count`."""
    number = count(value)
    if number >= 1 << 32:
        raise OverflowError(f"expected an id below 2^32, found {number}")
    return number


def real(value: Any) -> float:
    """A number."""
    if isinstance(value, str | bytes):
        raise TypeError(f"expected a number, found {type(value).__name__}")
    return float(value)


def strings(value: Any) -> list[str]:
    """Strings one after another, in anything that has elements by number but a string."""
    if isinstance(value, str | bytes | dict) or not hasattr(type(value), "__getitem__"):
        raise TypeError(f"expected a list of str, found {type(value).__name__}")
    return list(value)


def ids_by_token(vocab: Any) -> dict[str, int]:
    """The vocabulary of a model.

    Raises:
        TypeError: It is no dict of strings and ids.
    """
    if not isinstance(vocab, dict):
        raise TypeError(f"expected a dict of tokens and ids, found {type(vocab).__name__}")
    try:
        return {text(token): token_id(id) for token, id in vocab.items()}
    except (OverflowError, UnicodeEncodeError) as error:
        raise TypeError(str(error)) from None


def unknown(options: Mapping[str, Any]) -> None:
    """Say of options that they are not known; the peer prints it."""
    for name in options:
        warnings.warn(f"option {name} is not known and has no effect", stacklevel=3)

"""The rules of segmentation, one line each where a line will do."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["digits_from_right", "fixed", "rows", "space_byte", "whitespace"]


def whitespace(text: str) -> list[str]:
    """Other characters and the white space behind them; white space at the start by itself.

    >>> whitespace("  a b  c")
    ['  ', 'a ', 'b  ', 'c']
    """
    space = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"
    other = "[^" + space[1:]
    return re.findall(f"{other}+{space}*|{space}+", text)


def space_byte(data: bytes) -> list[bytes]:
    """Bytes up to the first of a run of bytes that are no letter, digit or continuation of a character.

    >>> space_byte(b"ab, cd")
    [b'ab,', b' cd']
    """
    like = [not (48 <= byte < 58 or 65 <= byte < 91 or 97 <= byte < 123 or 128 <= byte < 192) for byte in data]
    ends = [at + 1 for at in range(len(data)) if (like[at] and not (at and like[at - 1])) or at + 1 == len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def fixed(data: bytes, size: int) -> list[bytes]:
    """So many bytes each.

    >>> fixed(b"abcde", 2)
    [b'ab', b'cd', b'e']
    """
    return [data[at : at + size] for at in range(0, len(data), size)]


def digits_from_right(digits: str) -> list[str]:
    """Threes counted from the right.

    >>> digits_from_right("1234567")
    ['1', '234', '567']
    """
    first = (len(digits) - 1) % 3 + 1
    return [digits[:first]] + [digits[at : at + 3] for at in range(first, len(digits), 3)]


def rows(docs: Sequence[Sequence[bytes]], max_bytes: int, across_docs: bool) -> list[list[bytes]]:
    """Whole words laid into rows in order, as many as fit.

    >>> rows([[b"ab", b"c"], [b"d"]], 2, across_docs=True)
    [[b'ab'], [b'c', b'd']]
    """
    laid: list[list[bytes]] = []
    for words in docs:
        for at, word in enumerate(words):
            starts = not laid or (at == 0 and not across_docs) or sum(map(len, laid[-1])) + len(word) > max_bytes
            if starts:
                laid.append([])
            laid[-1].append(word)
    return laid

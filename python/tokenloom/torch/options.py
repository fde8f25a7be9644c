"""Which options of a generation make sense?

One answer for every way into the loop, before anything is read or drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenloom.errors import ArrayError

__all__ = ["check_count", "check_word"]


def check_word(found: Any, known: tuple[str, ...], name: str) -> None:
    """Raises ``ArrayError`` where an option is none of the words that it may be."""
    if found not in known:
        raise ArrayError(f"expected {name} {', '.join(map(repr, known))}, found {found!r}", argument=name, found=found)


def check_count(found: Any, least: int, name: str) -> None:
    """Raises ``ArrayError`` where an option is no integer of at least ``least``."""
    if not isinstance(found, (int, np.integer)) or found < least:
        raise ArrayError(
            f"expected {name} as an integer of at least {least}, found {found!r}", argument=name, found=found
        )

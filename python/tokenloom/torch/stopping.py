"""Where does a text that grows piece by piece hit one of its stop strings?

Only the last characters that could still begin a stop string are held back, so what is released is final and a stop
string is found even where it spans tokens. Time per piece is linear in the piece and the stop strings' lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StoppingText"]


class StoppingText:
    """Text that ends before the first stop string.

    >>> text = StoppingText(["END"])
    >>> [text.push(piece) for piece in ("one E", "N", "T E", "ND two")]
    ['one ', '', 'ENT ', '']
    >>> text.stopped, text.text
    (True, 'one ENT ')
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [string for string in stop if string]
        self._released: list[str] = []
        self._held = ""
        self.stopped = False

    @property
    def text(self) -> str:
        """Everything released so far."""
        return "".join(self._released)

    def push(self, piece: str) -> str:
        """Add a piece; returns what has become final. Nothing is added once a stop string was found."""
        if self.stopped:
            return ""
        window = self._held + piece
        places = [at for string in self._stop if (at := window.find(string)) >= 0]
        if places:
            self.stopped = True
            self._held = ""
            return self._release(window[: min(places)])
        n_held = max((_overlap(window, string) for string in self._stop), default=0)
        self._held = window[len(window) - n_held :]
        return self._release(window[: len(window) - n_held])

    def flush(self) -> str:
        """The text ends here: release what was held back."""
        held, self._held = self._held, ""
        return self._release(held)

    def _release(self, piece: str) -> str:
        if piece:
            self._released.append(piece)
        return piece


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of ``text`` that is a proper beginning of ``string``."""
    longest = min(len(text), len(string) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)

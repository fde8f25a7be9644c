"""What do generated tokens become, as text that is streamed and stopped?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tokenloom.torch.heal import Overhang
from tokenloom.torch.stopping import StoppingText

__all__ = ["Writing"]


class Writing:
    """The text of one continuation.

    Args:
        tokenizer: a :class:`tokenloom.Tokenizer`.
        stop: strings before which the text is cut.
        on_text: called with every final piece of text, or None.
        overhang: the text that a healed prompt's tokens spell beyond the prompt, or None.
    """

    def __init__(
        self,
        tokenizer: Any,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
        overhang: Overhang | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._decoder = tokenizer.decode_stream() if overhang is None else overhang.decoder
        self._text = StoppingText(stop)
        if overhang is not None:
            self._emit(self._text.push(overhang.text))

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return self._text.stopped

    def push(self, token: int) -> None:
        """The text goes on with ``token``."""
        self._emit(self._text.push(self._decoder.push(token)))

    def finish(self) -> str:
        """The text ends here: release what was held back, and return all of it."""
        if not self._text.stopped:
            self._emit(self._text.push(self._decoder.flush()))
            self._emit(self._text.flush())
        return self._text.text

    def spell(self, ids: Sequence[int]) -> bytes:
        """The bytes of tokens, for messages."""
        return bytes(self._tokenizer.decode_bytes(ids))

    def _emit(self, piece: str) -> None:
        if piece and self._on_text is not None:
            self._on_text(piece)

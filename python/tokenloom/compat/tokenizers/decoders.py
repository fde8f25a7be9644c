"""Which decoders are there? The classes of ``tokenizers.decoders``, with its arguments and attributes."""

from __future__ import annotations

from collections.abc import Sequence as _Sequence
from typing import TYPE_CHECKING, Any

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers._argument import count, flag, strings, text
from tokenloom.compat.tokenizers._component import Field, Part, PartList, Written, one_char, pattern_of
from tokenloom.compat.tokenizers.pre_tokenizers import _scheme
from tokenloom.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from tokenloom.compat.tokenizers import Tokenizer

__all__ = [
    "CTC",
    "BPEDecoder",
    "ByteFallback",
    "ByteLevel",
    "DecodeStream",
    "Decoder",
    "Fuse",
    "Metaspace",
    "Replace",
    "Sequence",
    "Strip",
    "WordPiece",
]


class Decoder(Part):
    """Turns token strings into a text."""

    _role = "decoder"

    @staticmethod
    def custom(decoder: Any) -> Any:
        """The decoder whose work ``decoder.decode_chain(tokens)`` does. It cannot be part of a sequence."""
        return _Written.__new__(_Written)._wrap(decoder)

    def decode(self, tokens: _Sequence[str]) -> str:
        """The text of token strings."""
        return _core.decode_tokens(self.__getstate__(), strings(tokens))


class _Written(Written, Decoder):
    def decode(self, tokens: _Sequence[str]) -> str:
        return "".join(self._written.decode_chain(list(tokens)))


class BPEDecoder(Decoder):
    """The suffix marks the end of a word."""

    _json_type = "BPEDecoder"
    suffix = Field(text)

    def __init__(self, suffix: str = "</w>") -> None:
        self._set(suffix=suffix)


class ByteLevel(Decoder):
    """GPT-2's byte characters become bytes."""

    _json_type = "ByteLevel"

    def __init__(self, **_options: Any) -> None:
        self._set(add_prefix_space=True, trim_offsets=True, use_regex=True)


class ByteFallback(Decoder):
    """``<0x41>`` becomes a byte."""

    _json_type = "ByteFallback"

    def __init__(self) -> None:
        self._set()


class Fuse(Decoder):
    """Joins all strings."""

    _json_type = "Fuse"

    def __init__(self) -> None:
        self._set()


class WordPiece(Decoder):
    """The prefix marks the inside of a word."""

    _json_type = "WordPiece"
    prefix = Field(text)
    cleanup = Field(flag)

    def __init__(self, prefix: str = "##", cleanup: bool = True) -> None:
        self._set(prefix=prefix, cleanup=cleanup)


class Metaspace(Decoder):
    """The replacement becomes a space."""

    _json_type = "Metaspace"
    replacement = Field(one_char)
    prepend_scheme = Field(_scheme)
    split = Field(flag)

    def __init__(self, replacement: str = "▁", prepend_scheme: str = "always", split: bool = True) -> None:
        self._set(replacement=one_char(replacement), prepend_scheme=_scheme(prepend_scheme), split=split)


class CTC(Decoder):
    """Connectionist temporal classification: repeats and padding go."""

    _json_type = "CTC"
    pad_token = Field(text)
    word_delimiter_token = Field(text)
    cleanup = Field(flag)

    def __init__(self, pad_token: str = "<pad>", word_delimiter_token: str = "|", cleanup: bool = True) -> None:
        self._set(pad_token=pad_token, word_delimiter_token=word_delimiter_token, cleanup=cleanup)


class Replace(Decoder):
    """Replaces each match of a string or :class:`Regex`."""

    _json_type = "Replace"

    def __init__(self, pattern: Any, content: str) -> None:
        self._set(pattern=pattern_of(pattern), content=text(content))


class Strip(Decoder):
    """Removes up to so many of a character at the ends."""

    _json_type = "Strip"
    content = Field(one_char)
    start = Field(count)
    stop = Field(count)

    def __init__(self, content: str = " ", left: int = 0, right: int = 0) -> None:
        self._set(content=one_char(content), start=left, stop=right)


class Sequence(PartList, Decoder):
    """One decoder after another."""

    _json_type = "Sequence"
    _list_name = "decoders"
    _role_class = Decoder

    def __init__(self, decoders: list[Any]) -> None:
        self._hold(decoders)
        if self._is_written:
            raise UnsupportedFeatureError("a custom decoder cannot be part of a sequence")


class DecodeStream:
    """Text of ids that come one after another.

    Args:
        ids: Ids that were seen before; their text is not given again.
        skip_special_tokens: Leave special tokens out.

    A piece is given once it ends with a whole character. Decoders that change what they gave before make ``tokenizers``
    raise; here the text behind the common start is given.
    """

    def __init__(self, ids: _Sequence[int] | None = None, skip_special_tokens: bool | None = False) -> None:
        self._ids = list(ids or ())
        self._skip = bool(skip_special_tokens)
        self._prefix = ""
        self._n_prefix = 0

    def step(self, tokenizer: Tokenizer, id: int | _Sequence[int]) -> str | None:
        """The text that became whole, if any."""

        def decode(ids: list[int]) -> str:
            return tokenizer.decode(ids, skip_special_tokens=self._skip)

        if not self._prefix and self._ids:
            known = decode(self._ids)
            if not known.endswith("�"):
                self._prefix, self._n_prefix = known, len(self._ids)
        self._ids += [id] if isinstance(id, int) else list(id)
        text = decode(self._ids)
        if len(text.encode()) <= len(self._prefix.encode()) or text.endswith("�"):
            return None
        n_same = next(
            (place for place, (old, new) in enumerate(zip(self._prefix, text, strict=False)) if old != new),
            len(self._prefix),
        )
        n_new = len(self._ids) - self._n_prefix
        self._ids = self._ids[self._n_prefix :]
        self._prefix = decode(self._ids)
        self._n_prefix = n_new
        return text[n_same:]

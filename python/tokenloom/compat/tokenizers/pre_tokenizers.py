"""Which pretokenizers are there? The classes of ``tokenizers.pre_tokenizers``, with its arguments and attributes."""

from __future__ import annotations

from typing import Any

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers._argument import count, flag, text
from tokenloom.compat.tokenizers._component import Field, Part, PartList, Written, behavior_of, one_char, pattern_of
from tokenloom.compat.tokenizers._texts import PreTokenizedString

__all__ = [
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Digits",
    "FixedLength",
    "Metaspace",
    "PreTokenizer",
    "Punctuation",
    "Sequence",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
]


class PreTokenizer(Part):
    """Cuts a text into words."""

    _role = "pre_tokenizer"

    @staticmethod
    def custom(pretok: Any) -> Any:
        """The pretokenizer whose work ``pretok.pre_tokenize(pretok: PreTokenizedString)`` does."""
        return _Written.__new__(_Written)._wrap(pretok)

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cut the parts of a text, in place."""
        pretok._apply(self.__getstate__())

    def pre_tokenize_str(self, s: str) -> list[tuple[str, tuple[int, int]]]:
        """The words of a text and what they stand for, in characters."""
        if self._is_written:
            text = PreTokenizedString(s)
            self.pre_tokenize(text)
            return [(word, offsets) for word, offsets, _ in text.get_splits()]
        return _core.pre_tokenize(self.__getstate__(), s)


class _Written(Written, PreTokenizer):
    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        self._written.pre_tokenize(pretok)


class _Plain(PreTokenizer):
    def __init__(self) -> None:
        self._set()


class BertPreTokenizer(_Plain):
    """BERT's: white space removed, punctuation alone."""

    _json_type = "BertPreTokenizer"


class Whitespace(_Plain):
    r"""The matches of ``\w+|[^\w\s]+``."""

    _json_type = "Whitespace"


class WhitespaceSplit(_Plain):
    """Cuts at, and without, white space."""

    _json_type = "WhitespaceSplit"


class UnicodeScripts(_Plain):
    """Cuts where the script changes."""

    _json_type = "UnicodeScripts"


class ByteLevel(PreTokenizer):
    """GPT-2's byte characters, optionally behind its pattern."""

    _json_type = "ByteLevel"
    add_prefix_space = Field(flag)
    trim_offsets = Field(flag)
    use_regex = Field(flag)

    def __init__(
        self, add_prefix_space: bool = True, trim_offsets: bool = True, use_regex: bool = True, **_options: Any
    ) -> None:
        self._set(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets, use_regex=use_regex)

    @staticmethod
    def alphabet() -> list[str]:
        """The 256 byte characters."""
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        return [chr(code) for code in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]


class CharDelimiterSplit(PreTokenizer):
    """Cuts at, and without, a character."""

    _json_type = "CharDelimiterSplit"
    delimiter = Field(one_char)

    def __init__(self, delimiter: str) -> None:
        self._set(delimiter=one_char(delimiter))


class Digits(PreTokenizer):
    """Cuts at numeric characters."""

    _json_type = "Digits"
    individual_digits = Field(flag)

    def __init__(self, individual_digits: bool = False) -> None:
        self._set(individual_digits=individual_digits)


class FixedLength(PreTokenizer):
    """Pieces of so many characters."""

    _json_type = "FixedLength"
    length = Field(count)

    def __init__(self, length: int = 5) -> None:
        self._set(length=length)


def _scheme(name: Any) -> str:
    if text(name) not in ("first", "never", "always"):
        raise ValueError(f"expected prepend_scheme to be one of first, never, always, found {name!r}")
    return str(name)


class Metaspace(PreTokenizer):
    """Spaces become ``replacement``, which starts the pieces."""

    _json_type = "Metaspace"
    replacement = Field(one_char)
    prepend_scheme = Field(_scheme)
    split = Field(flag)

    def __init__(self, replacement: str = "▁", prepend_scheme: str = "always", split: bool = True) -> None:
        self._set(replacement=one_char(replacement), prepend_scheme=_scheme(prepend_scheme), split=split)


class _Behavior(Field[str]):
    """Read without underscores, as in ``tokenizers``; written with them."""

    def __init__(self) -> None:
        super().__init__(behavior_of)

    def __get__(self, part: Part | None, owner: type) -> Any:
        return self if part is None else str(part._fields["behavior"]).lower()


class Punctuation(PreTokenizer):
    """Cuts at punctuation."""

    _json_type = "Punctuation"
    behavior = _Behavior()

    def __init__(self, behavior: str = "isolated") -> None:
        self._set(behavior=behavior_of(behavior))


class Split(PreTokenizer):
    """Cuts at the matches of a string or :class:`Regex`."""

    _json_type = "Split"
    pattern = Field(pattern_of)
    behavior = _Behavior()
    invert = Field(flag)

    def __init__(self, pattern: Any, behavior: str, invert: bool = False) -> None:
        self._set(pattern=pattern_of(pattern), behavior=behavior_of(behavior), invert=invert)


class Sequence(PartList, PreTokenizer):
    """One pretokenizer after another."""

    _json_type = "Sequence"
    _list_name = "pretokenizers"
    _role_class = PreTokenizer

    def __init__(self, pre_tokenizers: list[Any]) -> None:
        self._hold(pre_tokenizers)

    def pre_tokenize(self, pretok: PreTokenizedString) -> None:
        """Cut the parts of a text, in place."""
        for part in self._items:
            assert isinstance(part, PreTokenizer)
            part.pre_tokenize(pretok)

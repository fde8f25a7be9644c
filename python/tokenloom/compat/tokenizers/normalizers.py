"""Which normalizers are there? The classes of ``tokenizers.normalizers``, with its arguments and attributes."""

from __future__ import annotations

import base64
from typing import Any

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers._argument import flag, text
from tokenloom.compat.tokenizers._component import Field, Part, PartList, Written, pattern_of
from tokenloom.compat.tokenizers._texts import NormalizedString

__all__ = [
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "NORMALIZERS",
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "Nmt",
    "Normalizer",
    "Precompiled",
    "Prepend",
    "Replace",
    "Sequence",
    "Strip",
    "StripAccents",
    "unicode_normalizer_from_str",
]


class Normalizer(Part):
    """Changes a text before it is cut."""

    _role = "normalizer"

    @staticmethod
    def custom(obj: Any) -> Any:
        """The normalizer whose work ``obj.normalize(normalized: NormalizedString)`` does."""
        return _Written.__new__(_Written)._wrap(obj)

    def normalize(self, normalized: NormalizedString) -> None:
        """Change a text in place."""
        normalized._apply(self.__getstate__())

    def normalize_str(self, sequence: str) -> str:
        """The normalized text."""
        if self._is_written:
            text = NormalizedString(sequence)
            self.normalize(text)
            return text.normalized
        return _core.normalize(self.__getstate__(), sequence)


class _Written(Written, Normalizer):
    def normalize(self, normalized: NormalizedString) -> None:
        self._written.normalize(normalized)


def _strip_accents(value: Any) -> bool | None:
    return None if value is None else flag(value)


class BertNormalizer(Normalizer):
    """BERT's cleaning, spacing of Chinese characters, accents and case."""

    _json_type = "BertNormalizer"
    clean_text = Field(flag)
    handle_chinese_chars = Field(flag)
    strip_accents = Field(_strip_accents)
    lowercase = Field(flag)

    def __init__(
        self,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
    ) -> None:
        self._set(
            clean_text=clean_text,
            handle_chinese_chars=handle_chinese_chars,
            strip_accents=_strip_accents(strip_accents),
            lowercase=lowercase,
        )


class _Plain(Normalizer):
    def __init__(self) -> None:
        self._set()


class NFC(_Plain):
    """Canonical composition."""

    _json_type = "NFC"


class NFD(_Plain):
    """Canonical decomposition."""

    _json_type = "NFD"


class NFKC(_Plain):
    """Compatibility composition."""

    _json_type = "NFKC"


class NFKD(_Plain):
    """Compatibility decomposition."""

    _json_type = "NFKD"


class StripAccents(_Plain):
    """Removes combining marks."""

    _json_type = "StripAccents"


class Lowercase(_Plain):
    """Lower case."""

    _json_type = "Lowercase"


class Nmt(_Plain):
    """Removes control characters, turns separators into spaces."""

    _json_type = "Nmt"


class ByteLevel(_Plain):
    """Turns bytes into GPT-2's byte characters."""

    _json_type = "ByteLevel"


class Strip(Normalizer):
    """Removes white space at the ends."""

    _json_type = "Strip"
    left = Field(flag, "strip_left")
    right = Field(flag, "strip_right")

    def __init__(self, left: bool = True, right: bool = True) -> None:
        self._set(strip_left=left, strip_right=right)


class Prepend(Normalizer):
    """Puts a string before a text that is not empty."""

    _json_type = "Prepend"
    prepend = Field(text)

    def __init__(self, prepend: str = "▁") -> None:
        self._set(prepend=prepend)


class Replace(Normalizer):
    """Replaces each match of a string or :class:`Regex`."""

    _json_type = "Replace"
    pattern = Field(pattern_of)
    content = Field(text)

    def __init__(self, pattern: Any, content: str) -> None:
        self._set(pattern=pattern_of(pattern), content=content)


class Precompiled(Normalizer):
    """SentencePiece's precompiled map."""

    _json_type = "Precompiled"

    def __init__(self, precompiled_charsmap: bytes) -> None:
        self._set(precompiled_charsmap=base64.b64encode(bytes(precompiled_charsmap)).decode())


class Sequence(PartList, Normalizer):
    """One normalizer after another."""

    _json_type = "Sequence"
    _list_name = "normalizers"
    _role_class = Normalizer

    def __init__(self, normalizers: list[Any]) -> None:
        self._hold(normalizers)

    def normalize(self, normalized: NormalizedString) -> None:
        """Change a text in place."""
        for part in self._items:
            assert isinstance(part, Normalizer)
            part.normalize(normalized)


NORMALIZERS: dict[str, type[Normalizer]] = {"nfc": NFC, "nfd": NFD, "nfkc": NFKC, "nfkd": NFKD}
"""The Unicode normalizers by name."""


def unicode_normalizer_from_str(normalizer: str) -> Normalizer:
    """The Unicode normalizer of this name, such as ``"nfc"``."""
    if normalizer not in NORMALIZERS:
        raise ValueError(f"expected one of {', '.join(NORMALIZERS)}, found {normalizer!r}")
    return NORMALIZERS[normalizer]()

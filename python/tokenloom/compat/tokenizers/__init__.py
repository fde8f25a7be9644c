"""Hugging Face ``tokenizers`` 0.23 with another engine: change the import, keep the code.

``Tokenizer``, ``Encoding``, ``AddedToken``, ``Regex`` and the parts in ``models``, ``normalizers``, ``pre_tokenizers``,
``decoders``, ``processors``, ``trainers``, ``implementations`` and ``tools`` have the names, arguments, attributes and
results of that library. What is not there is an error that says so. See ``docs/concepts/compat.md``.

Example:
    >>> from tokenloom.compat.tokenizers import Tokenizer, models, pre_tokenizers
    >>> tok = Tokenizer(models.WordLevel({"hello": 0, "world": 1, "?": 2}, unk_token="?"))
    >>> tok.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> encoding = tok.encode("hello world")
    >>> encoding.ids, encoding.offsets
    ([0, 1], [(0, 5), (6, 11)])
"""

from __future__ import annotations

import importlib
from enum import Enum

from tokenloom._core.pipeline import Encoding
from tokenloom.compat.tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenloom.compat.tokenizers._added import AddedToken
from tokenloom.compat.tokenizers._component import Regex
from tokenloom.compat.tokenizers._texts import NormalizedString, PreTokenizedString
from tokenloom.compat.tokenizers._tokenizer import Tokenizer
from tokenloom.compat.tokenizers.models import Token

__all__ = [
    "AddedToken",
    "EncodeInput",
    "Encoding",
    "InputSequence",
    "NormalizedString",
    "OffsetReferential",
    "OffsetType",
    "Offsets",
    "PreTokenizedEncodeInput",
    "PreTokenizedInputSequence",
    "PreTokenizedString",
    "Regex",
    "SplitDelimiterBehavior",
    "TextEncodeInput",
    "TextInputSequence",
    "Token",
    "Tokenizer",
    "decoders",
    "models",
    "normalizers",
    "pre_tokenizers",
    "processors",
    "trainers",
]

__version__ = "0.23.3"
"""The version of ``tokenizers`` whose behaviour this is."""

Offsets = tuple[int, int]
"""Start and end in characters."""
TextInputSequence = str
PreTokenizedInputSequence = list[str] | tuple[str, ...]
TextEncodeInput = TextInputSequence | tuple[TextInputSequence, TextInputSequence] | list[TextInputSequence]
PreTokenizedEncodeInput = (
    PreTokenizedInputSequence
    | tuple[PreTokenizedInputSequence, PreTokenizedInputSequence]
    | list[PreTokenizedInputSequence]
)
InputSequence = TextInputSequence | PreTokenizedInputSequence
EncodeInput = TextEncodeInput | PreTokenizedEncodeInput


class OffsetReferential(Enum):
    """Which text offsets count in."""

    ORIGINAL = "original"
    NORMALIZED = "normalized"


class OffsetType(Enum):
    """What offsets count."""

    BYTE = "byte"
    CHAR = "char"


class SplitDelimiterBehavior(Enum):
    """What a split does with its delimiter."""

    REMOVED = "removed"
    ISOLATED = "isolated"
    MERGED_WITH_PREVIOUS = "merged_with_previous"
    MERGED_WITH_NEXT = "merged_with_next"
    CONTIGUOUS = "contiguous"


_PUT_TOGETHER = (
    "BertWordPieceTokenizer",
    "ByteLevelBPETokenizer",
    "CharBPETokenizer",
    "SentencePieceBPETokenizer",
    "SentencePieceUnigramTokenizer",
)


def __getattr__(name: str) -> object:
    # Loaded when asked for: they are made of what is above.
    if name in ("implementations", "tools"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in _PUT_TOGETHER:
        return getattr(importlib.import_module(f"{__name__}.implementations"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUT_TOGETHER, "implementations", "tools"})

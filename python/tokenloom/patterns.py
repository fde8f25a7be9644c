"""Which published patterns split text before byte pair encoding?

Each constant is the pattern as its authors publish it for Hugging Face ``tokenizers`` (Oniguruma's reading). Every one
of them is split by a scanner of its own; any other pattern by a regular expression engine.

>>> import re, tokenloom as tl
>>> tl.patterns.GPT2 == tl.patterns.PUBLISHED["GPT2"]
True
"""

from __future__ import annotations

__all__ = [
    "CL100K",
    "DEEPSEEK_V3",
    "DIGITS_FROM_RIGHT",
    "GPT2",
    "LLAMA3",
    "NUMBERS_FROM_RIGHT",
    "O200K",
    "PUBLISHED",
    "QWEN2",
    "SUPERBPE_STAGE1",
    "SUPERBPE_STAGE2",
]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2, and the ByteLevel step: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"."""

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""GPT-3.5 and GPT-4 (``cl100k_base``), as Llama 3 writes it."""

LLAMA3 = CL100K
"""Llama 3 and 4: the pattern of cl100k_base."""

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen 2, 2.5 and 3: that of cl100k_base with single digits."""

O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""GPT-4o and gpt-oss (``o200k_base``, ``o200k_harmony``)."""

DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" + "\r\n" + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[" + "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+",
)
"""DeepSeek V3: three steps, each splitting the pieces of the one before."""

SUPERBPE_STAGE1 = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""SuperBPE before its transition: that of o200k_base without contractions (Liu et al. 2025, arXiv 2503.13423)."""

SUPERBPE_STAGE2 = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"
"""SuperBPE after its transition: only digits, runs of punctuation and trailing spaces are cut off."""

NUMBERS_FROM_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))"
"""Numbers in threes from the right, 1|234|567: a step of its own, see ``Tokenizer.with_digits_from_right``."""

DIGITS_FROM_RIGHT = r"\p{Nd}{1,3}(?=(?:\p{Nd}{3})*(?:\P{Nd}|$))"
"""The same for decimal digits alone, which have place values."""

PUBLISHED: dict[str, str | tuple[str, ...]] = {
    "GPT2": GPT2,
    "CL100K": CL100K,
    "LLAMA3": LLAMA3,
    "QWEN2": QWEN2,
    "O200K": O200K,
    "DEEPSEEK_V3": DEEPSEEK_V3,
    "SUPERBPE_STAGE1": SUPERBPE_STAGE1,
    "SUPERBPE_STAGE2": SUPERBPE_STAGE2,
}
"""All of them, by name."""

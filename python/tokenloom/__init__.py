"""The token layer for language models: everything between text and logits.

``import tokenloom as tl`` needs NumPy alone. ``tl.cluster``, ``tl.compat`` and ``tl.torch`` are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from tokenloom import (
    bytelevel,
    control,
    draft,
    errors,
    exactness,
    gpu,
    lexica,
    patterns,
    sample,
    segment,
    tokenizer,
    train,
    verify,
)
from tokenloom._core import VERSION as __version__
from tokenloom.sample import Rng
from tokenloom.tokenizer import Ragged, Tokenizer

__all__ = [
    "Ragged",
    "Rng",
    "Tokenizer",
    "__version__",
    "bytelevel",
    "cluster",
    "compat",
    "control",
    "draft",
    "errors",
    "exactness",
    "gpu",
    "lexica",
    "patterns",
    "sample",
    "segment",
    "tokenizer",
    "torch",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in ("cluster", "compat", "torch"):
        return importlib.import_module(f"tokenloom.{name}")
    raise AttributeError(f"module 'tokenloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""How does tokenloom plug into PyTorch decoders?

The only package here that imports torch. :func:`generate` is the decoding loop; :func:`load` reads a model and its
tokenizer from one folder or one GGUF file; :func:`chat_prompt` asks a chat model in its own words;
:class:`LanguageModel` is what ``tl.bytelevel`` asks for; ``routing`` lets two models share a text. They need
transformers too, imported at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tokenloom.errors import MissingDependencyError

if TYPE_CHECKING:
    from tokenloom.torch.cache import keep_path
    from tokenloom.torch.candidates import CandidateGenerator, assisted
    from tokenloom.torch.chat import chat_prompt
    from tokenloom.torch.cost import cost_curve
    from tokenloom.torch.custom import custom_generate
    from tokenloom.torch.draft_model import DraftModel
    from tokenloom.torch.guidance import Guided
    from tokenloom.torch.language_model import LanguageModel
    from tokenloom.torch.loading import load
    from tokenloom.torch.loop import generate
    from tokenloom.torch.masking import MaskProcessor
    from tokenloom.torch.pace import Pace
    from tokenloom.torch.particles import CachedReader
    from tokenloom.torch.result import Generation, Stats
    from tokenloom.torch.sampler import RulesProcessor, Sampler
    from tokenloom.torch.soft_thoughts import soft_thinking
    from tokenloom.torch.tree_attention import chain_first, tree_inputs
    from tokenloom.torch.trials import cautious
    from tokenloom.torch.unmasking import insert, unmask

__all__ = [
    "CachedReader",
    "CandidateGenerator",
    "DraftModel",
    "Generation",
    "Guided",
    "LanguageModel",
    "MaskProcessor",
    "Pace",
    "RulesProcessor",
    "Sampler",
    "Stats",
    "assisted",
    "cautious",
    "chain_first",
    "chat_prompt",
    "cost_curve",
    "custom_generate",
    "generate",
    "insert",
    "keep_path",
    "load",
    "routing",
    "soft_thinking",
    "tree_inputs",
    "unmask",
]

_HOME = {
    "CachedReader": "particles",
    "CandidateGenerator": "candidates",
    "DraftModel": "draft_model",
    "Generation": "result",
    "Guided": "guidance",
    "LanguageModel": "language_model",
    "MaskProcessor": "masking",
    "Pace": "pace",
    "RulesProcessor": "sampler",
    "Sampler": "sampler",
    "Stats": "result",
    "assisted": "candidates",
    "cautious": "trials",
    "chain_first": "tree_attention",
    "chat_prompt": "chat",
    "cost_curve": "cost",
    "custom_generate": "custom",
    "generate": "loop",
    "keep_path": "cache",
    "load": "loading",
    "soft_thinking": "soft_thoughts",
    "tree_inputs": "tree_attention",
    "insert": "unmasking",
    "unmask": "unmasking",
}


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"tokenloom.torch needs the package {error.name!r}, which is not installed\n"
            "hint: pip install tokenloom[torch]"
        ) from error


_require("torch")


def __getattr__(name: str) -> Any:
    if name == "routing":
        _require("transformers")
        return importlib.import_module("tokenloom.torch.routing")
    if name not in _HOME:
        raise AttributeError(f"module 'tokenloom.torch' has no attribute {name!r}")
    _require("transformers")
    value = getattr(importlib.import_module(f"tokenloom.torch.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

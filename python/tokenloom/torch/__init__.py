"""How does tokenloom plug into PyTorch decoders?

The only package here that imports torch. :func:`generate` is the decoding loop; :func:`load` reads a model and its
tokenizer from one folder or one GGUF file; :func:`chat_prompt` asks a chat model in its own words.
"""

from __future__ import annotations

from tokenloom.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401
    import transformers as _transformers  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"tokenloom.torch needs the package {error.name!r}, which is not installed\nhint: pip install tokenloom[torch]"
    ) from error

from tokenloom.torch.chat import chat_prompt
from tokenloom.torch.generate import generate
from tokenloom.torch.load import load
from tokenloom.torch.result import Generation, Stats

__all__ = ["Generation", "Stats", "chat_prompt", "generate", "load"]

"""Which libraries can tokenloom stand in for?

Each module has the names of one library: change the import, keep the code. Nothing here is loaded by
``import tokenloom``; a module is loaded when it is first named.
"""

import importlib
from typing import Any

__all__ = ["arctic", "sglang", "tiktoken", "tokenizers", "transformers", "vllm"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"tokenloom.compat.{name}")
    raise AttributeError(f"module 'tokenloom.compat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""How is a corpus counted by many machines?

Each module is for one engine: ``tl.cluster.ray`` for Ray Data, ``tl.cluster.spark`` for PySpark. Workers count the
words of what lies with them, some of them add up what others counted, and the sum comes to the caller as
:class:`tokenloom.train.Counts`. Merging then runs on one machine. Nothing here is loaded by ``import tokenloom``; the
engine itself is never imported, only used through the object that is given.

Exact whatever fails: a task has no state, so that a task that is run again gives the same counts, and an engine
takes the result of each task once.
"""

import importlib
from typing import Any

__all__ = ["ray", "spark"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"tokenloom.cluster.{name}")
    raise AttributeError(f"module 'tokenloom.cluster' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

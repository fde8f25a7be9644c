"""How is the next token drawn from logits, reproducibly?

Randomness is a pure function of (seed, position, token, purpose): see :class:`Rng`.
"""

from __future__ import annotations

from tokenloom._core.sample import Rng

__all__ = ["Rng"]

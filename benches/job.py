"""What does an engine hand to the harness?

An engine module (``benches/engines/<name>.py``) has ``PACKAGES``, the distributions whose versions are recorded, and
one function for every operation it takes part in::

    def encode_list(arguments: dict[str, Any]) -> Job: ...

``arguments`` is what the bench wrote into its :class:`~benches.harness.Case`: plain JSON, so paths go as strings.
Loading and every other preparation happens in that function, which is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One engine's share of a case.

    The rounds are run in order and each at most once in a process, so a round may change state (grow an index, say) as
    long as the rounds before it leave the state it expects.
    """

    rounds: Sequence[Callable[[], Any]]
    """What is timed: round k of the case calls ``rounds[k]`` once. Short calls are looped inside it."""

    answer: Callable[[Any], bytes]
    """Turns what a round returned into the bytes on which all engines must agree; not timed."""

    warm_up: Callable[[], Any] = lambda: None
    """Called once before the first timed round, on input that no round uses."""

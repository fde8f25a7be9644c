"""How is a job built from a function that encodes one text?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benches.job import Job


def encode_job(arguments: dict[str, Any], encode: Callable[[str], Any]) -> Job:
    """Round k encodes text k; the answer is the ids as little-endian uint32."""
    texts = [Path(path).read_text(encoding="utf-8") for path in arguments["texts"]]
    warm_up = Path(arguments["warm_up"]).read_text(encoding="utf-8")
    return Job(
        rounds=[partial(encode, text) for text in texts],
        answer=lambda ids: np.asarray(ids, dtype="<u4").tobytes(),
        warm_up=partial(encode, warm_up),
    )

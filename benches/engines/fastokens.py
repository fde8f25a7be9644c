"""fastokens on a tokenizer.json: ``encode_batch_flat`` returns buffers, ``encode(...).ids`` a list."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastokens import Tokenizer

from benches.engines.encoding import encode_job
from benches.job import Job

PACKAGES = ("fastokens",)


def _load(arguments: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_file(arguments["tokenizer"]["json"])


def encode_array(arguments: dict[str, Any]) -> Job:
    """One document a call, through the flat interface: two buffers, no Python object a token."""
    loaded = _load(arguments)
    return encode_job(
        arguments, lambda text: np.frombuffer(loaded.encode_batch_flat([text], add_special_tokens=False)[0], np.uint32)
    )


def encode_list(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    loaded = _load(arguments)
    return encode_job(arguments, lambda text: loaded.encode(text, add_special_tokens=False).ids)

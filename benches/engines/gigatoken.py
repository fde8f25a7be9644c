"""gigatoken: ``Tokenizer.encode``, the array interface that its documentation calls the fastest."""

from __future__ import annotations

from typing import Any

import gigatoken

from benches.engines.encoding import encode_job
from benches.job import Job

PACKAGES = ("gigatoken",)


def encode_array(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    tokenizer = arguments["tokenizer"]
    if tokenizer["kind"] == "tiktoken":
        loaded = gigatoken.Tokenizer.from_tiktoken(tokenizer["path"])
    else:
        loaded = gigatoken.Tokenizer(tokenizer["path"])
    return encode_job(arguments, loaded.encode)

"""tokenloom: ``Tokenizer.encode`` returns an array, ``encode_list`` a list."""

from __future__ import annotations

from typing import Any

import tokenloom as tl

from benches.engines.encoding import encode_job
from benches.job import Job

PACKAGES = ("tokenloom", "numpy")


def _load(arguments: dict[str, Any]) -> tl.Tokenizer:
    return tl.Tokenizer.from_file(arguments["tokenizer"]["path"])


def encode_array(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode)


def encode_list(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode_list)

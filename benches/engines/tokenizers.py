"""tokenizers (Hugging Face): ``encode_fast`` (no offsets) and ``.ids``; it returns lists only."""

from __future__ import annotations

from typing import Any

import tokenizers

from benches.engines.encoding import encode_job
from benches.job import Job

PACKAGES = ("tokenizers",)


def encode_list(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    loaded = tokenizers.Tokenizer.from_file(arguments["tokenizer"]["json"])

    def encode(text: str) -> list[int]:
        ids: list[int] = loaded.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    return encode_job(arguments, encode)


# The oracle of the rows of arrays, where no other engine of that row can play the part.
encode_array = encode_list

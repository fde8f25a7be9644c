"""gigatoken: ``encode`` and ``encode_batch``, the array interfaces that its documentation calls the fastest."""

from __future__ import annotations

from typing import Any

import gigatoken

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("gigatoken",)
_PUBLISHED = ("cl100k", "o200k")


def load(tokenizer: Vocabulary) -> Codec:
    """Rank files whose pattern it knows by name, else the tokenizer.json."""
    if tokenizer["name"] in _PUBLISHED:
        loaded = gigatoken.Tokenizer.from_tiktoken(tokenizer["ranks"])
    else:
        loaded = gigatoken.Tokenizer(tokenizer["json"])
    return Codec(
        encode_array=loaded.encode,
        batch_array=lambda texts: loaded.encode_batch(texts, parallel=True),
        batch_list=lambda texts: loaded.encode_batch_list(texts, parallel=True),
        flat=_flat,
        decode=lambda ids: loaded.decode(ids).decode(errors="replace"),
        to_ids=_array,
    )


def _flat(found: Any) -> Any:
    import awkward as ak

    return ak.to_numpy(ak.flatten(found)) if isinstance(found, ak.Array) else found


def _array(ids: list[int]) -> Any:
    import numpy as np

    return np.array(ids, np.uint32)

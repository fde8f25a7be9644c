"""tuetoken on a tokenizer.json: ``encode_ordinary`` returns a list, ``encode_to_bytes`` a buffer."""

from __future__ import annotations

from typing import Any

import tuetoken

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("tuetoken",)


def load(tokenizer: Vocabulary) -> Codec:
    """The compiled class, without the wrapper that adds special tokens."""
    loaded = tuetoken.Tokenizer(tokenizer["json"])
    return Codec(
        encode_list=loaded.encode_ordinary,
        encode_array=loaded.encode_to_bytes,
        batch_list=lambda texts: loaded.encode_ordinary_batch(texts, num_threads=2),
        batch_array=lambda texts: loaded.encode_ordinary_to_buffer(texts, num_threads=2),
        flat=lambda found: found["data"] if isinstance(found, dict) else found,
        decode=loaded.decode_array,
        to_ids=_array,
    )


def _array(ids: list[int]) -> Any:
    import numpy as np

    return np.array(ids, np.uint32)

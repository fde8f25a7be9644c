"""splintr on a tokenizer.json: ``encode_ordinary`` returns a list, ``encode_flat`` a buffer."""

from __future__ import annotations

import splintr

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("splintr-rs",)


def load(tokenizer: Vocabulary) -> Codec:
    """Its universal loader."""
    loaded = splintr.from_json(tokenizer["json"])
    return Codec(
        encode_list=loaded.encode_ordinary,
        encode_array=loaded.encode_flat,
        batch_list=loaded.encode_batch,
        batch_array=loaded.encode_batch_flat,
        flat=lambda found: found[0] if isinstance(found, tuple) else found,
        decode=loaded.decode,
    )

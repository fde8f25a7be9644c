"""fastokens on a tokenizer.json: ``encode_batch_flat`` returns buffers, ``encode(...).ids`` a list."""

from __future__ import annotations

from fastokens import Tokenizer

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("fastokens",)


def load(tokenizer: Vocabulary) -> Codec:
    """One document a call through the flat interface too: two buffers, no Python object a token."""
    loaded = Tokenizer.from_file(tokenizer["json"])
    return Codec(
        encode_list=lambda text: loaded.encode(text, add_special_tokens=False).ids,
        encode_array=lambda text: loaded.encode_batch_flat([text], add_special_tokens=False),
        batch_list=lambda texts: [row.ids for row in loaded.encode_batch(texts, add_special_tokens=False)],
        batch_array=lambda texts: loaded.encode_batch_flat(texts, add_special_tokens=False),
        flat=lambda found: bytes(found[0]),
        decode=loaded.decode,
    )

"""quicktok: lists, with the vocabularies that are part of it."""

from __future__ import annotations

import quicktok

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("quicktok-v1",)
_NAMES = {"cl100k": "cl100k_base", "o200k": "o200k_base"}


def load(tokenizer: Vocabulary) -> Codec:
    """By name; no file is read."""
    loaded = quicktok.get_encoding(_NAMES.get(tokenizer["name"], tokenizer["name"]))
    return Codec(encode_list=loaded.encode, decode=loaded.decode)

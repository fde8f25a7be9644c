"""rs-bpe: lists, with the two vocabularies that are part of it."""

from __future__ import annotations

from rs_bpe.bpe import openai

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("rs-bpe",)


def load(tokenizer: Vocabulary) -> Codec:
    """``cl100k`` or ``o200k``; no file is read."""
    loaded = getattr(openai, f"{tokenizer['name']}_base")()
    return Codec(encode_list=loaded.encode, decode=loaded.decode)

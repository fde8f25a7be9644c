"""sentencepiece: lists, from a ``.model`` file."""

from __future__ import annotations

import sentencepiece

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("sentencepiece",)


def load(tokenizer: Vocabulary) -> Codec:
    """One processor."""
    loaded = sentencepiece.SentencePieceProcessor(model_file=tokenizer["sentencepiece"])
    return Codec(
        encode_list=loaded.encode, batch_list=lambda texts: loaded.encode(texts, num_threads=2), decode=loaded.decode
    )

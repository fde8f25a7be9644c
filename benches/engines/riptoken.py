"""riptoken: lists, from tiktoken's ranks."""

from __future__ import annotations

import riptoken

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("riptoken",)


def load(tokenizer: Vocabulary) -> Codec:
    """Its own reader of rank files."""
    loaded = riptoken.CoreBPE(riptoken.load_tiktoken_bpe(tokenizer["ranks"]), {}, tokenizer["pattern"])
    return Codec(encode_list=loaded.encode_ordinary, batch_list=loaded.encode_ordinary_batch, decode=loaded.decode)

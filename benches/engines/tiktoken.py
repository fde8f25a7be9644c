"""tiktoken: ``encode_to_numpy`` and ``encode_ordinary`` over the ranks of a file."""

from __future__ import annotations

import tiktoken
from tiktoken.load import load_tiktoken_bpe

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("tiktoken",)


def load(tokenizer: Vocabulary) -> Codec:
    """Its own definition of a published encoding, the ranks read from the file instead of the network."""
    pattern = tokenizer["pattern"]
    ranks = load_tiktoken_bpe(tokenizer["ranks"])
    if tokenizer["name"] in ("cl100k", "o200k"):
        from tiktoken_ext import openai_public

        openai_public.load_tiktoken_bpe = lambda *_, **__: ranks
        pattern = openai_public.ENCODING_CONSTRUCTORS[f"{tokenizer['name']}_base"]()["pat_str"]
    loaded = tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return Codec(
        encode_list=loaded.encode_ordinary,
        encode_array=loaded.encode_to_numpy,
        batch_list=lambda texts: loaded.encode_ordinary_batch(texts, num_threads=2),
        decode=loaded.decode,
    )

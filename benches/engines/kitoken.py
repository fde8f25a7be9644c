"""kitoken: lists, from whichever file it reads fastest."""

from __future__ import annotations

from kitoken import Kitoken

from benches.engines.codec import Codec, Vocabulary

PACKAGES = ("kitoken",)
_PUBLISHED = ("cl100k", "o200k")


def load(tokenizer: Vocabulary) -> Codec:
    """A SentencePiece model or a published rank file as it is, else the tokenizer.json."""
    if "sentencepiece" in tokenizer:
        loaded = Kitoken.from_sentencepiece_file(tokenizer["sentencepiece"])
    elif tokenizer["name"] in _PUBLISHED:
        loaded = Kitoken.from_tiktoken_file(tokenizer["ranks"])
    else:
        loaded = Kitoken.from_tokenizers_file(tokenizer["json"])
    return Codec(encode_list=loaded.encode, decode=lambda ids: loaded.decode(ids).decode(errors="replace"))

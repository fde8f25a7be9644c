"""tokenizers (Hugging Face): ``encode_fast`` (no offsets) and ``.ids``; it returns lists only."""

from __future__ import annotations

from typing import Any

import tokenizers

from benches.engines.codec import Codec, Vocabulary
from benches.engines.training import train_job
from benches.job import Job

PACKAGES = ("tokenizers",)


def load(tokenizer: Vocabulary) -> Codec:
    """The fast entry points, which leave offsets out."""
    loaded = tokenizers.Tokenizer.from_file(tokenizer["json"])

    def encode(text: str) -> list[int]:
        ids: list[int] = loaded.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    return Codec(
        encode_list=encode,
        batch_list=lambda texts: [row.ids for row in loaded.encode_batch_fast(texts, add_special_tokens=False)],
        decode=loaded.decode,
    )


def train(arguments: dict[str, Any]) -> Job:
    """``train_from_iterator`` on a list of documents."""

    def run(documents: list[str]) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(arguments["pattern"]), "isolated")
        byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=arguments["vocab_size"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(documents, trainer)
        return tokenizer

    return train_job(arguments, run, tokenizers.Tokenizer.to_str)

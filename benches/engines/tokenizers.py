"""tokenizers (Hugging Face): ``encode_fast`` (no offsets) and ``.ids``; it returns lists only."""

from __future__ import annotations

import json
from typing import Any

import tokenizers

from benches.engines.codec import Codec, Vocabulary
from benches.engines.training import merges_job, train_job
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
        tokenizer, trainer = new_tokenizer(arguments["pattern"], arguments["vocab_size"])
        tokenizer.train_from_iterator(documents, trainer)
        return tokenizer

    return train_job(arguments, run, tokenizers.Tokenizer.to_str)


def train_files(arguments: dict[str, Any]) -> Job:
    """``train`` on files, without an initial alphabet."""

    def run(paths: list[str]) -> tokenizers.Tokenizer:
        tokenizer, trainer = new_tokenizer(arguments["pattern"], arguments["vocab_size"], initial_alphabet=[])
        tokenizer.train(paths, trainer)
        return tokenizer

    return merges_job(arguments, run, lambda trained: json.loads(trained.to_str())["model"]["merges"])


def new_tokenizer(
    pattern: str, vocab_size: int, initial_alphabet: list[str] | None = None
) -> tuple[tokenizers.Tokenizer, tokenizers.trainers.BpeTrainer]:
    """A byte-level tokenizer to train, and its trainer; every byte has an id unless an alphabet is given."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet() if initial_alphabet is None else initial_alphabet
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    return tokenizer, trainer

"""bpe-continue on tokenizers: a first stage, then merges across words on whole lines."""

from __future__ import annotations

import json
from typing import Any

import tokenizers
from bpe_continue import continue_training

from benches.engines.tokenizers import new_tokenizer
from benches.engines.training import merges_job
from benches.job import Job

PACKAGES = ("bpe-continue", "tokenizers")


def train_lines(arguments: dict[str, Any]) -> Job:
    """The first stage with a pattern, the second one with none."""

    def train(paths: list[str]) -> tokenizers.Tokenizer:
        first, trainer = new_tokenizer(arguments["pattern"], arguments["transition"])
        first.train(paths, trainer)
        first.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return continue_training(first, vocab_size=arguments["vocab_size"], files=paths, show_progress=False)

    return merges_job(arguments, train, lambda trained: json.loads(trained.to_str())["model"]["merges"])

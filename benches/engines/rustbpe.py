"""rustbpe: ``train_from_iterator`` on lines. Its ties go in another order: only the number of tokens is compared."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import rustbpe

from benches.engines.training import size_job
from benches.job import Job

PACKAGES = ("rustbpe",)


def train_size(arguments: dict[str, Any]) -> Job:
    """Lines of files, each with its ending."""

    def train(paths: list[str]) -> rustbpe.Tokenizer:
        files = [Path(path).open(encoding="utf-8", newline="\n") for path in paths]
        tokenizer = rustbpe.Tokenizer()
        lines = itertools.chain.from_iterable(files)
        tokenizer.train_from_iterator(lines, arguments["vocab_size"], pattern=arguments["pattern"])
        return tokenizer

    return size_job(arguments, train, lambda tokenizer: len(tokenizer.get_mergeable_ranks()))

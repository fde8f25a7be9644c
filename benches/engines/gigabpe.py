"""gigabpe: ``train_bpe`` on files; byte-level with the GPT-2 pattern and the bytes that occur."""

from __future__ import annotations

from typing import Any

import gigabpe

from benches.engines.training import merges_job
from benches.job import Job

PACKAGES = ("gigabpe",)


def train_files(arguments: dict[str, Any]) -> Job:
    """Two threads."""
    size = arguments["vocab_size"]
    return merges_job(
        arguments,
        lambda paths: gigabpe.train_bpe(paths, vocab_size=size, pretokenizer="bytelevel", threads=2),
        lambda trained: trained[1],
    )

"""What the engines of the training bench share: documents, rounds and the form of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.job import Job

_DOCUMENT_CHARACTERS = 4_000


def train_job(
    arguments: dict[str, Any],
    train: Callable[[list[str]], Any],
    tokenizer_json: Callable[[Any], str],
) -> Job:
    """Every round trains once on all documents; the answer is the merges and the ids of a ``tokenizer.json``."""
    documents = [document for path in arguments["texts"] for document in _documents(Path(path))]

    def answer(trained: Any) -> bytes:
        model = json.loads(tokenizer_json(trained))["model"]
        return json.dumps([model["merges"], sorted(model["vocab"].items())]).encode()

    return Job(
        rounds=[lambda: train(documents)] * arguments["n_rounds"],
        answer=answer,
        warm_up=lambda: train(documents[:10]),
    )


def merges_job(arguments: dict[str, Any], train: Callable[[list[str]], Any], merges: Callable[[Any], Any]) -> Job:
    """Every round trains once on all files; the answer is the merges as pairs of strings."""
    paths = arguments["texts"]
    return Job(
        rounds=[lambda: train(paths)] * arguments["n_rounds"],
        answer=lambda trained: json.dumps([list(merge) for merge in merges(trained)]).encode(),
    )


def size_job(arguments: dict[str, Any], train: Callable[[list[str]], Any], size: Callable[[Any], int]) -> Job:
    """Every round trains once on all files; the answer is how many tokens there are."""
    paths = arguments["texts"]
    return Job(
        rounds=[lambda: train(paths)] * arguments["n_rounds"],
        answer=lambda trained: str(size(trained)).encode(),
    )


def _documents(path: Path) -> list[str]:
    documents, lines, size = [], [], 0
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= _DOCUMENT_CHARACTERS:
            documents.append("".join(lines))
            lines, size = [], 0
    return [*documents, "".join(lines)]

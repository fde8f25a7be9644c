"""tokenloom: ``Tokenizer.encode`` returns an array, ``encode_list`` a list; ``sample.sample`` draws."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import tokenloom as tl

from benches.engines.encoding import encode_job
from benches.engines.sampling import rows_of, sampling_job
from benches.engines.training import train_job
from benches.job import Job

PACKAGES = ("tokenloom", "numpy")


def _load(arguments: dict[str, Any]) -> tl.Tokenizer:
    return tl.Tokenizer.from_file(arguments["tokenizer"]["path"])


def encode_array(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode)


def encode_list(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode_list)


def train(arguments: dict[str, Any]) -> Job:
    """``tl.train.bpe`` on a list of documents."""
    options = {"vocab_size": arguments["vocab_size"], "pattern": arguments["pattern"], "progress": False}
    return train_job(arguments, lambda documents: tl.train.bpe(documents, **options), _tokenizer_json)


def _tokenizer_json(trained: tl.Tokenizer) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        trained.save(path)
        return path.read_text(encoding="utf-8")


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row of a NumPy batch."""
    rows, params = rows_of(arguments), tl.sample.Params(**arguments["rules"])
    seeds = tl.sample.seeds(0, len(rows))
    return sampling_job(
        arguments,
        lambda position: tl.sample.sample(rows, params, seeds, position),
        lambda drawn: tl.sample.keep_set(rows, params),
    )

"""tiktoken: ``encode_to_numpy`` and ``encode_ordinary``."""

from __future__ import annotations

from typing import Any

import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext import openai_public

from benches.engines.encoding import encode_job
from benches.job import Job

PACKAGES = ("tiktoken",)


def _load(arguments: dict[str, Any]) -> tiktoken.Encoding:
    tokenizer = arguments["tokenizer"]
    ranks = load_tiktoken_bpe(tokenizer["path"])
    # tiktoken's own definition of the encoding, with the ranks read from the file instead of the network.
    openai_public.load_tiktoken_bpe = lambda *_, **__: ranks
    definition = openai_public.ENCODING_CONSTRUCTORS[tokenizer["name"]]()
    return tiktoken.Encoding(**definition | {"special_tokens": {}})


def encode_array(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode_to_numpy)


def encode_list(arguments: dict[str, Any]) -> Job:
    """One document a call."""
    return encode_job(arguments, _load(arguments).encode_ordinary)

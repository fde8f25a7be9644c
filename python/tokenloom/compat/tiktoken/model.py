"""Which encoding does a model use? The tables of tiktoken 0.14."""

from __future__ import annotations

import os

from tokenloom.compat.tiktoken.core import Encoding
from tokenloom.compat.tiktoken.registry import get_encoding

__all__ = [
    "MODEL_PREFIX_TO_ENCODING",
    "MODEL_TO_ENCODING",
    "encoding_for_model",
    "encoding_name_for_model",
]

_PREFIXES = {
    "o200k_base": (
        "o1-",
        "o3-",
        "o4-mini-",
        "gpt-5",
        "gpt-4.5-",
        "gpt-4.1-",
        "chatgpt-4o-",
        "gpt-4o-",
    ),
    "cl100k_base": ("gpt-4-", "gpt-3.5-turbo-", "gpt-35-turbo-"),
    "o200k_harmony": ("gpt-oss-",),
}
_FINE_TUNED_PREFIXES = {
    "ft:gpt-4o": "o200k_base",
    "ft:gpt-4": "cl100k_base",
    "ft:gpt-3.5-turbo": "cl100k_base",
    "ft:davinci-002": "cl100k_base",
    "ft:babbage-002": "cl100k_base",
}

MODEL_PREFIX_TO_ENCODING: dict[str, str] = {
    **{prefix: name for name, prefixes in _PREFIXES.items() for prefix in prefixes},
    **_FINE_TUNED_PREFIXES,
}
"""Encodings of models by how their names start; the first that fits counts."""

_OLD_FAMILIES = ("davinci", "curie", "babbage", "ada")
_MODELS = {
    "o200k_base": ("o1", "o3", "o4-mini", "gpt-5", "gpt-4.1", "gpt-4o"),
    "cl100k_base": (
        "gpt-4",
        "gpt-3.5-turbo",
        "gpt-3.5",
        "gpt-35-turbo",
        "davinci-002",
        "babbage-002",
        "text-embedding-ada-002",
        "text-embedding-3-small",
        "text-embedding-3-large",
    ),
    "p50k_base": (
        "text-davinci-003",
        "text-davinci-002",
        "code-davinci-002",
        "code-davinci-001",
        "code-cushman-002",
        "code-cushman-001",
        "davinci-codex",
        "cushman-codex",
    ),
    "p50k_edit": ("text-davinci-edit-001", "code-davinci-edit-001"),
    "r50k_base": (
        *(f"text-{family}-001" for family in _OLD_FAMILIES),
        *_OLD_FAMILIES,
        *(f"text-similarity-{family}-001" for family in _OLD_FAMILIES),
        *(f"text-search-{family}-doc-001" for family in _OLD_FAMILIES),
        "code-search-babbage-code-001",
        "code-search-ada-code-001",
    ),
    "gpt2": ("gpt2", "gpt-2"),
}

MODEL_TO_ENCODING: dict[str, str] = {model: name for name, models in _MODELS.items() for model in models}
"""Encodings of models by their whole names."""


def encoding_name_for_model(model_name: str) -> str:
    """The name of a model's encoding.

    Raises:
        KeyError: The model is not known.

    >>> encoding_name_for_model("gpt-4o-2024-05-13")
    'o200k_base'
    """
    if model_name in MODEL_TO_ENCODING:
        return MODEL_TO_ENCODING[model_name]
    for prefix, name in MODEL_PREFIX_TO_ENCODING.items():
        if model_name.startswith(prefix):
            return name
    raise KeyError(
        f"Could not automatically map {model_name} to a tokeniser. "
        "Please use `tiktoken.get_encoding` to explicitly get the tokeniser you expect."
    )


def encoding_for_model(
    model_name: str, *, path: str | os.PathLike[str] | None = None, allow_download: bool | None = None
) -> Encoding:
    """The encoding of a model; keywords and errors as :func:`get_encoding`.

    Raises:
        KeyError: The model is not known.
    """
    return get_encoding(encoding_name_for_model(model_name), path=path, allow_download=allow_download)

"""How do a model and its tokenizer come out of one folder or one file?

A folder is what Hugging Face saves; a ``.gguf`` file is converted once into such a folder (``gguf_weights``).
transformers runs the model; the tokenizer is read by tokenloom from the same folder or file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tokenloom.errors import FormatError
from tokenloom.torch.gguf_weights import convert

__all__ = ["cache_folder", "load"]


def load(
    path: str | Path,
    *,
    cache: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    tokenizer: Any = None,
) -> tuple[Any, Any]:
    """Load a causal language model on the CPU, and its tokenizer.

    Args:
        path: a folder with ``config.json`` and weights, or a ``.gguf`` file of architecture ``llama``.
        cache: folder for the weights of a converted ``.gguf`` file. Default: ``$TOKENLOOM_CACHE``, else
            ``$XDG_CACHE_HOME/tokenloom``, else ``~/.cache/tokenloom``.
        dtype: the weights' type in memory.
        tokenizer: the one of ``path``, where it has been read already.

    Returns:
        ``(model, tokenizer)``: the Hugging Face model in evaluation mode and a :class:`tokenloom.Tokenizer`. The model
        knows its folder (``model.config.name_or_path``), where :func:`tokenloom.torch.chat_prompt` finds the template.

    Raises:
        FormatError: there is no model at ``path``, or it cannot be read.
        UnsupportedFeatureError: the file needs something that is not supported.
    """
    from transformers import AutoModelForCausalLM

    from tokenloom import Tokenizer

    path = Path(path)
    if path.suffix == ".gguf" and path.is_file():
        tokenizer = tokenizer or Tokenizer.from_file(str(path))
        folder = convert(path, cache if cache is not None else cache_folder() / "converted")
    elif (path / "config.json").is_file():
        tokenizer = tokenizer or Tokenizer.from_pretrained(str(path))
        folder = path
    else:
        raise FormatError(f"expected a .gguf file or a folder with config.json, found neither at {path}")
    with _without_bars():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.eval(), tokenizer


@contextmanager
def _without_bars() -> Iterator[None]:
    """Loading takes a second; transformers' bars for it would also be drawn in a pipe."""
    import transformers

    logging: Any = transformers.utils.logging
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def cache_folder() -> Path:
    """``$TOKENLOOM_CACHE``, else ``$XDG_CACHE_HOME/tokenloom``, else ``~/.cache/tokenloom``."""
    if own := os.environ.get("TOKENLOOM_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tokenloom"

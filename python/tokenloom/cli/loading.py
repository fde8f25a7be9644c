"""Which tokenizer is meant by a path on the command line?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenloom import Tokenizer

__all__ = ["load_tokenizer"]


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a file, or of a model folder."""
    import tokenloom as tl

    return tl.Tokenizer.from_pretrained(path) if path.is_dir() else tl.Tokenizer.from_file(path)

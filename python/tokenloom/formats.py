"""Which tokenizer does this file hold?

The functions behind ``Tokenizer.from_*`` and ``Tokenizer.save``. Each returns what the file says, checked, not yet a
tokenizer: a :class:`Spec` where the compiled machine gives exactly that, otherwise the :class:`Definition` that is
interpreted. Files are untrusted; limits and refusals are listed in ``docs/concepts/formats.md``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tokenloom._core.formats import (
    Definition,
    Spec,
    detect,
    parse_gguf,
    parse_gguf_file,
    parse_sentencepiece,
    parse_tekken,
    parse_tokenizer_json,
    rank_file_spec,
    tiktoken_spec,
    write_ranks,
    write_tokenizer_json,
)
from tokenloom.encodings import find_encoding
from tokenloom.errors import FormatError, MissingDependencyError, UnsupportedFeatureError

__all__ = [
    "KINDS",
    "Definition",
    "Spec",
    "read_bytes",
    "read_file",
    "read_pretrained",
    "read_tiktoken",
    "with_split_first",
    "write_file",
    "write_tokenizer_json",
]

KINDS = ("tokenizer.json", "tiktoken", "gguf", "tekken.json", "sentencepiece")
"""The kinds of files that are read."""

# Above every limit of the parsers: a larger file is refused before it is read.
_MAX_FILE_BYTES = 256 << 20


def read_bytes(
    data: bytes,
    kind: str | None = None,
    *,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
    ignore_truncation_and_padding: bool = False,
) -> Spec | Definition:
    """Read the bytes of a tokenizer file.

    Args:
        data: The whole file; of a GGUF file, the metadata in front of the tensors is enough.
        kind: One of :data:`KINDS`; ``None`` tells it from the content.
        pattern: The split pattern of a rank file, which does not hold one. Published files are recognised.
        special_tokens: The special tokens of a rank file, likewise.
        ignore_truncation_and_padding: Read on although a ``tokenizer.json`` stores truncation or padding, which its own
            reader would apply to every result. They are not applied here.

    Raises:
        FormatError: The bytes are not what they claim to be.
        UnsupportedFeatureError: They are valid but use something that is not supported; the message names it.
    """
    if not isinstance(data, bytes):
        # A number would be so many zeros.
        data = bytes(memoryview(data))
    found = detect(data) if kind is None else kind
    if found == "tokenizer.json":
        return parse_tokenizer_json(data, ignore_truncation_and_padding)
    if found == "gguf":
        return parse_gguf(data)
    if found == "tiktoken":
        return _read_ranks(data, pattern, special_tokens)
    if found == "tekken.json":
        return parse_tekken(data)
    if found == "sentencepiece":
        return parse_sentencepiece(data)
    raise FormatError(f"expected a kind of {', '.join(KINDS)}, found {found!r}")


def _read_ranks(data: bytes, pattern: str | None, special_tokens: Mapping[str, int] | None) -> Spec:
    if pattern is None:
        encoding = find_encoding(hashlib.sha256(data).hexdigest())
        if encoding is None:
            raise UnsupportedFeatureError(
                "tiktoken: a rank file without its split pattern, and not one of the published files\n"
                "hint: pass pattern= and special_tokens=",
                format="tiktoken",
            )
        pattern = encoding.pattern
        special_tokens = encoding.special_tokens if special_tokens is None else special_tokens
    return rank_file_spec(data, pattern, dict(special_tokens or {}))


def read_file(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
    ignore_truncation_and_padding: bool = False,
) -> Spec | Definition:
    """Read a tokenizer file; arguments and errors as :func:`read_bytes`. Of a GGUF file only the metadata is read.

    Raises:
        OSError: The file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as stream:
        if kind == "gguf" or (kind is None and stream.peek(4).startswith(b"GGUF")):
            return parse_gguf_file(path)
        data = stream.read(_MAX_FILE_BYTES + 1)
    return read_bytes(
        data,
        kind,
        pattern=pattern,
        special_tokens=special_tokens,
        ignore_truncation_and_padding=ignore_truncation_and_padding,
    )


def read_pretrained(
    name: str | os.PathLike[str], *, revision: str | None = None, ignore_truncation_and_padding: bool = False
) -> Spec | Definition:
    """Read the tokenizer of a model folder, or of a repository on the Hugging Face hub.

    A folder is searched for ``tokenizer.json`` and then for exactly one ``*.gguf``, ``*.tiktoken`` or
    ``tokenizer.model``. Anything that is no folder is a hub id, whose ``tokenizer.json`` is fetched into the hub's own
    cache.

    Args:
        name: A local folder or a hub id.
        revision: Branch, tag or commit on the hub.
        ignore_truncation_and_padding: As in :func:`read_bytes`.

    Raises:
        FileNotFoundError: The folder holds no tokenizer file, or several.
        MissingDependencyError: A hub id without the ``huggingface_hub`` package.
    """
    folder = Path(name)
    if folder.is_dir():
        return read_file(_find(folder), ignore_truncation_and_padding=ignore_truncation_and_padding)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{os.fspath(name)!r} is no local folder, and the hub needs a package that is not installed\n"
            "hint: pip install huggingface_hub"
        ) from error
    path = hf_hub_download(os.fspath(name), "tokenizer.json", revision=revision)
    return read_file(path, ignore_truncation_and_padding=ignore_truncation_and_padding)


def _find(folder: Path) -> Path:
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    patterns = ("*.gguf", "*.tiktoken", "tokenizer.model", "tekken.json")
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise FileNotFoundError(f"expected one tokenizer file in {folder}, found {names}")
    return found[0]


def read_tiktoken(
    name: str,
    *,
    pat_str: str,
    mergeable_ranks: Mapping[bytes, int],
    special_tokens: Mapping[str, int],
) -> Spec:
    """The tokenizer of the arguments of ``tiktoken.Encoding``.

    Args:
        name: For messages only; ids depend on the other arguments.
        pat_str: The split pattern; text that it does not match is dropped, as tiktoken does.
        mergeable_ranks: Every token with its rank, which is its id. All 256 bytes must be tokens.
        special_tokens: Strings with their ids.

    Raises:
        FormatError: A token or an id is given twice, or a byte is no token.
    """
    try:
        return tiktoken_spec(dict(mergeable_ranks), pat_str, dict(special_tokens))
    except FormatError as error:
        error.args = (f"encoding {name!r}: {error}",)
        raise


def with_split_first(data: bytes, pattern: str) -> bytes:
    """A ``tokenizer.json`` with one more step before its pretokenizer, which cuts out the matches of ``pattern``."""
    file = json.loads(data)
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    others = file.get("pre_tokenizer")
    steps = others["pretokenizers"] if others and others["type"] == "Sequence" else [others] if others else []
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [step, *steps]}
    return json.dumps(file, ensure_ascii=False).encode()


def write_file(found: Spec | Definition, path: str | os.PathLike[str], kind: str | None = None) -> None:
    """Write a file that its own library reads with the same ids.

    Args:
        found: What to write.
        path: Where to.
        kind: ``"tokenizer.json"``, ``"tiktoken"`` or ``"sentencepiece"``; ``None`` tells it from the suffix.

    Raises:
        UnsupportedFeatureError: The format cannot say something; the message names it.
    """
    path = Path(path)
    if kind is None:
        kind = {".tiktoken": "tiktoken", ".model": "sentencepiece"}.get(path.suffix, "tokenizer.json")
    if kind == "tiktoken":
        if isinstance(found, Definition):
            raise UnsupportedFeatureError("tiktoken: only byte-level BPE has ranks", format=kind)
        data = write_ranks(found)
    elif kind == "tokenizer.json":
        data = write_tokenizer_json(found) if isinstance(found, Spec) else found.to_json(True).encode()
    elif kind == "sentencepiece":
        if isinstance(found, Spec) or not found.is_sentencepiece:
            raise UnsupportedFeatureError("sentencepiece: only what was read as one and is interpreted", format=kind)
        data = found.to_state()
    else:
        raise ValueError(f"expected tokenizer.json, tiktoken or sentencepiece as the kind to write, found {kind!r}")
    # Readers never see half a file.
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)

"""Which encodings are there, and where are their ranks?

The seven that tiktoken publishes, and those of installed plug-ins: modules in the namespace package ``tiktoken_ext``
with a table ``ENCODING_CONSTRUCTORS``. Plug-ins are imported when a name is asked for that is not published, and by
:func:`list_encoding_names`; most of them import tiktoken, which must then be installed.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenloom import encodings
from tokenloom._core.formats import parse_ranks
from tokenloom.compat.tiktoken import load
from tokenloom.compat.tiktoken.core import Encoding
from tokenloom.errors import FormatError, MissingDependencyError

__all__ = ["ENCODINGS", "get_encoding", "list_encoding_names"]

TIKTOKEN_VERSION = "0.14.0"
"""The version of tiktoken whose behaviour this is."""

_ADDRESS = "https://openaipublic.blob.core.windows.net"
_RANK_FILES = {
    "gpt2": "r50k_base",
    "r50k_base": "r50k_base",
    "p50k_base": "p50k_base",
    "p50k_edit": "p50k_base",
    "cl100k_base": "cl100k_base",
    "o200k_base": "o200k_base",
    "o200k_harmony": "o200k_base",
}
# The files of GPT-2 that tiktoken itself reads; they say the same as the ranks of r50k_base.
_GPT2_FILES = (
    f"{_ADDRESS}/gpt-2/encodings/main/vocab.bpe",
    f"{_ADDRESS}/gpt-2/encodings/main/encoder.json",
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
)
_OWN_PLUGIN = "tiktoken_ext.openai_public"

_lock = threading.RLock()
ENCODINGS: dict[str, Encoding] = {}
"""The encodings that were asked for so far."""


@functools.lru_cache
def _plugin_modules() -> Sequence[str]:
    """The plug-ins but tiktoken's own, whose encodings are known here."""
    try:
        package = importlib.import_module("tiktoken_ext")
    except ImportError:
        return ()
    found = pkgutil.iter_modules(package.__path__, "tiktoken_ext.")
    return tuple(info.name for info in found if info.name != _OWN_PLUGIN)


@functools.lru_cache
def _plugin_constructors() -> dict[str, Callable[[], dict[str, Any]]]:
    constructors: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in _plugin_modules():
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"tiktoken plugin {name} does not import: {error}") from error
        try:
            found = module.ENCODING_CONSTRUCTORS
        except AttributeError as error:
            raise ValueError(f"tiktoken plugin {name} does not define ENCODING_CONSTRUCTORS") from error
        for encoding_name, constructor in found.items():
            if encoding_name in constructors or encoding_name in _RANK_FILES:
                raise ValueError(f"Duplicate encoding name {encoding_name} in tiktoken plugin {name}")
            constructors[encoding_name] = constructor
    return constructors


def list_encoding_names() -> list[str]:
    """The names that :func:`get_encoding` knows, published ones first.

    >>> list_encoding_names()[:4]
    ['gpt2', 'r50k_base', 'p50k_base', 'p50k_edit']
    """
    with _lock:
        return [*_RANK_FILES, *_plugin_constructors()]


def get_encoding(
    encoding_name: str, *, path: str | os.PathLike[str] | None = None, allow_download: bool | None = None
) -> Encoding:
    """The encoding of this name, made once in a process.

    Args:
        encoding_name: One of :func:`list_encoding_names`.
        path: The rank file of a published encoding, or a folder that holds it under its own or its cached name.
            Without it, tiktoken's cache folder is searched.
        allow_download: Fetch a rank file that is not there; ``None`` asks ``TOKENLOOM_ALLOW_DOWNLOAD``.

    Raises:
        ValueError: The name is not known, a file does not have the published SHA-256, or a plug-in is unusable.
        FileNotFoundError: There is no rank file, and downloads are not allowed.
        MissingDependencyError: A plug-in does not import.
    """
    if not isinstance(encoding_name, str):
        raise ValueError(f"Expected a string in get_encoding, got {type(encoding_name)}")
    if encoding_name in ENCODINGS:
        return ENCODINGS[encoding_name]
    with _lock:
        if encoding_name in ENCODINGS:
            return ENCODINGS[encoding_name]
        if encoding_name in _RANK_FILES:
            encoding = _published(encoding_name, path, allow_download)
        elif encoding_name in _plugin_constructors():
            encoding = Encoding(**_plugin_constructors()[encoding_name]())
        else:
            raise ValueError(
                f"Unknown encoding {encoding_name}.\n"
                f"Plugins found: {[_OWN_PLUGIN, *_plugin_modules()]}\n"
                f"tiktoken version: {TIKTOKEN_VERSION} (are you on latest?)"
            )
        ENCODINGS[encoding_name] = encoding
        return encoding


def _published(name: str, path: str | os.PathLike[str] | None, allow_download: bool | None) -> Encoding:
    published = encodings.ENCODINGS[name]
    address = f"{_ADDRESS}/encodings/{_RANK_FILES[name]}.tiktoken"
    if path is not None:
        data = _file_at(Path(path), address, published.sha256)
    elif name == "gpt2" and not _is_cached(address) and all(map(_is_cached, _GPT2_FILES[:2])):
        return _made(published, load.data_gym_to_mergeable_bpe_ranks(*_GPT2_FILES), by_name=True)
    else:
        data = load.read_file_cached(address, published.sha256, allow_download=allow_download)
    return _made(published, parse_ranks(data), by_name=path is None)


def _made(published: encodings.Encoding, ranks: dict[bytes, int], *, by_name: bool) -> Encoding:
    encoding = Encoding(
        published.name,
        pat_str=published.pattern,
        mergeable_ranks=ranks,
        special_tokens=dict(published.special_tokens),
        explicit_n_vocab=published.n_vocab,
    )
    encoding._is_found_by_name = by_name
    return encoding


def _is_cached(address: str) -> bool:
    folder = load.cache_folder()
    return folder is not None and (folder / load.cache_name(address)).exists()


def _file_at(path: Path, address: str, sha256: str) -> bytes:
    if path.is_dir():
        names = (address.rpartition("/")[2], load.cache_name(address))
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"expected {names[0]} or {names[1]} in {path}, found neither")
        path = found[0]
    data = path.read_bytes()
    if not load.check_hash(data, sha256):
        raise FormatError(f"{path} is not the published file (expected SHA-256 {sha256})", format="tiktoken")
    return data

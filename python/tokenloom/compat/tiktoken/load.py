"""How do rank files get here? tiktoken's cache folder, its file formats, and downloads where they are allowed.

A cached file is named by the SHA-1 of its address and lies in ``$TIKTOKEN_CACHE_DIR``, else ``$DATA_GYM_CACHE_DIR``,
else ``data-gym-cache`` in the folder for temporary files. An empty variable turns the cache off.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tempfile
import urllib.request
import uuid
from pathlib import Path

from tokenloom._core.formats import parse_ranks
from tokenloom.errors import FormatError

__all__ = [
    "check_hash",
    "data_gym_to_mergeable_bpe_ranks",
    "dump_tiktoken_bpe",
    "load_tiktoken_bpe",
    "read_file",
    "read_file_cached",
]


def downloads_allowed(allow_download: bool | None = None) -> bool:
    """What the caller says, else whether ``TOKENLOOM_ALLOW_DOWNLOAD`` is set to something but ``0``."""
    if allow_download is None:
        return os.environ.get("TOKENLOOM_ALLOW_DOWNLOAD", "") not in ("", "0")
    return allow_download


def cache_folder() -> Path | None:
    """Tiktoken's cache folder, ``None`` where it is turned off."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            return Path(os.environ[variable]) if os.environ[variable] else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def cache_name(address: str) -> str:
    """The name of a cached file.

    >>> cache_name("https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken")
    '9b5ad71b2ce5302211f9c61530b329a4922fc6a4'
    """
    return hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()


def check_hash(data: bytes, expected_hash: str) -> bool:
    """Whether the SHA-256 of ``data`` is the expected one."""
    return hashlib.sha256(data).hexdigest() == expected_hash


def read_file(blobpath: str, *, allow_download: bool | None = None) -> bytes:
    """The bytes of a local file, or of an address where downloads are allowed.

    Raises:
        FileNotFoundError: It is an address, and downloads are not allowed.
        OSError: It cannot be read.
    """
    if "://" not in blobpath:
        return Path(blobpath).read_bytes()
    if not downloads_allowed(allow_download):
        raise FileNotFoundError(
            f"{blobpath} is not in tiktoken's cache folder, and nothing is downloaded unless that is allowed\n"
            f"hint: pass path=, put the file into {cache_folder()} as {cache_name(blobpath)}, or allow it by "
            "allow_download=True or TOKENLOOM_ALLOW_DOWNLOAD=1"
        )
    if not blobpath.startswith(("https://", "http://")):
        raise FileNotFoundError(f"expected a local path or an http address, found {blobpath}")
    with urllib.request.urlopen(blobpath, timeout=60) as response:
        data: bytes = response.read()
    return data


def read_file_cached(blobpath: str, expected_hash: str | None = None, *, allow_download: bool | None = None) -> bytes:
    """The same through the cache. A cached file with another hash is removed and read anew where that is possible.

    Raises:
        ValueError: What was read does not have the expected hash.
        FileNotFoundError: It is not cached, and downloads are not allowed.
    """
    folder = cache_folder()
    cached = None if folder is None else folder / cache_name(blobpath)
    is_remote = "://" in blobpath
    if cached is not None and cached.exists():
        data = cached.read_bytes()
        if expected_hash is None or check_hash(data, expected_hash):
            return data
        if is_remote and not downloads_allowed(allow_download):
            raise FormatError(
                f"hash mismatch: {cached} is not the published file (expected SHA-256 {expected_hash})\n"
                "hint: remove it, or allow downloads to replace it",
                format="tiktoken",
            )
        with contextlib.suppress(OSError):
            cached.unlink()
    data = read_file(blobpath, allow_download=allow_download)
    if expected_hash and not check_hash(data, expected_hash):
        raise FormatError(
            f"Hash mismatch for data downloaded from {blobpath} (expected {expected_hash}). "
            "This may indicate a corrupted download. Please try again.",
            format="tiktoken",
        )
    if cached is not None:
        _keep(cached, data)
    return data


def _keep(cached: Path, data: bytes) -> None:
    """Write a cached file, whole or not at all. A default folder that cannot be written is no error."""
    partial = cached.with_name(f"{cached.name}.{uuid.uuid4()}.tmp")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(cached)
    except OSError:
        if "TIKTOKEN_CACHE_DIR" in os.environ or "DATA_GYM_CACHE_DIR" in os.environ:
            raise


def load_tiktoken_bpe(tiktoken_bpe_file: str, expected_hash: str | None = None) -> dict[bytes, int]:
    """The tokens of a rank file with their ranks; ``tiktoken_bpe_file`` is a path or an address.

    Raises:
        ValueError: A line is malformed, or the hash is another one.
    """
    try:
        return parse_ranks(read_file_cached(tiktoken_bpe_file, expected_hash))
    except FormatError as error:
        error.args = (f"{tiktoken_bpe_file}: {error}",)
        raise


def dump_tiktoken_bpe(bpe_ranks: dict[bytes, int], tiktoken_bpe_file: str) -> None:
    """Write a rank file, by ascending rank.

    Raises:
        OSError: The file cannot be written.
    """
    lines = (
        base64.b64encode(token) + b" " + str(rank).encode() + b"\n"
        for token, rank in sorted(bpe_ranks.items(), key=lambda item: item[1])
    )
    Path(tiktoken_bpe_file).write_bytes(b"".join(lines))


def data_gym_to_mergeable_bpe_ranks(
    vocab_bpe_file: str,
    encoder_json_file: str,
    vocab_bpe_hash: str | None = None,
    encoder_json_hash: str | None = None,
    clobber_one_byte_tokens: bool = False,
) -> dict[bytes, int]:
    """The ranks of the two files of GPT-2: merges, and tokens with their ids, which must agree.

    Args:
        vocab_bpe_file: A header, then two parts of a merge on each line.
        encoder_json_file: Tokens to ids.
        vocab_bpe_hash: SHA-256 of the first.
        encoder_json_hash: SHA-256 of the second.
        clobber_one_byte_tokens: Take the ids of single bytes from the second file.

    Raises:
        ValueError: The files do not agree, or a hash is another one.
    """
    # Printable characters stand for themselves; the other bytes follow from U+0100 on. That is also their rank.
    printable = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}

    def to_bytes(token: str) -> bytes:
        return bytes(byte_of[char] for char in token)

    lines = read_file_cached(vocab_bpe_file, vocab_bpe_hash).decode().split("\n")[1:-1]
    ranks = {bytes([byte]): rank for rank, byte in enumerate([*printable, *others])}
    for line in lines:
        left, right = line.split()
        ranks[to_bytes(left) + to_bytes(right)] = len(ranks)
    encoder = json.loads(read_file_cached(encoder_json_file, encoder_json_hash))
    ids = {to_bytes(token): id for token, id in encoder.items()}
    for special in (b"<|endoftext|>", b"<|startoftext|>"):
        ids.pop(special, None)
    if clobber_one_byte_tokens:
        ranks |= {token: id for token, id in ids.items() if len(token) == 1}
    if ranks != ids:
        raise FormatError(
            f"expected {encoder_json_file} to give every token of {vocab_bpe_file} its place as id, found others",
            format="tiktoken",
        )
    return ranks

"""Where ``tokenloom.compat.tiktoken`` finds its ranks, and that it never downloads by itself."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenloom import encodings
from tokenloom.compat import tiktoken
from tokenloom.compat.tiktoken import load, registry
from tokenloom.errors import FormatError, MissingDependencyError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257}
DATA = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in RANKS.items())
ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No encoding made yet, an empty cache folder, and a published file that is small."""
    small = encodings.Encoding("cl100k_base", hashlib.sha256(DATA).hexdigest(), r"\S+|\s+", {"<|endoftext|>": 300})
    monkeypatch.setitem(encodings.ENCODINGS, "cl100k_base", small)
    monkeypatch.setattr(registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TOKENLOOM_ALLOW_DOWNLOAD", raising=False)
    yield
    registry._plugin_modules.cache_clear()
    registry._plugin_constructors.cache_clear()


def cache(folder: Path, data: bytes = DATA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha1(ADDRESS.encode()).hexdigest()
    path.write_bytes(data)
    return path


def test_ranks_come_from_tiktokens_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache(tmp_path / "cache")
    enc = tiktoken.get_encoding("cl100k_base")
    assert enc.encode("abcab") == [257, 256]
    assert tiktoken.get_encoding("cl100k_base") is enc
    assert tiktoken.encoding_for_model("gpt-4") is enc


@pytest.mark.parametrize("variable", ["DATA_GYM_CACHE_DIR", "TMPDIR"])
def test_the_other_cache_folders(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    if variable == "TMPDIR":
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        cache(tmp_path / "data-gym-cache")
    else:
        monkeypatch.setenv(variable, str(tmp_path / "gym"))
        cache(tmp_path / "gym")
    assert tiktoken.get_encoding("cl100k_base").encode("abc") == [257]


def test_nothing_is_downloaded_unless_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    class Response:
        def __enter__(self) -> Response:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self) -> bytes:
            return DATA

    def urlopen(address: str, timeout: float) -> Response:
        fetched.append(address)
        return Response()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(FileNotFoundError, match="nothing is downloaded unless that is allowed"):
        tiktoken.get_encoding("cl100k_base")
    assert not fetched
    monkeypatch.setenv("TOKENLOOM_ALLOW_DOWNLOAD", "1")
    with pytest.raises(FileNotFoundError):
        tiktoken.get_encoding("cl100k_base", allow_download=False)
    assert tiktoken.get_encoding("cl100k_base").encode("abc") == [257]
    # Kept in the cache: a second process reads it from there.
    registry.ENCODINGS.clear()
    monkeypatch.delenv("TOKENLOOM_ALLOW_DOWNLOAD")
    assert tiktoken.get_encoding("cl100k_base").encode("abc") == [257]
    assert fetched == [ADDRESS]


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    damaged = cache(tmp_path / "cache", DATA + b"\n")
    with pytest.raises(ValueError, match="hash mismatch"):
        tiktoken.get_encoding("cl100k_base")
    assert damaged.exists()
    with pytest.raises(FormatError, match="not the published file"):
        tiktoken.get_encoding("cl100k_base", path=damaged)


@pytest.mark.parametrize("name", ["cl100k_base.tiktoken", hashlib.sha1(ADDRESS.encode()).hexdigest()])
def test_a_given_path(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(DATA)
    assert tiktoken.get_encoding("cl100k_base", path=tmp_path).n_vocab == 301
    registry.ENCODINGS.clear()
    assert tiktoken.get_encoding("cl100k_base", path=tmp_path / name).n_vocab == 301
    with pytest.raises(FileNotFoundError, match="found neither"):
        tiktoken.get_encoding("o200k_base", path=tmp_path)


def test_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "site" / "tiktoken_ext"
    folder.mkdir(parents=True)
    (folder / "tokenloom_test_plugin.py").write_text(
        "def mine():\n"
        "    ranks = {bytes([b]): b for b in range(256)} | {b'ab': 256}\n"
        "    return dict(name='mine', pat_str=r'\\S+|\\s+', mergeable_ranks=ranks, special_tokens={'<s>': 257})\n"
        "ENCODING_CONSTRUCTORS = {'mine': mine}\n"
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name.split(".")[0] == "tiktoken_ext"]:
        monkeypatch.delitem(sys.modules, name)
    registry._plugin_modules.cache_clear()
    registry._plugin_constructors.cache_clear()
    assert tiktoken.get_encoding("mine").encode("abba") == [256, 98, 97]
    assert tiktoken.list_encoding_names()[-1] == "mine"
    (folder / "tokenloom_test_broken.py").write_text("import a_module_that_is_not_there\n")
    registry._plugin_modules.cache_clear()
    registry._plugin_constructors.cache_clear()
    with pytest.raises(MissingDependencyError, match="tokenloom_test_broken"):
        tiktoken.get_encoding("no such encoding")


def test_files_of_gpt2(tmp_path: Path) -> None:
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in printable]
    chars = [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]
    (tmp_path / "vocab.bpe").write_text("#version\na b\nab \u0120\n")
    tokens = [*chars, "ab", "ab\u0120"]
    encoder = {token: id for id, token in enumerate(tokens)} | {"<|endoftext|>": 258}
    (tmp_path / "encoder.json").write_text(json.dumps(encoder))
    paths = str(tmp_path / "vocab.bpe"), str(tmp_path / "encoder.json")
    ranks = load.data_gym_to_mergeable_bpe_ranks(*paths)
    assert ranks[b"ab"] == 256
    assert ranks[b"ab "] == 257
    assert ranks[b"!"] == 0
    other = tmp_path / "other.json"
    other.write_text(json.dumps(encoder | {"ab": 999}))
    with pytest.raises(ValueError, match="its place as id"):
        load.data_gym_to_mergeable_bpe_ranks(paths[0], str(other))


def test_rank_files_are_written_and_read(tmp_path: Path) -> None:
    path = str(tmp_path / "own.tiktoken")
    load.dump_tiktoken_bpe(dict(reversed(RANKS.items())), path)
    assert Path(path).read_bytes() == DATA
    assert load.load_tiktoken_bpe(path) == RANKS
    with pytest.raises(ValueError, match="Hash mismatch"):
        load.load_tiktoken_bpe(str(Path(path).rename(tmp_path / "other")), "0" * 64)


def test_tiktoken_itself_is_not_imported() -> None:
    code = (
        "import sys; sys.modules['tiktoken'] = None\n"
        "import tokenloom.compat.tiktoken as t\n"
        "r = {bytes([b]): b for b in range(256)}\n"
        "e = t.Encoding('x', pat_str='.+', mergeable_ranks=r, special_tokens={})\n"
        "assert e.encode('ab') == [97, 98] and t.list_encoding_names()[0] == 'gpt2'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

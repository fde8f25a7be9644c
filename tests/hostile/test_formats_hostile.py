"""Files that lie: each is an error of the tree, in bounded memory, and never a crash."""

from __future__ import annotations

import base64
import json
import pickle
import random
import re
import resource
import struct
import tomllib
from pathlib import Path

import pytest
import tokenloom as tl
from tokenloom.errors import (
    FormatError,
    PatternError,
    TokenloomError,
    UnsupportedFeatureError,
    VocabError,
)

CASES = tomllib.loads((Path(__file__).parent.parent / "cases" / "formats.toml").read_text(encoding="utf-8"))["refused"]


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_listed_cases(case: dict[str, str], test_data: Path) -> None:
    tiny = (test_data / "tiny.tokenizer.json").read_text(encoding="utf-8")
    file = case.get("file") or tiny.replace(case["find"], case["put"], 1)
    if case["error"] == "interpreted":
        tok = tl.Tokenizer.from_bytes(file.encode(), kind="tokenizer.json")
        assert not tok.is_compiled
        with pytest.raises(UnsupportedFeatureError, match=re.escape(case["path"])):
            tok.token_bytes(0)
        return
    with pytest.raises(FormatError) as caught:
        tl.Tokenizer.from_bytes(file.encode(), kind="tokenizer.json")
    assert isinstance(caught.value, UnsupportedFeatureError) == (case["error"] == "unsupported")
    assert caught.value.format == "tokenizer.json"
    assert (caught.value.path or "") == case["path"]
    assert isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path) == (str(caught.value), caught.value.path)


def test_mutations_end_in_a_tokenizer_or_an_error_of_the_tree(test_data: Path) -> None:
    draw = random.Random(41)
    for name in ("tiny.tokenizer.json", "tiny_2019.tokenizer.json"):
        whole = (test_data / name).read_bytes()
        n_built = 0
        for _ in range(1500):
            data = bytearray(whole)
            for _ in range(draw.randrange(1, 4)):
                at = draw.randrange(len(data))
                match draw.randrange(4):
                    case 0:
                        data[at] ^= 1 << draw.randrange(8)
                    case 1:
                        del data[at : at + draw.randrange(1, 40)]
                    case 2:
                        data[at:at] = data[draw.randrange(len(data)) :][: draw.randrange(1, 40)]
                    case _:
                        data[at] = draw.choice(b'"[]{},:0 \\')
            try:
                tok = tl.Tokenizer.from_bytes(bytes(data), kind="tokenizer.json")
            except (FormatError, VocabError, PatternError):
                continue
            n_built += 1
            try:
                tok.decode(tok.encode("NASA's <tool> text, élan 123\n"))
            except PatternError:
                pass
        # Most bytes of a vocabulary can change and leave another valid one, but far from all.
        assert 0 < n_built < 1500


@pytest.mark.parametrize("key", ["normalizer", "added_tokens", "model", "anything"])
@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")])
def test_deep_nesting(key: str, opening: str, closing: str) -> None:
    deep = opening * 100_000 + "1" + closing * 100_000
    with pytest.raises(FormatError):
        tl.Tokenizer.from_bytes(f'{{"{key}": {deep}}}'.encode(), kind="tokenizer.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"hello",
        b"\x00" * 100,
        b"\xff\xfe{}",
        b"GGUF",
        b"{",
        b'{"',
        b"IQ== 0",
        b"PK\x03\x04",
        b"\x0a\x05\x0a\x03a",
    ],
)
def test_short_files(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        tl.Tokenizer.from_bytes(data)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        tl.Tokenizer.from_file(path)


@pytest.mark.parametrize("kind", ["tokenizer.json", "gguf", "tiktoken"])
def test_random_bytes(kind: str) -> None:
    draw = random.Random(43)
    for _ in range(300):
        data = draw.randbytes(draw.randrange(200))
        with pytest.raises(FormatError):
            tl.Tokenizer.from_bytes(data, kind=kind, pattern=".")


def gguf(pairs: list[tuple[str, bytes]], n_pairs: int | None = None) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs) if n_pairs is None else n_pairs)
    return head + b"".join(struct.pack("<Q", len(key)) + key.encode() + value for key, value in pairs)


ARRAY_OF_STRINGS = struct.pack("<II", 9, 8)
ABSURD = [
    gguf([], n_pairs=2**63),
    gguf([], n_pairs=60_000),
    gguf([("tokenizer.ggml.tokens", ARRAY_OF_STRINGS + struct.pack("<Q", 2**62))]),
    gguf([("tokenizer.ggml.tokens", ARRAY_OF_STRINGS + struct.pack("<QQ", 2**23, 2**62))]),
    gguf([("tokenizer.ggml.token_type", struct.pack("<IIQ", 9, 5, 2**23))]),
    gguf([("general.name", struct.pack("<IQ", 8, 2**50))]),
    gguf([("general.list", struct.pack("<IIQ", 9, 12, 2**61))]),
    gguf([("general.list", struct.pack("<IIQ", 9, 9, 2**61) * 40)]),
    gguf([("general.value", struct.pack("<I", 77))]),
    b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    struct.pack("<Q", 2**63) * 100,
]


@pytest.mark.parametrize("data", ABSURD, ids=range(len(ABSURD)))
def test_absurd_gguf_counts_cost_nothing(data: bytes, tmp_path: Path) -> None:
    before = peak_megabytes()
    with pytest.raises(FormatError) as caught:
        tl.Tokenizer.from_bytes(data, kind="gguf")
    assert caught.value.format == "gguf"
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        tl.Tokenizer.from_file(path, kind="gguf")
    assert peak_megabytes() - before < 64


def test_many_values_in_a_small_place_cost_memory_in_proportion() -> None:
    before = peak_megabytes()
    for data in (
        b'{"normalizer": [' + b"[]," * 2_000_000 + b"1]}",
        b'{"added_tokens": [' + b"{}," * 2_000_000 + b"1]}",
        b'{"model": {"merges": [' + b'"a b",' * 1_000_000 + b"1]}}",
        b'{"model": {"vocab": {' + b",".join(b'"%d": %d' % (i, i) for i in range(300_000)) + b'}, "merges": 1}}',
    ):
        with pytest.raises(FormatError):
            tl.Tokenizer.from_bytes(data, kind="tokenizer.json")
    assert peak_megabytes() - before < 512


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as stream:
        stream.write(b'{"version": "')
        stream.truncate(300 << 20)
    with pytest.raises(FormatError, match="at most"):
        tl.Tokenizer.from_file(path)


def test_what_a_file_does_not_say_is_asked_for() -> None:
    with pytest.raises(UnsupportedFeatureError, match="pattern="):
        tl.Tokenizer.from_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(FormatError, match="kind"):
        tl.Tokenizer.from_bytes(b"{}", kind="yaml")


def piece(text: str, score: float, type: int = 1) -> bytes:
    """One piece of a SentencePiece model: field 1 of the file, with fields 1, 2 and 3 of its own."""
    data = text.encode()
    body = b"\x0a" + bytes([len(data)]) + data + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([type])
    return b"\x0a" + bytes([len(body)]) + body


def test_damaged_piece_models_and_tekken_files_are_errors() -> None:
    trainer, normalizer = b"\x12\x05\x18\x02\xa0\x02\x01", b"\x1a\x04\x18\x01\x20\x00"
    bytes_ = b"".join(piece(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256))
    model = piece("<unk>", 0.0, 2) + bytes_ + piece("a", -1) + piece("▁", -2) + piece("▁a", -3) + trainer + normalizer
    tok = tl.Tokenizer.from_bytes(model)
    assert tok.is_compiled
    assert tok.encode("a aé").tolist() == [259, 259, 1 + 0xC3, 1 + 0xA9]
    entries = [{"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode()} for byte in range(256)]
    config = {"pattern": ".", "default_vocab_size": 258, "default_num_special_tokens": 2}
    tekken = json.dumps({"config": config, "vocab": entries, "special_tokens": []}).encode()
    tok = tl.Tokenizer.from_bytes(tekken)
    assert tok.encode("<SPECIAL_1>a").tolist() == [1, 2 + ord("a")]
    draw = random.Random(43)
    for whole in (model, tekken):
        for _ in range(600):
            data = bytearray(whole)
            for _ in range(draw.randrange(1, 4)):
                at = draw.randrange(len(data))
                if draw.random() < 0.5:
                    data[at] ^= 1 << draw.randrange(8)
                else:
                    del data[at : at + draw.randrange(1, 40)]
            try:
                tl.Tokenizer.from_bytes(bytes(data)).encode("a <é>")
            except (FormatError, VocabError, PatternError):
                continue


def test_missing_files_are_os_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            tl.Tokenizer.from_file(path)
    with pytest.raises(FileNotFoundError, match="none"):
        tl.Tokenizer.from_pretrained(tmp_path)


def test_rank_tables(test_data: Path) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    build = lambda extra, special=None: tl.Tokenizer.from_tiktoken(  # noqa: E731
        "own", pat_str=".+", mergeable_ranks=ranks | extra, special_tokens=special or {}
    )
    for extra in ({b"ab": 5}, {b"": 256}, {b"ab": 2**31}, {b"a" * 5000: 256}):
        with pytest.raises(FormatError, match="own"):
            build(extra)
    for special in ({"<x>": 7}, {"": 256}, {"<x>": 256, "<y>": 256}):
        with pytest.raises(FormatError, match="own"):
            build({}, special)
    with pytest.raises(FormatError, match="0x61"):
        tl.Tokenizer.from_tiktoken(
            "own", pat_str=".", mergeable_ranks={b"b": 0, **{bytes([b]): b + 1 for b in range(97)}}, special_tokens={}
        )
    with pytest.raises(ValueError, match="token id"):
        build({b"ab": -1})
    with pytest.raises(PatternError):
        tl.Tokenizer.from_tiktoken("own", pat_str="(", mergeable_ranks=ranks, special_tokens={})


def test_errors_are_of_the_tree(test_data: Path) -> None:
    for error in (FormatError, UnsupportedFeatureError, VocabError, PatternError):
        assert issubclass(error, TokenloomError)
        assert issubclass(error, ValueError)

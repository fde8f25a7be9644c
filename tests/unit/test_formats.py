"""Files of every kind, read through the public face."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenloom as tl
from tokenloom import formats
from tokenloom.encodings import ENCODINGS, find_encoding
from tokenloom.errors import MissingDependencyError, UnsupportedFeatureError

TEXT = "IT'S NASA's <tool> text, 12345\r\n  ünïcödé 日本 <|end|>"


def test_one_vocabulary_in_two_formats(test_data: Path) -> None:
    from_json = tl.Tokenizer.from_file(test_data / "tiny.tokenizer.json")
    from_gguf = tl.Tokenizer.from_file(test_data / "tiny.gguf")
    assert from_gguf.special_tokens == from_json.special_tokens
    assert from_gguf.vocab_size == from_json.vocab_size
    plain = "IT'S ünïcödé 12345\r\n  日本 <|end|>"
    assert from_gguf.encode(plain).tolist() == from_json.encode(plain).tolist()
    # The GGUF file says that BOS is added and says nothing of EOS.
    assert from_gguf.encode("a", add_special_tokens=True).tolist() == [0, *from_gguf.encode("a").tolist()]
    # It does not say that the text is normalized to NFC.
    assert from_gguf.decode(from_gguf.encode("e\u0301")) == "e\u0301"
    assert from_json.decode(from_json.encode("e\u0301")) == "\u00e9"


def test_bytes_files_and_folders_agree(test_data: Path, tmp_path: Path) -> None:
    for name, kind in (("tiny.tokenizer.json", "tokenizer.json"), ("tiny.gguf", "gguf")):
        data = (test_data / name).read_bytes()
        want = tl.Tokenizer.from_file(str(test_data / name)).encode(TEXT).tolist()
        assert tl.Tokenizer.from_bytes(data).encode(TEXT).tolist() == want
        assert tl.Tokenizer.from_bytes(data, kind=kind).encode(TEXT).tolist() == want
        assert tl.Tokenizer.from_bytes(memoryview(data)).encode(TEXT).tolist() == want
        folder = tmp_path / kind
        folder.mkdir()
        (folder / ("tokenizer.json" if kind == "tokenizer.json" else "model.gguf")).write_bytes(data)
        assert tl.Tokenizer.from_pretrained(folder).encode(TEXT).tolist() == want


def test_a_folder_with_several_files_is_ambiguous(test_data: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes((test_data / "tiny.gguf").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"a\.gguf, b\.gguf"):
        tl.Tokenizer.from_pretrained(tmp_path)


def test_a_hub_id_without_the_hub_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match="pip install huggingface_hub"):
        tl.Tokenizer.from_pretrained("some/model")


def test_a_hub_id_fetches_the_tokenizer_alone(monkeypatch: pytest.MonkeyPatch, test_data: Path) -> None:
    import huggingface_hub

    asked = []

    def download(*arguments: str, **keywords: str) -> str:
        asked.append((arguments, keywords))
        return str(test_data / "tiny.tokenizer.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert tl.Tokenizer.from_pretrained("some/model", revision="main").vocab_size == 424
    assert asked == [(("some/model", "tokenizer.json"), {"revision": "main"})]


def test_save_is_a_fixed_point(test_data: Path, tmp_path: Path) -> None:
    for name in ("tiny.tokenizer.json", "tiny_2019.tokenizer.json", "tiny.gguf"):
        tok = tl.Tokenizer.from_file(test_data / name)
        first, second = tmp_path / "first.json", tmp_path / "second.json"
        tok.save(first)
        again = tl.Tokenizer.from_file(first)
        again.save(second)
        assert first.read_bytes() == second.read_bytes()
        for flag in (False, True):
            assert (
                again.encode(TEXT, add_special_tokens=flag).tolist()
                == tok.encode(TEXT, add_special_tokens=flag).tolist()
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.json", "second.json"]


@pytest.mark.parametrize("pattern", sorted({encoding.pattern for encoding in ENCODINGS.values()}))
def test_a_saved_encoding_keeps_its_scanner(pattern: str, tmp_path: Path) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    tok = tl.Tokenizer.from_tiktoken("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    tok.save(tmp_path / "tokenizer.json")
    again = tl.Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert tok.stages()[0].engine.startswith("scanner")
    assert again.stages()[0] == tok.stages()[0]


def test_truncation_can_be_ignored(test_data: Path) -> None:
    data = (test_data / "tiny.tokenizer.json").read_bytes()
    cut = data.replace(
        b'"truncation": null', b'"truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0}', 1
    )
    with pytest.raises(UnsupportedFeatureError, match="truncation"):
        tl.Tokenizer.from_bytes(cut)
    tok = tl.Tokenizer.from_bytes(cut, ignore_truncation_and_padding=True)
    assert tok.encode(TEXT).tolist() == tl.Tokenizer.from_bytes(data).encode(TEXT).tolist()


def test_published_rank_files_are_known_by_content(asset: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("r50k_base", "p50k_base", "cl100k_base", "o200k_base"):
        data = (asset("tiktoken") / f"{name}.tiktoken").read_bytes()
        assert find_encoding(hashlib.sha256(data).hexdigest()) is ENCODINGS[name]
    renamed = tmp_path / "ranks"
    renamed.write_bytes((asset("tiktoken") / "r50k_base.tiktoken").read_bytes())
    tok = tl.Tokenizer.from_file(renamed)
    assert tok.encode("Hello<|endoftext|>").tolist() == [15496, 50256]
    other = tl.Tokenizer.from_file(renamed, pattern=r"\S+|\s+", special_tokens={"<s>": 60000})
    assert other.special_tokens == {"<s>": 60000}
    llama = tl.Tokenizer.from_file(asset("llama") / "llama3.tiktoken")
    assert llama.special_tokens["<|eot_id|>"] == 128009
    assert (llama.vocab_size, len(llama.special_tokens)) == (128256, 256)


def test_a_gguf_file_is_read_without_its_tensors(asset: Callable[[str], Path], tmp_path: Path) -> None:
    path = next(asset("smollm2").glob("*.gguf"))
    tok = tl.Tokenizer.from_file(path)
    with path.open("rb") as stream:
        head = stream.read(4 << 20)
    assert tl.Tokenizer.from_bytes(head, kind="gguf").encode(TEXT).tolist() == tok.encode(TEXT).tolist()
    assert (tok.vocab_size, len(tok.special_tokens)) == (49152, 17)


def test_the_kinds_have_names() -> None:
    assert formats.KINDS == ("tokenizer.json", "tiktoken", "gguf", "tekken.json", "sentencepiece")

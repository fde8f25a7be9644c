"""``encode`` and ``decode`` on files, stdin, arrays and JSON lines: what goes in comes out."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
import tokenloom as tl
from click.testing import CliRunner, Result
from tokenloom.cli.program import program

TEXTS = ["then naïve 自然", "", "  the <|end|>the", "👩\u200d👧 x"]


@pytest.fixture
def tok(test_data: Path) -> tl.Tokenizer:
    return tl.Tokenizer.from_file(test_data / "tiny.tokenizer.json")


@pytest.fixture
def path(test_data: Path) -> str:
    return str(test_data / "tiny.tokenizer.json")


def run(*arguments: str | Path, **options: object) -> Result:
    result = CliRunner().invoke(program, [str(argument) for argument in arguments], **options)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result


def test_lines_become_an_array_with_offsets_and_back(tok: tl.Tokenizer, path: str, tmp_path: Path) -> None:
    source, ids, back = tmp_path / "text.txt", tmp_path / "ids.npy", tmp_path / "back.txt"
    source.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    run("encode", path, "--file", source, "--lines", "--output", ids)
    values, cuts = np.load(ids), np.load(tmp_path / "ids.offsets.npy")
    assert values.dtype == np.uint32
    assert cuts.dtype == np.int64
    assert tl.Ragged(values, cuts) == tok.encode_batch(TEXTS)
    run("decode", path, "--file", ids, "--output", back)
    assert back.read_bytes() == source.read_bytes()


def test_a_file_becomes_one_array(tok: tl.Tokenizer, path: str, tmp_path: Path) -> None:
    source, ids = tmp_path / "text.bin", tmp_path / "ids.npy"
    source.write_bytes(b"the \xff\xfe\r\nthen\n")
    run("encode", path, "--file", source, "--output", ids)
    assert np.load(ids).tolist() == tok.encode_list(source.read_bytes())
    assert not (tmp_path / "ids.offsets.npy").exists()
    assert run("decode", path, "--file", ids).stdout_bytes == source.read_bytes()


def test_json_lines_hold_a_document_each(tok: tl.Tokenizer, path: str, tmp_path: Path) -> None:
    ids = tmp_path / "ids.jsonl"
    run("encode", path, "--lines", "--offsets", "--output", ids, input="\r\n".join(TEXTS))
    records = [json.loads(line) for line in ids.read_text().splitlines()]
    for text, record in zip(TEXTS, records, strict=True):
        want = tok.encode_with_offsets(text)
        assert record["ids"] == want.ids.tolist()
        assert record["n_bytes"] == len(text.encode())
        assert record["byte_offsets"] == want.byte_offsets.tolist()
        assert record["char_offsets"] == want.char_offsets.tolist()
    assert run("decode", path, "--file", ids).output.split("\n") == [*TEXTS, ""]


def test_offsets_are_a_line_a_token(tok: tl.Tokenizer, path: str) -> None:
    rows = [line.split("\t") for line in run("encode", path, "--offsets", "then 自").output.splitlines()]
    assert [int(row[0]) for row in rows] == tok.encode_list("then 自")
    assert rows[0][1] == "0"
    assert rows[-1][2] == str(len("then 自".encode()))


def test_special_tokens_as_asked(tok: tl.Tokenizer, path: str) -> None:
    text = next(iter(tok.special_tokens))
    assert run("encode", path, text).output.split() == [str(tok.special_tokens[text])]
    ordinary = [int(word) for word in run("encode", path, "--ordinary", text).output.split()]
    assert ordinary == tok.encode_list(text, allowed_special=())
    assert run("decode", path, "--skip-special", str(tok.special_tokens[text])).output == ""


def test_count_is_a_number_a_document(tok: tl.Tokenizer, path: str) -> None:
    counts = run("encode", path, "--count", "--lines", input="the\nthen the\n").output.split()
    assert counts == [str(tok.count("the")), str(tok.count("then the"))]


def test_several_files_are_read_in_order(tok: tl.Tokenizer, path: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"the {name}")
    lines = run("encode", path, "--file", tmp_path / "a", "--file", tmp_path / "b", "--json").output.splitlines()
    assert [json.loads(line)["ids"] for line in lines] == [tok.encode_list("the a"), tok.encode_list("the b")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "--output", "ids.txt"],
        ["encode", "--output", "ids.npy", "--offsets"],
        ["encode", "text", "--file", "-"],
        ["decode", "1", "--file", __file__],
        ["decode", "--file", __file__],
        ["inspect", "text", "--file", "-"],
    ],
)
def test_wrong_use_is_said(path: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(program, [arguments[0], path, *arguments[1:]], input="x")
    assert result.exit_code == click.UsageError.exit_code
    assert "Error: " in result.output


@pytest.mark.parametrize("array", [np.ones((2, 2), np.uint32), np.ones(3)])
def test_an_array_of_something_else_is_refused(path: str, tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "ids.npy", array)
    result = CliRunner().invoke(program, ["decode", path, "--file", str(tmp_path / "ids.npy")])
    assert isinstance(result.exception, tl.errors.FormatError)

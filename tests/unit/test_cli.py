"""The command line explains itself, reads and writes plain text and JSON, and fails in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tokenloom as tl
from click.testing import CliRunner
from tokenloom.cli.program import COMMANDS, program


@pytest.fixture
def tokenizer_json(tmp_path: Path) -> Path:
    """Byte-level BPE of the 256 bytes and one merge, trained here."""
    tokenizer = tl.train.bpe(["the the then"], vocab_size=258, progress=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(program, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_teaches_by_an_example(name: str) -> None:
    result = CliRunner().invoke(program, [name, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.output
    assert f"tokenloom {name}" in " ".join(result.output.split())


def test_encode_and_decode_are_inverse(tokenizer_json: Path) -> None:
    text = "then naïve 自然\n"
    result = CliRunner().invoke(program, ["encode", str(tokenizer_json)], input=text)
    ids = [int(word) for word in result.output.split()]
    assert ids == tl.Tokenizer.from_file(str(tokenizer_json)).encode_list(text)
    assert CliRunner().invoke(program, ["decode", str(tokenizer_json), *map(str, ids)]).output == text
    assert CliRunner().invoke(program, ["decode", str(tokenizer_json)], input=json.dumps(ids)).output == text
    counted = CliRunner().invoke(program, ["encode", str(tokenizer_json), "--count", text])
    assert int(counted.output) == len(ids)
    record = json.loads(CliRunner().invoke(program, ["encode", str(tokenizer_json), "--json", text]).output)
    assert record == {"ids": ids, "n_tokens": len(ids), "n_bytes": len(text.encode())}


def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; {before}sys.argv[1:] = {list(arguments)!r}; from tokenloom.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_error_is_one_message_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    result = run("encode", str(tmp_path / "tokenizer.json"), "text")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("tokenloom: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "FOLDER/empty", "text"),
        ("encode", "FOLDER/tokenizer.json", "text", "--output", "FOLDER/none/ids.npy"),
        ("inspect", "FOLDER/tokenizer.json", "--html", "FOLDER/none/page.html"),
        ("decode", "FOLDER/tokenizer.json", "65", "--output", "FOLDER/none/text"),
    ],
)
def test_a_file_that_cannot_be_read_or_written_is_one_message(arguments: tuple[str, ...], tokenizer_json: Path) -> None:
    (tokenizer_json.parent / "empty").mkdir()
    result = run(*(argument.replace("FOLDER", str(tokenizer_json.parent)) for argument in arguments))
    assert result.returncode == 1
    assert result.stderr.startswith("tokenloom: ")
    assert "Traceback" not in result.stderr


def test_bytes_that_are_not_text_are_inspected(tokenizer_json: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"the \xff\x00")
    result = CliRunner().invoke(program, ["inspect", str(tokenizer_json), "--json", "--file", str(tmp_path / "bytes")])
    assert result.exit_code == 0
    assert json.loads(result.output)["sample"]["text"] == "the \ufffd\0"


def test_a_missing_package_is_answered_with_the_line_that_installs_it() -> None:
    result = run("--help", before="sys.modules['click'] = None; ")
    assert result.returncode == 1
    assert "pip install tokenloom[cli]" in result.stderr

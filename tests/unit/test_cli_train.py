"""``tokenloom train`` writes a tokenizer that loads, and says what it did to readers and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenloom as tl
from click.testing import CliRunner
from tokenloom.cli.program import program


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the cat sat on the mat\n" * 20)
    return tmp_path


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(program, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_bpe_of_a_glob(corpus: Path) -> None:
    output = corpus / "out.json"
    options = ("--vocab-size", "270", "--pattern", "GPT2", "--special-token", "<s>", "-o", output)
    said = json.loads(run(corpus / "*.txt", *options, "--json"))
    assert (said["n_files"], said["n_bytes"], said["vocab_size"]) == (2, 2 * 20 * 23, 269)
    expected = tl.train.bpe(f"{corpus}/*.txt", 270, tl.patterns.GPT2, special_tokens=["<s>"], progress=False)
    assert tl.Tokenizer.from_file(output).encode_list("<s>the mat") == expected.encode_list("<s>the mat")


def test_superbpe_of_several_files(corpus: Path) -> None:
    output = corpus / "out.json"
    said = run(
        corpus / "a.txt", corpus / "b.txt", "--vocab-size", "290", "--superbpe", "--max-words", "2", "-o", output
    )
    tokenizer = tl.Tokenizer.from_file(output)
    assert f"{tokenizer.vocab_size} tokens" in said
    tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    assert max(len(token.split()) for token in tokens) == 2


def test_a_transition_without_stages_is_a_usage_error(corpus: Path) -> None:
    result = CliRunner().invoke(program, ["train", str(corpus / "a.txt"), "--transition", "300"])
    assert result.exit_code == 2
    assert "--superbpe" in result.output


def test_extending_with_a_report(corpus: Path) -> None:
    base, output, report = corpus / "base.json", corpus / "out.json", corpus / "report.html"
    run(corpus / "a.txt", "--vocab-size", "262", "-o", base)
    (corpus / "b.jsonl").write_text('{"body": "the cat and the dog sat"}\n' * 9)
    options = ("--vocab-size", "280", "--superbpe", "--resume", base, "--column", "body", "--memory-limit", "1MB")
    run(corpus / "b.jsonl", corpus / "a.txt", *options, "--checkpoint", corpus / "ck", "--report", report, "-o", output)
    before, after = tl.Tokenizer.from_file(base), tl.Tokenizer.from_file(output)
    assert [after.token_bytes(id) for id in range(262)] == [before.token_bytes(id) for id in range(262)]
    assert after.vocab_size > 262
    page = report.read_text()
    for part in ("<svg", "Most frequent superwords", "Latin", "bytes per token", "<code>"):
        assert part in page
    assert not (corpus / "ck").exists()


def test_boundless(corpus: Path) -> None:
    output = corpus / "out.json"
    run(corpus / "a.txt", "--vocab-size", "290", "--superbpe", "--boundless", "-o", output)
    tokens = tl.Tokenizer.from_file(output).encode_list("the cat sat")
    assert len(tokens) == 2

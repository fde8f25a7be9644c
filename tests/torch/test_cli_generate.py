"""`tokenloom generate` over a model folder does what `tl.torch.generate` does, and says what it cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tokenloom as tl
from click.testing import CliRunner, Result
from tokenloom.cli.program import program
from tokenloom.errors import ConstraintError
from transformers import LlamaForCausalLM


@pytest.fixture(scope="module")
def folder(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tiny")
    tiny_model.save_pretrained(path)
    tiny_tokenizer.save(str(path / "tokenizer.json"))
    return str(path)


def generate(*arguments: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(program, ["generate", *arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def records(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_prompts_from_arguments_files_and_stdin(folder: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("the cat\n\nthe dog\n")
    by_file = records(generate(folder, "--file", str(tmp_path / "prompts.txt"), "-n", "8", "--json"))
    assert [record["prompt"] for record in by_file] == ["the cat", "the dog"]
    assert by_file == records(generate(folder, "the cat", "the dog", "-n", "8", "--json"))
    assert by_file == records(generate(folder, "-n", "8", "--json", stdin="the cat\nthe dog\n"))


def test_same_tokens_with_drafts(folder: str) -> None:
    sampled = ("the the the", "--temperature", "0.5", "--seed", "3", "-n", "30", "--json")
    (plain,) = records(generate(folder, *sampled))
    (drafted,) = records(generate(folder, *sampled, "--draft"))
    assert drafted["ids"] == plain["ids"]
    assert plain["model_calls"] == 30


def test_constraints(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (matched,) = records(generate(folder, "x", "--regex", "[ab]{3}", "-n", "8", "--json"))
    assert re.fullmatch("[ab]{3}", str(matched["text"]))
    (tmp_path / "schema.json").write_text('{"enum": [17]}', encoding="utf-8-sig")
    (tmp_path / "grammar.lark").write_text('start: "(" start ")" | "ab"')
    (nested,) = records(generate(folder, "x", "--lark", str(tmp_path / "grammar.lark"), "-n", "8", "--json"))
    assert re.fullmatch(r"\(*ab\)*", nested["text"])
    (number,) = records(generate(folder, "x", "--json-schema", str(tmp_path / "schema.json"), "--json"))
    assert json.loads(str(number["text"])) == 17
    (tmp_path / "rule.py").write_text("def short(prefix: bytes) -> bool:\n    return len(prefix) <= 4\n")
    monkeypatch.chdir(tmp_path)
    for temperature in ("0", "1"):
        rule = ("--predicate", "rule:short", "--temperature", temperature)
        (short,) = records(generate(folder, "x", *rule, "--json"))
        assert len(bytes(tl.Tokenizer.from_file(f"{folder}/tokenizer.json").decode_bytes(short["ids"]))) <= 4 + 7
        assert (short["log_weight"] != 0) == (temperature == "1")


def test_plain_output_is_the_answer_and_its_cost(folder: str) -> None:
    result = generate(folder, "the", "-n", "5")
    assert "tokens per model call" in result.stderr
    assert "tokens per model call" not in result.stdout


def test_files_that_are_no_text_are_named(folder: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wide.json"
    wrong.write_bytes('{"type": "integer"}'.encode("utf-16"))
    for option in ("--json-schema", "--lark"):
        result = CliRunner().invoke(program, ["generate", folder, "x", option, str(wrong)])
        assert result.exit_code == 2
        assert "is not UTF-8" in result.output


def test_particles_and_healing_are_those_of_the_library(folder: str) -> None:
    rule = ("--regex", "[ab]{3}", "--temperature", "1", "-n", "8", "--seed", "5")
    found = records(generate(folder, "x", "y", *rule, "--particles", "3", "--json"))
    model, tokenizer = tl.torch.load(folder)
    constraint = tl.control.regex("[ab]{3}", tokenizer)
    options = {"max_new_tokens": 8, "constraint": constraint, "method": "smc", "particles": 3, "seed": 5}
    expected = tl.torch.generate(model, tokenizer, ["x", "y"], **options)
    assert [one["prompt"] for one in found] == ["x"] * 3 + ["y"] * 3
    assert [(one["text"], one["log_weight"]) for one in found] == [(one.text, one.log_weight) for one in expected]
    (healed,) = records(generate(folder, "the ca", "--heal", "-n", "4", "--json"))
    (answer,) = tl.torch.generate(
        model, tokenizer, "the ca", max_new_tokens=4, heal=True, params=tl.sample.Params(temperature=0.0)
    )
    assert healed["text"] == answer.text


def test_a_wrong_constraint_is_named_before_the_model_is_read(folder: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(Path(folder, "tokenizer.json").read_bytes())
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "nonsense"}')
    for rule in (("--json-schema", str(schema)), ("--regex", "(")):
        with pytest.raises(ConstraintError):  # that folder holds no model
            CliRunner().invoke(program, ["generate", str(tmp_path), "x", *rule], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--particles", "3"], "need a constraint"),
        (["--method", "check"], "need a constraint"),
        (["--regex", "a", "--heal"], "without a constraint"),
        (["--regex", "a", "--particles", "2", "--draft"], "give one of --draft"),
        (["--regex", "a", "--predicate", "rule:short"], "give one of"),
        (["--predicate", "nothing"], "MODULE:FUNCTION"),
        (["--predicate", "no_such_module:f"], "no_such_module"),
    ],
)
def test_usage_errors_are_explained(folder: str, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(program, ["generate", folder, "x", *arguments])
    assert result.exit_code == 2
    assert message in result.output

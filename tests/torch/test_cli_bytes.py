"""`tokenloom bytes` shows the law that `ByteModel` computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from click.testing import CliRunner
from tokenloom.cli.program import program
from transformers import LlamaForCausalLM


@pytest.fixture(scope="module")
def folder(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tiny")
    tiny_model.save_pretrained(path)
    tiny_tokenizer.save(str(path / "tokenizer.json"))
    return str(path)


def test_the_bars_are_the_law(folder: str) -> None:
    arguments = ["bytes", folder, "--prompt", "th"]
    shown = CliRunner().invoke(program, [*arguments, "--top", "5"], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert len(lines) == 6
    assert lines[-1].split()[0] == "others"
    assert lines[0].count("█") == 40
    found = json.loads(CliRunner().invoke(program, [*arguments, "--json"], catch_exceptions=False).stdout)
    model, tokenizer = tl.torch.load(Path(folder))
    expected = np.exp(tl.bytelevel.ByteModel(model, tokenizer).start(b"th").next_byte())
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-9)


def test_the_marginal_target_takes_its_knobs(folder: str) -> None:
    arguments = ["bytes", folder, "--prompt", "the th", "--target", "marginal", "--max-tv", "0"]
    run = CliRunner().invoke
    exact = json.loads(run(program, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert exact["certificate"] == pytest.approx(0, abs=1e-12)
    coarse = run(program, [*arguments, "--min-share", "0.2"], catch_exceptions=False)
    assert "in total variation" in coarse.stderr
    found = json.loads(run(program, [*arguments, "--min-share", "0.2", "--json"], catch_exceptions=False).stdout)
    distance = np.abs(np.array(found["probabilities"]) - exact["probabilities"]).sum() / 2
    assert distance <= found["certificate"]
    assert run(program, [*arguments, "--min-share", "1"]).exit_code == 2

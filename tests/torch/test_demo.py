"""The demo runs without a terminal, and every check it makes holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_demo_holds_on_the_real_model(smollm2_gguf: Path) -> None:
    command = [sys.executable, "-m", "tokenloom", "demo", "--model", str(smollm2_gguf), "-n", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every check held" in done.stdout
    assert "\x1b[" not in done.stdout, "no escape codes in a pipe"


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    code = "import sys; sys.argv[1:] = ['demo']; from tokenloom.cli import main; main()"
    environment = {"TOKENLOOM_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make demo" in done.stderr

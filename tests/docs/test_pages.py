"""Is every page there, short enough, and without dead links?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = (
    "awrs",
    "bytelevel",
    "compat",
    "control",
    "draft",
    "exactness",
    "formats",
    "generate",
    "lexica",
    "particles",
    "pipeline",
    "sample",
    "segment",
    "tokenizer",
    "train",
    "verify",
)


@pytest.mark.parametrize("domain", DOMAINS)
def test_domain_has_a_concepts_page(domain: str) -> None:
    page = ROOT / "docs" / "concepts" / f"{domain}.md"
    assert page.read_text(encoding="utf-8").startswith("# ")
    assert f"concepts/{domain}.md" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_readme_fits_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_no_link_is_dead() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "check_links.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

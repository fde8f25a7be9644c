"""Does every example in README, docs and docstrings run?

A page is one test: its ```python blocks run in order in one namespace, its ```console blocks run the lines that start
with `$ tokenloom` (the others are instructions) and compare what follows with what is printed, `...` standing for any
text. A docstring is doctested, and its ```python blocks run.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.example import SybilFailure
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser
from tokenloom import _core

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MODULES = sorted((ROOT / "python" / "tokenloom").rglob("*.py"))


def run_console(example: Example) -> str | None:
    """Run each `$ tokenloom ...` line; the lines up to the next `$` are its output."""
    for command, expected in re.findall(r"^\$ (tokenloom .*)\n((?:(?!\$ ).*\n?)*)", str(example.parsed), re.MULTILINE):
        words = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode != 0:
            return f"{command}: status {done.returncode}\n{done.stderr}"
        if expected.strip() and not doctest.OutputChecker().check_output(
            expected.strip(), done.stdout.strip(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        ):
            return f"{command}: expected\n{expected}\nfound\n{done.stdout}"
    return None


class ConsoleBlockParser(CodeBlockParser):
    """```console blocks."""

    language = "console"

    def evaluate(self, example: Example) -> str | None:
        return run_console(example)


DOCTEST_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SYBIL = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=DOCTEST_OPTIONS), ConsoleBlockParser()],
    document_types={".md": Document},
)
DOCSTRINGS = Sybil(
    parsers=[DocTestParser(optionflags=DOCTEST_OPTIONS), PythonCodeBlockParser(doctest_optionflags=DOCTEST_OPTIONS)],
    document_types={".py": PythonDocStringDocument},
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_examples_run(page: Path) -> None:
    for example in SYBIL.parse(page).examples():
        example.evaluate()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_docstring_examples_run(module: Path) -> None:
    for example in DOCSTRINGS.parse(module).examples():
        example.evaluate()


def compiled() -> list[tuple[str, str]]:
    """Docstrings that are written in Rust, and so stand in no Python file: name and text of those with an example."""
    found = []
    for module in (vars(_core)[name] for name in dir(_core) if not name.startswith("_")):
        for name, thing in vars(module).items() if isinstance(module, ModuleType) else ():
            for part in (thing, *(vars(thing).values() if isinstance(thing, type) else ())):
                if ">>>" in (getattr(part, "__doc__", None) or ""):
                    found.append((f"{module.__name__}.{getattr(part, '__qualname__', name)}", part.__doc__))
    return found


@pytest.mark.parametrize(("name", "text"), compiled(), ids=lambda value: value if "\n" not in value else "")
def test_compiled_docstring_examples_run(name: str, text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=DOCTEST_OPTIONS)
    assert runner.run(test).failed == 0


WRONG = {
    "block.md": "```python\nassert 1 == 2\n```\n",
    "status.md": "```console\n$ tokenloom no-such-command\n```\n",
    "output.md": "```console\n$ tokenloom --version\nsomething else\n```\n",
    "doctest.py": '"""Title.\n\n>>> 1 + 1\n3\n"""\n',
    "fenced.py": 'def f():\n    """Title.\n\n    ```python\n    assert 1 == 2\n    ```\n    """\n',
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_example_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The machinery itself: each kind of example fails when it is wrong."""
    path = tmp_path / name
    path.write_text(WRONG[name])
    monkeypatch.syspath_prepend(tmp_path)
    (example,) = (DOCSTRINGS if path.suffix == ".py" else SYBIL).parse(path).examples()
    with pytest.raises((AssertionError, SybilFailure)):
        example.evaluate()

"""Which text do the benches read?

Slices of about 1 MB, all different, cut at line ends, written once into a temporary folder of the run:

- English: docstrings of the standard library and of the packages that the peers bring along;
- code: Python sources of the same and the C++ headers that come with PyTorch;
- multilingual: the parallel texts of ``../shared/data`` (XQuAD, UDHR). Without that folder the rows are left out.

Files are taken in sorted order, so equal installations give equal text.
"""

from __future__ import annotations

import ast
import itertools
import json
import lzma
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from benches.harness import ROOT

N_SLICE_BYTES = 1_000_000
_SHARED = ROOT.parent / "shared" / "data"


def write_slices(kind: str, n_slices: int, folder: Path) -> list[str]:
    """Write at most ``n_slices`` files of about 1 MB of ``kind``, as many as the text gives, and return their paths."""
    paths = []
    slices = _slices(_KINDS[kind]())
    for index, text in zip(range(n_slices), slices, strict=False):
        path = folder / f"{kind}-{index}.txt"
        path.write_text(text, encoding="utf-8", newline="")
        paths.append(str(path))
    return paths


def kinds() -> list[str]:
    """The kinds of text that this machine has."""
    return [kind for kind in _KINDS if kind != "multilingual" or _SHARED.is_dir()]


def _slices(pieces: Iterator[str]) -> Iterator[str]:
    buffer: list[str] = []
    n_bytes = 0
    for piece in pieces:
        text = piece.replace("<|", "<")  # engines disagree by design on text that holds special tokens
        buffer.append(text)
        n_bytes += len(text.encode())
        if n_bytes >= N_SLICE_BYTES:
            yield "".join(buffer)
            buffer, n_bytes = [], 0


def _folders() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths["stdlib"]), *(Path(paths["purelib"]) / name for name in ("scipy", "sympy", "torch"))]


def _sources(pattern: str, folders: list[Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(folder.rglob(pattern)):
            if "site-packages" in path.relative_to(folder).parts:
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # test files in other encodings, on purpose
            if len(text) < N_SLICE_BYTES // 4:
                yield text


def _english() -> Iterator[str]:
    for source in _sources("*.py", _folders()):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue  # the standard library's own tests of the parser
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) > 200:
                    yield text + "\n\n"


def _code() -> Iterator[str]:
    python = _sources("*.py", _folders())
    headers = _sources("*.h", [Path(sysconfig.get_paths()["purelib"]) / "torch" / "include"])
    for text, header in zip(python, headers, strict=False):
        yield text
        yield header


def _multilingual() -> Iterator[str]:
    documents = [_xquad(path) for path in sorted((_SHARED / "xquad").glob("*.json.xz"))]
    documents += [path.read_text(encoding="utf-8").split("\n\n") for path in sorted((_SHARED / "udhr").glob("*.txt"))]
    # One paragraph of each language in turn, so that every slice holds all of them.
    for paragraphs in itertools.zip_longest(*documents, fillvalue=""):
        for paragraph in paragraphs:
            if paragraph:
                yield paragraph + "\n"


def _xquad(path: Path) -> list[str]:
    articles = json.loads(lzma.decompress(path.read_bytes()))["data"]
    return [
        "\n".join([paragraph["context"], *(item["question"] for item in paragraph["qas"])])
        for article in articles
        for paragraph in article["paragraphs"]
    ]


_KINDS: dict[str, Callable[[], Iterator[str]]] = {"English": _english, "code": _code, "multilingual": _multilingual}

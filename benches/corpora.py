"""Which text do the benches read?

Slices of about 1 MB, all different, cut at line ends, written once into the cache beside the converted tokenizers:

- English: docstrings of the standard library and of packages that the peers bring along;
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
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from benches import vocabularies
from benches.harness import ROOT

N_SLICE_BYTES = 1_000_000
_PACKAGES = ("scipy", "sympy", "torch", "transformers", "pandas", "matplotlib")
_SHARED = ROOT.parent / "shared" / "data"


def write_slices(kind: str, n_slices: int) -> list[str]:
    """Write at most ``n_slices`` files of about 1 MB of ``kind``, as many as the text gives, and return their paths."""
    installed = "".join(f"{name} {version(name)}," for name in _PACKAGES)
    folder = vocabularies.made_folder() / f"texts-{sha256(installed.encode()).hexdigest()[:8]}"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{kind}-{index}.txt" for index in range(n_slices)]
    if not all(path.exists() for path in paths):
        slices = _slices(_KINDS[kind]())
        for path, text in itertools.zip_longest(paths, itertools.islice(slices, n_slices), fillvalue=""):
            assert isinstance(path, Path)
            partial = path.with_suffix(".partial")
            partial.write_text(text, encoding="utf-8", newline="")
            partial.replace(path)
    return [str(path) for path in paths if path.stat().st_size]  # an empty file says: there is no more text


def read(path: str) -> str:
    """The text of a slice, its line ends as written."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return stream.read()


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
    return [Path(paths["stdlib"]), *(Path(paths["purelib"]) / name for name in _PACKAGES)]


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

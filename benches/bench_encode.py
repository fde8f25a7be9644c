"""How fast is text turned into ids, beside the peers?

One call on one document of about 1 MB that the engine has not seen, one thread; arrays against arrays, lists against
lists. Oracle: tiktoken for its own rank files, tokenizers for a tokenizer.json.
"""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches import corpora
from benches.harness import ROOT, Case

TITLE = "Encode: one call on 1 MB of unseen text, one thread"
NOTE = (
    "English: docstrings of the standard library and of scipy, sympy, torch. Code: their Python sources and PyTorch's "
    "C++ headers. Multilingual: XQuAD and UDHR, 12 and 24 languages interleaved. No text holds a special token. "
    "array: the engine returns a NumPy array; list: a list of int."
)

N_ROUNDS = 5
# Which engines return which; tokenizers has lists only.
_ENGINES = {
    "array": ("tokenloom", "gigatoken", "fastokens", "tiktoken"),
    "list": ("tokenloom", "fastokens", "tokenizers", "tiktoken"),
}

# As in published tokenizer.json files: Oniguruma reads tiktoken's possessive `{1,3}+` differently.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_JSON_PATTERNS = {
    "cl100k_base": _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    + f"{_CONTRACTIONS}?"
    + r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    + f"{_CONTRACTIONS}?"
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def cases() -> list[Case]:
    """Every tokenizer, kind of text and kind of result."""
    folder = Path(tempfile.mkdtemp(prefix="bench-encode-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    slices = {kind: corpora.write_slices(kind, N_ROUNDS + 1, folder) for kind in corpora.kinds()}
    rows = []
    for name, tokenizer in _tokenizers(folder).items():
        for kind, paths in slices.items():
            n_megabytes = sum(Path(path).stat().st_size for path in paths[1:]) / 1e6 / len(paths[1:])
            for result, engines in _ENGINES.items():
                if tokenizer["kind"] == "tokenizer.json":
                    # tiktoken cannot read the file. The oracle joins the rows of arrays: a list of the same ids.
                    engines = tuple(e for e in engines if e != "tiktoken")
                    engines += ("tokenizers",) * (result == "array")
                rows.append(
                    Case(
                        row=f"{name}, {kind}, {result}",
                        operation=f"encode_{result}",
                        engines=engines,
                        oracle="tiktoken" if "tiktoken" in engines else "tokenizers",
                        arguments={"tokenizer": tokenizer, "warm_up": paths[0], "texts": paths[1:]},
                        n_items=n_megabytes,
                        unit="MB/s",
                        n_rounds=len(paths) - 1,
                    )
                )
    return rows


def _tokenizers(folder: Path) -> dict[str, dict[str, Any]]:
    """Where each tokenizer's files lie; the JSON form of a rank file is made by transformers, not by us."""
    fetch = _load_script("fetch_assets").fetch
    ranks = fetch("tiktoken")
    found: dict[str, dict[str, Any]] = {}
    for name in ("cl100k_base", "o200k_base"):
        path = str(ranks / f"{name}.tiktoken")
        found[name] = {"kind": "tiktoken", "name": name, "path": path, "json": _convert(name, path, folder)}
    path = str(fetch("deepseek") / "tokenizer.json")
    found["deepseek_v3"] = {"kind": "tokenizer.json", "name": "deepseek_v3", "path": path, "json": path}
    return found


def _convert(name: str, path: str, folder: Path) -> str:
    from transformers.convert_slow_tokenizer import TikTokenConverter

    target = str(folder / f"{name}.tokenizer.json")
    TikTokenConverter(vocab_file=path, pattern=_JSON_PATTERNS[name]).converted().save(target)
    return target


def _load_script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name while it runs
    spec.loader.exec_module(module)
    return module

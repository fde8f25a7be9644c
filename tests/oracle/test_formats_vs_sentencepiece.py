"""SentencePiece models against sentencepiece, tekken.json against tiktoken, saved files against tokenizers."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tiktoken
import tokenizers
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, random_texts
from piece_models import LINES, PARTS, piece_model

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
@pytest.mark.parametrize("name", ["bert-bge", "gemma-4", "llama-spm"])
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


def check_model(data: bytes, rng: random.Random, texts: list[str]) -> tl.Tokenizer:
    """Ids, byte offsets and text of a model, whichever machine runs it, and of its copies."""
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    ours = tl.Tokenizer.from_bytes(data, kind="sentencepiece")
    for text in [*texts, *("".join(rng.choices(PARTS, k=rng.randrange(14))) for _ in range(50))]:
        found, want = ours.encode_with_offsets(text, allowed_special=()), theirs.encode(text, return_type="proto")
        assert found.ids.tolist() == [piece.id for piece in want.pieces], repr(text)
        if not ours.is_compiled:
            spans = [[piece.begin, piece.end] for piece in want.pieces]
            assert found.byte_offsets.tolist() == spans, repr(text)
    odd = [i for i in range(len(theirs)) if theirs.is_byte(i) or theirs.id_to_piece(i).startswith("▁") or i < 6]
    for number in range(50):
        ids = rng.choices(odd if number % 2 else range(len(theirs)), k=rng.randrange(1, 10))
        want = theirs.decode(ids)
        assert ours.decode(ids, skip_special_tokens=True) == want, ids
        stream = ours.decode_stream(skip_special_tokens=True)
        assert "".join(map(stream.push, ids)) + stream.flush() == want, ids
    return ours


def check_random_models(seeds: range) -> None:
    kinds = set()
    for seed in seeds:
        rng = random.Random(seed)
        data = piece_model(rng, is_plain=seed % 2 == 0)
        kinds.add(check_model(data, rng, rng.sample(LINES, 2)).is_compiled)
    assert kinds == {False, True}


def test_random_models() -> None:
    check_random_models(range(24))


@pytest.mark.heavy
def test_many_random_models() -> None:
    start = random.SystemRandom().randrange(2**32)
    print(f"seed {start}")
    check_random_models(range(start, start + 1000))


def test_interpreted_models_copy_and_save_themselves(tmp_path: Path) -> None:
    rng = random.Random(1)
    ours = tl.Tokenizer.from_bytes(piece_model(rng, is_plain=False), kind="sentencepiece")
    assert not ours.is_compiled
    ours.save(tmp_path / "tokenizer.model")
    copies = [
        pickle.loads(pickle.dumps(ours)),
        copy.deepcopy(ours),
        tl.Tokenizer.from_file(tmp_path / "tokenizer.model"),
    ]
    check_model((tmp_path / "tokenizer.model").read_bytes(), rng, [])
    for text in LINES[:9]:
        assert [other.encode_list(text) for other in copies] == [ours.encode_list(text)] * 3
    assert [part for part, _, _ in ours.stages()][-2:] == ["normalizer", "model"]
    with pytest.raises(tl.errors.UnsupportedFeatureError, match="SentencePiece"):
        ours.save(tmp_path / "tokenizer.json")


def test_special_tokens_cut_an_interpreted_model() -> None:
    rng = random.Random(1)
    ours = tl.Tokenizer.from_bytes(piece_model(rng, is_plain=False), kind="sentencepiece")
    whole = ours.encode_list("the<s>cat", allowed_special="all")
    assert ours.special_tokens["<s>"] in whole
    assert ours.special_tokens["<s>"] not in ours.encode_list("the<s>cat", allowed_special=())

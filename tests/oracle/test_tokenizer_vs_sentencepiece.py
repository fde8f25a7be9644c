"""Ids and decoding of a ``.model`` equal those of ``sentencepiece``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import sentencepiece
import tokenloom as tl
from oracle_texts import (
    EDGE_TEXTS,
    all_points_in_context,
    file_texts,
    points_in_context,
    random_texts,
    sampled_points,
    udhr_texts,
)

MODELS = {
    "v1": ("mistral", "tokenizer.model.v1"),
    "v2": ("mistral", "tokenizer.model.v2"),
    "v3": ("mistral", "tokenizer.model.v3"),
    "v7": ("mistral", "tokenizer.model.v7"),
    "v7m1": ("mistral", "tokenizer.model.v7m1"),
}
LIGHT = ("v1", "v7")
Pair = tuple[tl.Tokenizer, sentencepiece.SentencePieceProcessor]


@pytest.fixture(
    scope="module",
    params=[name if name in LIGHT else pytest.param(name, marks=pytest.mark.heavy) for name in MODELS],
)
def pair(request: pytest.FixtureRequest, asset: Callable[[str], Path]) -> Pair:
    package, file = MODELS[request.param]
    path = asset(package) / file
    return tl.Tokenizer.from_file(path), sentencepiece.SentencePieceProcessor(model_file=str(path))


def check(pair: Pair, texts: Iterable[str]) -> None:
    ours, theirs = pair
    for text in texts:
        want = theirs.encode(text)
        # The peer never matches control tokens in a text.
        assert ours.encode_list(text, allowed_special=()) == want, repr(text)
        assert ours.decode(want) == theirs.decode(want), repr(text)


def test_edge_and_file_texts(pair: Pair, test_data: Path, shared_data: Path | None) -> None:
    check(pair, [*EDGE_TEXTS, *file_texts(test_data), *udhr_texts(shared_data, 1500)])


def test_code_points_in_context(pair: Pair) -> None:
    check(pair, points_in_context(sampled_points()))


def test_random_texts(pair: Pair) -> None:
    check(pair, random_texts(61, 1000))


def test_every_piece(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.vocab_size == theirs.vocab_size()
    for token in range(theirs.vocab_size()):
        if token == theirs.unk_id():
            want = " ⁇ ".encode()  # what the peer decodes it to
        elif theirs.is_byte(token):
            want = bytes([int(theirs.id_to_piece(token)[3:5], 16)])
        else:
            want = theirs.id_to_piece(token).replace("▁", " ").encode()
        assert ours.token_bytes(token) == want, token


def test_random_ids_decode(pair: Pair) -> None:
    ours, theirs = pair
    draw = random.Random(62)
    ordinary = [token for token in range(theirs.vocab_size()) if not theirs.is_control(token)]
    ordinary.remove(theirs.unk_id())
    for _ in range(1000):
        ids = draw.choices(ordinary, k=draw.randrange(1, 12))
        assert ours.decode(ids) == theirs.decode(ids), ids


@pytest.mark.heavy
def test_all_code_points_in_context(pair: Pair) -> None:
    check(pair, all_points_in_context())


@pytest.mark.heavy
def test_fresh_random_texts(pair: Pair) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    check(pair, random_texts(seed, 30_000))

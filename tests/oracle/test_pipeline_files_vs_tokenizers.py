"""Published files through ``tokenloom.compat.tokenizers``: every part of an encoding equals ``tokenizers``."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest
import tokenizers
from oracle_texts import (
    EDGE_TEXTS,
    all_points_in_context,
    file_texts,
    points_in_context,
    random_texts,
    sampled_points,
    udhr_texts,
)
from published import TOKENIZER_JSON, Sources
from tokenloom.compat import tokenizers as ours_module

LIGHT = ("tiny", "anthropic", "mistral_v1")
PARTS = (
    "ids",
    "tokens",
    "offsets",
    "type_ids",
    "attention_mask",
    "special_tokens_mask",
    "word_ids",
    "sequence_ids",
)
Pair = tuple[ours_module.Tokenizer, tokenizers.Tokenizer]


@pytest.fixture(
    scope="module",
    params=[name if name in LIGHT else pytest.param(name, marks=pytest.mark.heavy) for name in TOKENIZER_JSON],
)
def pair(
    request: pytest.FixtureRequest,
    asset: Callable[[str], Path],
    test_data: Path,
    shared_data: Path | None,
    compose: ModuleType,
) -> Pair:
    data = TOKENIZER_JSON[request.param](Sources(asset, test_data, shared_data, compose)).decode()
    return ours_module.Tokenizer.from_str(data), tokenizers.Tokenizer.from_str(data)


def check(pair: Pair, texts: Iterable[object], parts: tuple[str, ...] = PARTS) -> None:
    ours, theirs = pair
    texts = iter(texts)
    while batch := list(itertools.islice(texts, 64)):
        expected, found = theirs.encode_batch(batch), ours.encode_batch(batch)
        for text, want, got in zip(batch, expected, found, strict=True):
            for part in parts:
                assert getattr(got, part) == getattr(want, part), (part, text)
        rows = [want.ids for want in expected]
        for skip in (False, True):
            want_texts = theirs.decode_batch(rows, skip_special_tokens=skip)
            assert ours.decode_batch(rows, skip_special_tokens=skip) == want_texts, batch


def test_edge_and_file_texts(pair: Pair, test_data: Path, shared_data: Path | None) -> None:
    check(pair, [*EDGE_TEXTS, *file_texts(test_data), *udhr_texts(shared_data, 600)])


def test_random_texts_and_pairs(pair: Pair) -> None:
    texts = random_texts(41, 240)
    check(pair, texts)
    check(pair, zip(texts[::2], texts[1::2], strict=True))


def test_random_ids_decode(pair: Pair) -> None:
    ours, theirs = pair
    draw = random.Random(6)
    n_ids = theirs.get_vocab_size(with_added_tokens=True)
    rows = [[draw.randrange(n_ids) for _ in range(draw.randrange(1, 12))] for _ in range(300)]
    for skip in (False, True):
        want = theirs.decode_batch(rows, skip_special_tokens=skip)
        assert ours.decode_batch(rows, skip_special_tokens=skip) == want


@pytest.mark.heavy
def test_code_points_in_context(pair: Pair) -> None:
    check(pair, points_in_context(sampled_points(), 40), ("ids", "offsets"))


@pytest.mark.heavy
def test_all_code_points_in_context(pair: Pair) -> None:
    check(pair, all_points_in_context(), ("ids", "offsets"))


@pytest.mark.heavy
def test_fresh_random_texts(pair: Pair) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    check(pair, random_texts(seed, 4000))

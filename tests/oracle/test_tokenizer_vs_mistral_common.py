"""Ids and bytes of a ``tekken.json`` equal those of ``mistral-common``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import tokenloom as tl
from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from oracle_texts import (
    EDGE_TEXTS,
    all_points_in_context,
    file_texts,
    points_in_context,
    random_texts,
    sampled_points,
    udhr_texts,
)

Pair = tuple[tl.Tokenizer, Tekkenizer]


@pytest.fixture(
    scope="module", params=["tekken_240911.json", pytest.param("tekken_240718.json", marks=pytest.mark.heavy)]
)
def pair(request: pytest.FixtureRequest, asset: Callable[[str], Path]) -> Pair:
    path = asset("mistral") / request.param
    return tl.Tokenizer.from_file(path), Tekkenizer.from_file(str(path))


def check(pair: Pair, texts: Iterable[str]) -> None:
    ours, theirs = pair
    for text in texts:
        want = theirs.encode(text, bos=False, eos=False)
        # The peer never matches special tokens in a text.
        assert ours.encode_list(text, allowed_special=()) == want, repr(text)
        assert ours.decode(want) == theirs.decode(want) == text, repr(text)
        spans = ours.encode_with_offsets(text, allowed_special=()).byte_offsets
        assert b"".join(text.encode()[start:end] for start, end in spans) == text.encode(), repr(text)


def test_edge_and_file_texts(pair: Pair, test_data: Path, shared_data: Path | None) -> None:
    check(pair, [*EDGE_TEXTS, *file_texts(test_data), *udhr_texts(shared_data, 1500)])


def test_code_points_in_context(pair: Pair) -> None:
    check(pair, points_in_context(sampled_points()))


def test_random_texts(pair: Pair) -> None:
    check(pair, random_texts(51, 600))


def test_every_token(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.vocab_size == theirs.n_words
    for token in range(theirs.num_special_tokens, theirs.n_words):
        assert ours.token_bytes(token) == theirs.id_to_byte_piece(token, SpecialTokenPolicy.RAISE)
    for name, token in ours.special_tokens.items():
        assert theirs.get_special_token(name) == token


def test_random_ids_decode(pair: Pair) -> None:
    ours, theirs = pair
    draw = random.Random(52)
    for _ in range(300):
        ids = [draw.randrange(theirs.num_special_tokens, theirs.n_words) for _ in range(draw.randrange(1, 12))]
        assert ours.decode(ids) == theirs.decode(ids), ids


@pytest.mark.heavy
def test_all_code_points_in_context(pair: Pair) -> None:
    check(pair, all_points_in_context())


@pytest.mark.heavy
def test_fresh_random_texts(pair: Pair) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    check(pair, random_texts(seed, 20_000))

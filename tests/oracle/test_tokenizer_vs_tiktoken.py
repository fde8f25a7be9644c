"""Ids and decoding equal ``tiktoken`` for the published encodings: zero differences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
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
from published import RANKS, params
from tiktoken_ext import openai_public

NAMES = ("r50k_base", "p50k_base", "cl100k_base", "o200k_base")


def published(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """tiktoken's own definition of the encoding, with its ranks read from a local file."""
    ranks = tiktoken.load.load_tiktoken_bpe
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda _address, **_: ranks(str(path)))
    return tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[name]())


@pytest.fixture(scope="module", params=params([*NAMES, *RANKS]))
def pair(request: pytest.FixtureRequest, asset: Callable[[str], Path]) -> tuple[tl.Tokenizer, tiktoken.Encoding]:
    name = request.param
    if name in RANKS:
        package, file, pattern = RANKS[name]
        ranks = tiktoken.load.load_tiktoken_bpe(str(asset(package) / file))
        special = {"<|begin_of_text|>": len(ranks), "<|im_start|>": len(ranks) + 1, "<|eot_id|>": len(ranks) + 7}
        theirs = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        return tl.Tokenizer.from_file(asset(package) / file, pattern=pattern, special_tokens=special), theirs
    path = asset("tiktoken") / f"{name}.tiktoken"
    with pytest.MonkeyPatch.context() as monkeypatch:
        return tl.Tokenizer.from_file(path), published(name, path, monkeypatch)


def check(pair: tuple[tl.Tokenizer, tiktoken.Encoding], texts: Iterable[str]) -> None:
    ours, theirs = pair
    texts = iter(texts)
    while batch := list(itertools.islice(texts, 256)):
        rows = ours.encode_batch(batch)
        expected = theirs.encode_batch(batch, allowed_special="all", num_threads=2)
        ordinary = theirs.encode_ordinary_batch(batch, num_threads=2)
        for text, row, want, plain in zip(batch, rows, expected, ordinary, strict=True):
            assert row.tolist() == want, repr(text)
            got = ours.encode_with_offsets(text)
            assert got.ids.tolist() == want, repr(text)
            assert ours.encode_list(text, allowed_special=()) == plain, repr(text)
            assert ours.decode(want) == theirs.decode(want) == text, repr(text)
            assert ours.decode_bytes(want) == theirs.decode_bytes(want), repr(text)
            # tiktoken reports where each token starts, in characters; nothing is trimmed in its files.
            assert got.char_offsets[:, 0].tolist() == theirs.decode_with_offsets(want)[1], repr(text)


def test_edge_and_file_texts(
    pair: tuple[tl.Tokenizer, tiktoken.Encoding], test_data: Path, shared_data: Path | None
) -> None:
    check(pair, [*EDGE_TEXTS, *file_texts(test_data), *udhr_texts(shared_data, 1500)])


def test_code_points_in_context(pair: tuple[tl.Tokenizer, tiktoken.Encoding]) -> None:
    check(pair, points_in_context(sampled_points()))


@pytest.mark.parametrize("seed", [21, 22])
def test_random_texts(pair: tuple[tl.Tokenizer, tiktoken.Encoding], seed: int) -> None:
    check(pair, random_texts(seed, 600))


@pytest.mark.heavy
def test_all_code_points_in_context(pair: tuple[tl.Tokenizer, tiktoken.Encoding]) -> None:
    check(pair, all_points_in_context())


@pytest.mark.heavy
def test_fresh_random_texts(pair: tuple[tl.Tokenizer, tiktoken.Encoding]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    check(pair, random_texts(seed, 30_000))


def test_every_token_and_special(pair: tuple[tl.Tokenizer, tiktoken.Encoding]) -> None:
    ours, theirs = pair
    assert ours.special_tokens == theirs._special_tokens
    assert ours.vocab_size == theirs.n_vocab
    for token in theirs.token_byte_values():
        rank = theirs.encode_single_token(token)
        assert ours.token_id(token) == rank
        assert ours.token_bytes(rank) == token


def test_bytes_that_are_no_text(pair: tuple[tl.Tokenizer, tiktoken.Encoding]) -> None:
    ours, _ = pair
    draw = random.Random(23)
    for _ in range(300):
        data = draw.randbytes(draw.randrange(40))
        assert ours.decode_bytes(ours.encode(data)) == data


def test_from_tiktoken_takes_the_arguments_of_an_encoding(test_data: Path) -> None:
    ranks = {bytes([byte]): 255 - byte for byte in range(256)}
    ranks |= {b"ab": 256, b"bc": 257, b"abc": 300, b"aaa": 258, b"aa": 259, b"a b": 400}
    special = {"<x>": 1000, "<yy>": 1001}
    # A pattern that leaves text out, an unmatched space, and ids with gaps.
    arguments = {"pat_str": r"[a-z]+|\d{1,2}+|\s+$", "mergeable_ranks": ranks, "special_tokens": special}
    ours, theirs = tl.Tokenizer.from_tiktoken("own", **arguments), tiktoken.Encoding("own", **arguments)
    texts = ["abc", "abcab bc", "aaaaaa", "a b", "12345 x  ", "<x><x><yy>abc<x", "é!", ""]
    for text in [*texts, *file_texts(test_data)]:
        assert ours.encode(text).tolist() == theirs.encode(text, allowed_special="all"), text

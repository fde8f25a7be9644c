"""Digits in threes from the right: scanner, reference and ``tokenizers`` agree, and files keep the step."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, random_texts
from tokenloom.reference.segment import digits_from_right

PATTERNS = {"digits": tl.patterns.DIGITS_FROM_RIGHT, "numbers": tl.patterns.NUMBERS_FROM_RIGHT}


@pytest.fixture(scope="module", params=PATTERNS)
def grouped(request: pytest.FixtureRequest, asset: Callable[[str], Path]) -> tl.Tokenizer:
    plain = tl.Tokenizer.from_file(asset("tiktoken") / "cl100k_base.tiktoken")
    return plain.with_digits_from_right(PATTERNS[request.param])


def test_ids_equal_those_of_tokenizers(grouped: tl.Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    grouped.save(path)
    theirs, again = tokenizers.Tokenizer.from_file(str(path)), tl.Tokenizer.from_file(path)
    draw = random.Random(4)
    numbers = ["".join(draw.choices("0123456789", k=draw.randrange(1, 30))) for _ in range(100)]
    mixed = ["".join(draw.choices("0123456789٣५½Ⅷa., \n", k=20)) for _ in range(300)]
    for text in [*numbers, *mixed, *EDGE_TEXTS, *random_texts(5, 100)]:
        want = theirs.encode(text, add_special_tokens=False).ids
        assert grouped.encode(text).tolist() == want, text
        assert again.encode(text).tolist() == want, text


def test_groups_have_place_values(grouped: tl.Tokenizer) -> None:
    for n_digits in range(1, 20):
        text = "7314826950172839465"[:n_digits]
        pieces = [grouped.token_bytes(id).decode() for id in grouped.encode(text)]
        assert pieces == digits_from_right(text)


@pytest.mark.parametrize("pattern", PATTERNS.values())
def test_a_long_run_is_an_ordinary_text(pattern: str) -> None:
    # Reading the rest of the run at every group would take minutes.
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"11": 256, b"111": 257}
    tok = tl.Tokenizer.from_tiktoken("digits", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    assert tok.count("1" * 1_000_000) == 333_334


def test_a_file_has_the_scanner_too(grouped: tl.Tokenizer) -> None:
    assert any(stage.engine == "scanner digits from the right" for stage in grouped.stages())

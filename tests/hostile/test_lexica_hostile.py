"""Do the lexica stay linear on inputs made to be slow?"""

from __future__ import annotations

import random

import pytest
import tokenloom as tl


def fibonacci(n: int) -> str:
    last, text = "a", "ab"
    while len(text) < n:
        last, text = text, text + last
    return text


TEXTS = {
    "one letter": "a" * 300_000,
    "Fibonacci": fibonacci(200_000),
    "random": "".join(random.Random(1).choices("abcdefghij", k=60_000)),
    "spaces": " \n\t" * 60_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TEXTS)
def test_a_batch_that_is_merged_to_the_end(name: str) -> None:
    tok = tl.train.bpe([b"x"], 256, progress=False)
    batch = tl.lexica.dynamic([TEXTS[name]], tok, boundary="sentences")
    tokens = batch.tokens()
    assert b"".join(tokens[id] for id in batch.ids.values).decode() == TEXTS[name]


@pytest.mark.timeout(60)
def test_a_union_with_tokens_that_need_many_bridges() -> None:
    """Ranks without a way to the longest tokens: all their bytes but two need a bridge."""
    first = tl.train.bpe([b"x"], 256, progress=False)
    ranks = {bytes([byte]): byte for byte in range(256)}
    rng = random.Random(3)
    longest = ["".join(rng.choices("abcdefgh", k=1000)).encode() for _ in range(20)]
    ranks.update({token: 256 + at for at, token in enumerate(longest)})
    second = tl.Tokenizer.from_tiktoken("long", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={})
    both = tl.lexica.union(first, second)
    assert both.n_bridges > 5_000
    for token in longest:
        assert both.tokenizer.encode_list(token) == [both.ids[ranks[token]]]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TEXTS)
def test_merges_that_are_taken_back(name: str) -> None:
    text = TEXTS[name][:60_000]
    found = tl.lexica.picky([text], 500, 0.3, pattern="-", progress=False)
    assert len(found.events) <= 3 * 4 * 500
    assert found.tokenizer.decode(found.encode(text)) == text

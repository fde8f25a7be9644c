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

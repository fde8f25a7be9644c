"""Does the compiled trainer give what the readable twin gives, for every option?"""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenloom._core import train as core
from tokenloom.reference import train as twin

STAGE1 = [r" ?[a-z]+| ?[0-9]+| ?[^\sa-z0-9]+|\s+(?!\S)|\s+", r"[ab]+", r"\S+", r"[^z]+"]
STAGE2 = r"[0-9]{1,3}| ?[^\sa-z0-9]{2,}| +(?!\S)"


def random_documents(rng: random.Random) -> list[str]:
    alphabet = rng.choice(["ab ", "abc :,\n", "ab 01.: ", "a"])
    return ["".join(rng.choices(alphabet, k=rng.randrange(50))) for _ in range(rng.randrange(6))]


def random_options(rng: random.Random) -> dict[str, Any]:
    special = rng.choice([[], ["<s>"], ["<s>", "x y"]])
    return {
        "vocab_size": 256 + len(special) + rng.randrange(40),
        "special_tokens": special,
        "min_frequency": rng.choice([0, 0, 2, 3]),
        "max_token_length": rng.choice([None, None, 0, 3, 5]),
    }


def count(documents: list[str], patterns: list[str], n_threads: int) -> core.WordCounter:
    counter = core.WordCounter([[pattern] for pattern in patterns], n_threads)
    middle = len(documents) // 2
    counter.add(documents[:middle])
    counter.add([document.encode() for document in documents[middle:]])
    return counter


@pytest.mark.parametrize("block", range(2))
def test_bpe(block: int) -> None:
    seed = 100 + block
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(1_000):
        documents, options, pattern = random_documents(rng), random_options(rng), rng.choice(STAGE1)
        found = core.bpe(count(documents, [pattern], rng.randrange(1, 4)), *options.values(), None)
        expected = twin.bpe(twin.count_words(documents, pattern), **options)
        assert found.merges == expected.merges, (documents, options)
        assert found.tokens == [(i, token) for i, token in enumerate(expected.tokens) if token is not None]


@pytest.mark.parametrize("block", range(2))
def test_superbpe(block: int) -> None:
    seed = 200 + block
    print(f"seed {seed}")
    rng = random.Random(seed)
    n_dropped = n_super = 0
    for _ in range(1_000):
        documents, options, pattern = random_documents(rng), random_options(rng), rng.choice(STAGE1)
        n_first = 256 + len(options["special_tokens"])
        transition = rng.randrange(n_first, options["vocab_size"] + 1)
        rules = (transition, rng.randrange(1, 5), rng.choice([[b": "], [], [b"a", b", "]]))
        counter = count(documents, [pattern, STAGE2], rng.randrange(1, 4))
        found = core.superbpe(counter, *options.values(), None, *rules)
        words, chunks = (twin.count_words(documents, cut) for cut in (pattern, STAGE2))
        expected = twin.superbpe(words, chunks, options.pop("vocab_size"), *rules, **options)
        assert found.merges == expected.merges, (documents, options, rules)
        assert found.tokens == [(i, token) for i, token in enumerate(expected.tokens) if token is not None]
        first = twin.bpe(words, transition, **options)
        n_dropped += first.merges != found.merges[: len(first.merges)]
        n_super += any(b" " in (token or b"").strip() for token in expected.tokens)
    assert n_dropped > 20, "merges of stage 1 that stage 2 does not use must occur"
    assert n_super > 50

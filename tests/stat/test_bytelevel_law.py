"""Next-byte probabilities are sums over texts, by enumeration of small worlds, to 1e-12.

World A: a random distribution over every text of at most four characters. The token model that reproduces it is
computed from the tokenizer's encodings; byte probabilities must be sums over texts, and nothing leaks.

World B: a model with mass on every token sequence. The readable twin finds the covers by encoding texts.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray
from tokenloom.reference import bytelevel as twin

WORLDS = {
    "gpt2 white space": (tl.patterns.GPT2, [" ", "a", "\n"]),
    "gpt2 contractions": (tl.patterns.GPT2, ["'", "l", "s"]),
    "cl100k white space": (tl.patterns.CL100K, [" ", "!", "\n"]),
    "cl100k digits": (tl.patterns.CL100K, ["1", " ", "a"]),
    "o200k case": (tl.patterns.O200K, ["a", "B", "'", "s"]),
}
CONTINUATIONS = [b"", b"a", b"B", b"s", b"ll", b"!", b"1", b" ", b"\n", b" a", b"\na", b" \n", b"'s", b"l", b" !"]
CONTINUATIONS += [b"\x80", b"\x80\x80", b"\xa0\x80", b"\x80\x80\x80", b"\x90\x80\x80"]


def toy(pattern: str, alphabet: list[str], random: np.random.Generator) -> tl.Tokenizer:
    """All bytes, six tokens of the alphabet's characters that merging may make, an end token."""
    parts = [c.encode() for c in alphabet]
    while len(parts) < len(alphabet) + 6:
        joined = parts[random.integers(len(parts))] + parts[random.integers(len(parts))]
        if joined not in parts and len(joined) <= 4:
            parts.append(joined)
    tokens = [bytes([byte]) for byte in range(256)] + parts[len(alphabet) :]
    ranks = {token: id for id, token in enumerate(tokens)}
    return tl.Tokenizer.from_tiktoken("toy", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<e>": len(ranks)})


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_byte_probabilities_are_sums_over_texts(world: str, seed: int) -> None:
    pattern, alphabet = WORLDS[world]
    random = np.random.default_rng(seed)
    tok = toy(pattern, alphabet, random)
    end = tok.vocab_size - 1
    texts = ["".join(chars) for n in range(5) for chars in itertools.product(alphabet, repeat=n)]
    weights = random.random(len(texts)) ** 6
    mass: dict[tuple[int, ...], float] = defaultdict(float)
    by_prefix: dict[bytes, float] = defaultdict(float)
    for text, weight in zip(texts, weights, strict=True):
        ids = (*tok.encode_list(text), end)
        for n in range(len(ids) + 1):
            mass[ids[:n]] += weight
        for n in range(len(text) + 1):
            by_prefix[text[:n].encode()] += weight

    after: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for ids in mass:
        if ids:
            after[ids[:-1]].append(ids[-1])

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.full((len(contexts), end + 1), -np.inf)
        for row, context in zip(rows, map(tuple, contexts), strict=True):
            for id in after.get(context, []):
                row[id] = np.log(mass[(*context, id)] / mass[context])
        return rows

    model = tl.bytelevel.ByteModel(lm, tok)
    for prefix in [text.encode() for text in texts if len(text) in (0, 2, 3)]:
        state = model.start(prefix)
        probs = np.exp(state.next_byte())
        for byte in alphabet:
            expected = by_prefix[prefix + byte.encode()] / by_prefix[prefix]
            assert probs[ord(byte)] == pytest.approx(expected, abs=1e-12, rel=1e-12), (prefix, byte)
        rest = 1 - sum(by_prefix[prefix + byte.encode()] for byte in alphabet) / by_prefix[prefix]
        assert probs[256] == pytest.approx(rest, abs=1e-12)
        assert state.leaked < 1e-12
        assert np.exp(model.score(prefix)) == pytest.approx(by_prefix[prefix] / by_prefix[b""], rel=1e-12)


@pytest.mark.parametrize("world", WORLDS)
def test_covers_are_the_twins(world: str) -> None:
    pattern, alphabet = WORLDS[world]
    random = np.random.default_rng(9)
    tok = toy(pattern, alphabet, random)
    end = tok.vocab_size - 1
    tokens = {id: tok.token_bytes(id) for id in range(end)}

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.stack([np.random.default_rng([*context, 3]).normal(size=end + 1) for context in contexts])
        normed: NDArray[np.float64] = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
        return normed

    model = tl.bytelevel.ByteModel(lm, tok)
    for n in (1, 2):
        for chars in itertools.product(alphabet, repeat=n):
            prefix = "".join(chars).encode()
            expected = set(twin.covers(prefix, tok.encode_list, tokens, CONTINUATIONS))
            healed = model.heal(prefix)
            assert {(*healed.ids.tolist(), *cover.tolist()) for cover in healed.tokens} == expected, prefix
            mass = twin.log_mass(prefix, tok.encode_list, tokens, CONTINUATIONS, lm)
            assert model.score(prefix) == pytest.approx(mass, abs=1e-12)
    prefix = "".join(alphabet[-2:]).encode()
    expected_probs = twin.next_byte(prefix, tok.encode_list, tokens, CONTINUATIONS, lm, [end])
    np.testing.assert_allclose(np.exp(model.start(prefix).next_byte()), np.exp(expected_probs), atol=1e-12)

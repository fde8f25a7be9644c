"""Merging that starts from characters, with byte fallback and a space put before the text, by enumeration."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict

import numpy as np
import pytest
import tokenloom as tl
from numpy.typing import NDArray

MARK = "\u2581"
MERGES = [(MARK, "a"), ("a", "b"), (f"{MARK}a", "b"), ("b", "\u00e9"), (MARK, MARK)]
ADDED = ["<unk>", "<s>", "</s>"]
END = 2


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    """Like Llama 2's file; the letter c is no token."""
    pieces = [*ADDED, *(f"<0x{byte:02X}>" for byte in range(256)), MARK, "a", "b", "\u00e9"]
    pieces += [left + right for left, right in MERGES]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    back = {"type": "Replace", "pattern": {"String": MARK}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": token} | flags for id, token in enumerate(ADDED)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, replace]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: id for id, piece in enumerate(pieces)},
            "merges": [f"{left} {right}" for left, right in MERGES],
        },
    }
    return tl.Tokenizer.from_bytes(json.dumps(content).encode(), kind="tokenizer.json")


def test_byte_probabilities_are_sums_over_texts(tok: tl.Tokenizer) -> None:
    texts = ["".join(chars) for n in range(5) for chars in itertools.product("ab \u00e9c", repeat=n)]
    weights = np.random.default_rng(3).random(len(texts)) ** 6
    mass: dict[tuple[int, ...], float] = defaultdict(float)
    by_prefix: dict[bytes, float] = defaultdict(float)
    after: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for text, weight in zip(texts, weights, strict=True):
        ids = (*tok.encode_list(text), END)
        for n in range(len(ids) + 1):
            mass[ids[:n]] += weight
        for n in range(len(ids)):
            after[ids[:n]].add(ids[n])
        for n in range(len(text.encode()) + 1):
            by_prefix[text.encode()[:n]] += weight

    def lm(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.full((len(contexts), tok.vocab_size), -np.inf)
        for row, context in zip(rows, map(tuple, contexts), strict=True):
            for id in after.get(context, ()):
                row[id] = np.log(mass[(*context, id)] / mass[context])
        return rows

    model = tl.bytelevel.ByteModel(lm, tok)
    assert len(model.caveats) == 2
    for prefix in [prefix for prefix in by_prefix if len(prefix) <= 4]:
        state = model.start(prefix)
        expected = [by_prefix.get(prefix + bytes([byte]), 0.0) / by_prefix[prefix] for byte in range(256)]
        np.testing.assert_allclose(np.exp(state.next_byte()[:256]), expected, atol=1e-12)
        assert state.leaked < 1e-12
        assert np.exp(model.score(prefix)) == pytest.approx(by_prefix[prefix] / by_prefix[b""], rel=1e-12)
    assert model.heal(b"").tokens.to_lists() == [[]]
    for prompt in [b"a", b"ab", b" a", b"c", "\u00e9".encode()[:1]]:
        healed = model.heal(prompt)
        for cover in healed.tokens:
            ids = [*healed.ids.tolist(), *cover.tolist()]
            assert b"".join(tok.token_bytes(id) for id in ids).startswith(b" " + prompt)


def test_pieces_that_are_not_written_so_are_not_canonical(tok: tl.Tokenizer) -> None:
    state = tl.control.canonical(tok).start()
    first_byte = ADDED.index("</s>") + 1
    assert not state.check(first_byte + ord("a"))  # "a" is a token
    for id in tok.encode_list("c\u20ac a"):
        assert state.check(id)
        assert state.check_many([id]).tolist() == [True]
        state.advance(id)
    assert state.is_accepting()
    state.rollback(1)
    assert not state.check(first_byte + 0x80)

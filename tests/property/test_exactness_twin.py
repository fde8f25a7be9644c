"""The exactness tools against their definitions, on small vocabularies and on real tokenizers."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.errors import ArrayError, LimitError, UnsupportedFeatureError, VocabError
from tokenloom.exactness import TokenKind, align, settled
from tokenloom.reference import exactness as twin

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LETTERS = [b"a", b"b", b"c"]
words = st.lists(st.sampled_from("abc"), min_size=2, max_size=4).map(lambda parts: "".join(parts).encode())
vocabularies = st.lists(words, unique=True, max_size=10)


def whole(tokens: list[bytes]) -> tl.Tokenizer:
    """A tokenizer that cuts nothing: one pretoken whatever the text. Merges in the order of the list."""
    return build(tokens)


def build(tokens: list[bytes]) -> tl.Tokenizer:
    chars = byte_chars()
    names = ["".join(chars[byte] for byte in token) for token in [*map(bytes, zip(range(256), strict=True)), *tokens]]
    have, merges = {bytes([byte]) for byte in range(256)}, []
    for token in tokens:
        for at in range(1, len(token)):
            if token[:at] in have and token[at:] in have:
                merges.append(["".join(chars[b] for b in token[:at]), "".join(chars[b] for b in token[at:])])
                break
        have.add(token)
    file = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {name: id for id, name in enumerate(names)},
            "merges": merges,
        },
    }
    return tl.Tokenizer.from_bytes(json.dumps(file).encode(), "tokenizer.json")


def byte_chars() -> dict[int, str]:
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


def small(tokens: list[bytes]) -> dict[int, bytes]:
    return {letter[0]: letter for letter in LETTERS} | {256 + at: token for at, token in enumerate(tokens)}


@settings(max_examples=80, deadline=None)
@given(vocabularies, st.text("abc", max_size=7))
def test_segmentations(tokens: list[bytes], text: str) -> None:
    tok, table, data = whole(tokens), small(tokens), text.encode()
    every = sorted(twin.segmentations(table, data))
    ways = tok.segmentations(text)
    assert ways.count() == len(every)
    assert ways.log_count() == pytest.approx(math.log(len(every)))
    assert ways.fewest().tolist() == twin.fewest(table, data)
    assert sorted(found.ids.tolist() for found in ways.best(10**6)) == every
    draw = random.Random(len(every))
    scores = np.array([draw.uniform(-3, 0) for _ in range(tok.vocab_size)])
    best = ways.best(5, scores)
    assert [found.score for found in best] == pytest.approx(twin.best(table, data, dict(enumerate(scores)), 5))
    for found in best:
        assert found.score == pytest.approx(sum(scores[found.ids]))
    assert tok.encode(text).tolist() in every
    for ids in ways.sample(3, 1):
        assert ids.tolist() in every


def test_samples_are_uniform_and_reproducible() -> None:
    tok = whole([b"ab", b"bc", b"abc", b"aa"])
    ways = tok.segmentations("aabcab")
    n_ways, n_samples = ways.count(), 20_000
    seen = Counter(tuple(ids.tolist()) for ids in ways.sample(n_samples, 7))
    assert len(seen) == n_ways
    expected = n_samples / n_ways
    statistic = sum((count - expected) ** 2 / expected for count in seen.values())
    # Far beyond the 1e-6 quantile of chi squared with n - 1 degrees of freedom.
    assert statistic < n_ways - 1 + 7 * math.sqrt(2 * (n_ways - 1)) + 30
    few, more = ways.sample(5, 3), ways.sample(9, 3)
    assert all(np.array_equal(a, b) for a, b in zip(few, more, strict=False))


def test_segmentation_limits_and_errors() -> None:
    tok = whole([b"ab"])
    ways = tok.segmentations(b"a" * 70_000)
    with pytest.raises(LimitError, match="70000 is above the limit"):
        ways.count()
    assert ways.log_count() == 0.0
    with pytest.raises(ArrayError, match="shape"):
        ways.best(1, [0.0])
    with pytest.raises(ArrayError, match="NaN"):
        ways.best(1, np.full(tok.vocab_size, math.nan))
    assert tok.segmentations("").count() == 1
    forbidden = np.zeros(tok.vocab_size)
    forbidden[ord("a")] = -math.inf
    assert tok.segmentations("aa").best(3, forbidden) == []
    assert [found.ids.tolist() for found in tok.segmentations("ab").best(3, forbidden)] == [[256]]
    long = tok.segmentations("ab" * 30_000)
    assert long.count() == 2**30_000
    assert long.log_count() == pytest.approx(30_000 * math.log(2))


@settings(max_examples=60, deadline=None)
@given(vocabularies, st.text("abc", max_size=6))
def test_settled_is_exact_where_nothing_cuts(tokens: list[bytes], text: str) -> None:
    tok = whole(tokens)
    found = settled(tok, text)
    endings = [bytes(e) for n in range(1, 5) for e in itertools.product(b"abcx", repeat=n)]
    want = twin.settled(lambda data: tok.encode(data).tolist(), text.encode(), endings)
    assert found.exact
    assert found.n_tokens == want
    assert found.n_bytes == len(tok.decode_bytes(tok.encode(text)[:want]))


PIECES = [
    "a",
    "B",
    "hello",
    " ",
    "  ",
    "\n",
    "\r\n",
    "'",
    "'re",
    "12",
    "7",
    "é",
    "中",
    "e\u0301",
    "!",
    "//",
    "\t",
    "AbC",
]


@pytest.fixture(scope="module")
def real(asset: object) -> list[tl.Tokenizer]:
    folder: Path = asset("tiktoken")  # type: ignore[operator]
    names = ("r50k_base", "cl100k_base", "o200k_base")
    return [tl.Tokenizer.from_file(folder / f"{name}.tiktoken") for name in names]


@pytest.mark.parametrize("seed", range(6))
def test_settled_tokens_stay_whatever_is_appended(real: list[tl.Tokenizer], seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        text = "".join(draw.choices([*PIECES, "<|endoftext|>", "<|end"], k=draw.randrange(1, 25)))
        for tok in real:
            found, ids = settled(tok, text), tok.encode(text)
            for _ in range(6):
                longer = text + "".join(draw.choices([*PIECES, "oftext|>", "<|endoftext|>"], k=draw.randrange(1, 8)))
                assert np.array_equal(tok.encode(longer)[: found.n_tokens], ids[: found.n_tokens]), (text, longer)
            assert found.n_bytes == len(tok.decode_bytes(ids[: found.n_tokens]))


def test_settled_leaves_only_the_end_open(real: list[tl.Tokenizer]) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    for tok in real:
        assert settled(tok, text).n_bytes > len(text) - 20


def test_settled_names_what_it_does_not_know() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    tok = tl.Tokenizer.from_tiktoken("own", pat_str="a+|[^a]+", mergeable_ranks=ranks, special_tokens={})
    with pytest.raises(UnsupportedFeatureError, match="no scanner"):
        settled(tok, "abc")
    with pytest.raises(UnsupportedFeatureError, match="no scanner"):
        tok.canonical_stream()


@pytest.mark.parametrize("seed", range(4))
def test_a_canonical_stream_says_what_is_canonical_says(real: list[tl.Tokenizer], seed: int) -> None:
    draw = random.Random(seed)
    for tok in real:
        text = "".join(draw.choices([*PIECES, " word", " the", "<|endoftext|>"], k=300))
        ids = tok.encode(text).tolist()
        if seed % 2:
            # One token spelled in another way.
            at = draw.randrange(len(ids))
            ids[at : at + 1] = [tok.token_id(bytes([byte])) for byte in tok.token_bytes(ids[at])]
        stream = tok.canonical_stream()
        broken = False
        for n, id in enumerate(ids, 1):
            assert stream.push(id) == tok.is_canonical(ids[:n]), n
            broken = broken or stream.is_broken
        assert not (broken and tok.is_canonical(ids))


@settings(max_examples=60, deadline=None)
@given(vocabularies, vocabularies, st.text("abc", max_size=12))
def test_alignment(first: list[bytes], second: list[bytes], text: str) -> None:
    a, b = whole(first), whole(second)
    cut = [[tok.token_bytes(id) for id in tok.encode(text)] for tok in (a, b)]
    assert align(a, b, text).tolist() == [list(span) for span in twin.align(*cut)]


def test_alignment_and_maps_of_real_tokenizers(real: list[tl.Tokenizer], test_data: Path) -> None:
    text = (test_data / "multilingual.txt").read_text(encoding="utf-8")
    data = text.encode()
    for a, b in itertools.pairwise(real):
        spans = a.align(b, text)
        starts_a, starts_b = a.byte_map(text).token_bytes[:, 0], b.byte_map(text).token_bytes[:, 0]
        assert np.array_equal(starts_a[spans[:, 0]], starts_b[spans[:, 2]])
        assert spans[-1, 1] == len(starts_a)
        assert spans[-1, 3] == len(starts_b)
        common = set(starts_a.tolist()) & set(starts_b.tolist())
        assert set(starts_a[spans[:, 0]].tolist()) == common
    for tok in real:
        ids, token_bytes, byte_token = tok.byte_map(text)
        assert len(byte_token) == len(data)
        for id, (start, end) in zip(ids[:200].tolist(), token_bytes[:200].tolist(), strict=True):
            assert data[start:end] == tok.token_bytes(id)
            assert (byte_token[start:end] == byte_token[start]).all()
        assert np.array_equal(np.unique(byte_token), np.arange(len(ids)))


def test_byte_map_marks_dropped_bytes() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    tok = tl.Tokenizer.from_tiktoken("x", pat_str="[a-z]+", mergeable_ranks=ranks, special_tokens={})
    assert tok.byte_map("1ab-c\ud800").byte_token.tolist() == [-1, 0, 0, -1, 1, -1, -1, -1]


def test_vocabulary_view() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"xyz": 300}
    tok = tl.Tokenizer.from_tiktoken("x", pat_str=r"a|b|x..", mergeable_ranks=ranks, special_tokens={"<s>": 301})
    view = tok.vocabulary()
    kinds = {id: TokenKind(view.kinds[id]) for id in (97, 256, 257, 300, 301)}
    assert kinds == {
        97: TokenKind.BYTE,
        # Merges make it, though the pattern never asks for it.
        256: TokenKind.NORMAL,
        257: TokenKind.ABSENT,
        # No merge makes it, but a whole pretoken becomes it.
        300: TokenKind.NORMAL,
        301: TokenKind.SPECIAL,
    }
    assert len(view) == 259
    assert view[256] == b"ab"
    assert view[301] == b"<s>"
    assert 257 not in view
    assert all(view[id] == tok.token_bytes(id) for id in view)
    unreachable = build([b"ab", b"zzz"]).vocabulary()
    assert TokenKind(unreachable.kinds[257]) == TokenKind.UNREACHABLE


def test_every_unreachable_token_encodes_to_others(real: list[tl.Tokenizer]) -> None:
    for tok in real[:2]:
        view = tok.vocabulary()
        for id in np.flatnonzero(view.kinds == TokenKind.NORMAL)[::97].tolist():
            # Where the pretokenizer leaves the token whole it is what its bytes become.
            ids = tok.encode(view[id], allowed_special=()).tolist()
            assert ids == [id] or len(ids) > 1


def test_encode_with_unstable_completes_the_text(real: list[tl.Tokenizer]) -> None:
    for tok in real:
        stable, completions = tok.encode_with_unstable("hello fanta")
        assert completions == sorted(completions)
        assert tok.decode(stable) == "hello"
        assert all(tok.decode_bytes([*stable, *ids]).startswith(b"hello fanta") for ids in completions)


def test_there_may_be_no_segmentation() -> None:
    file = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
        "pre_tokenizer": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
        "added_tokens": [],
    }
    tok = tl.Tokenizer.from_bytes(json.dumps(file).encode(), "tokenizer.json")
    ways = tok.segmentations("abc")
    assert ways.count() == 0
    assert ways.log_count() == -math.inf
    assert ways.best(3) == []
    with pytest.raises(VocabError, match="no sequence of tokens"):
        ways.fewest()
    with pytest.raises(VocabError, match="no sequence of tokens"):
        ways.sample(1, 0)

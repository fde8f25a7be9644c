"""Words of texts as arrays: every rule, packing, and renamed vocabularies."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, ParamsError, UnsupportedFeatureError
from tokenloom.reference import segment as twin
from tokenloom.segment import RULES, VocabularyPermutation, segment

TEXTS = ["", " ", "Hello, big world!  Two", "don't\n\n now", "naïve 中文, très«bien»", "  lead", "x" * 40, "aB"]


@pytest.fixture(scope="module")
def tiny() -> tl.Tokenizer:
    ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256, b" w": 257}
    return tl.Tokenizer.from_tiktoken(
        "tiny", pat_str=tl.patterns.CL100K, mergeable_ranks=ranks, special_tokens={"<s>": 258}
    )


@pytest.mark.parametrize("rule", RULES)
def test_words_cover_every_text(rule: str, tiny: tl.Tokenizer) -> None:
    texts = [*TEXTS, b"a\xff\xfeb \xc3", "lone \ud800 surrogate"]
    found = segment(texts, rule, tokenizer=tiny, size=3)  # type: ignore[arg-type]
    data = [text if isinstance(text, bytes) else text.replace("\ud800", "\ufffd").encode() for text in texts]
    assert found.bytes.tobytes() == b"".join(data)
    assert np.diff(found.doc_start).tolist() == [len(text) for text in data]
    assert np.array_equal(found.doc_start, found.word_start[found.doc_word])
    assert (np.diff(found.word_start) > 0).all()
    assert np.array_equal(found.word_id, np.repeat(np.arange(len(found.word_start) - 1), np.diff(found.word_start)))
    assert [array.dtype for array in (found.bytes, found.word_id, found.word_start, found.doc_start)] == [
        np.uint8,
        np.int32,
        np.int64,
        np.int64,
    ]
    assert found.cu_seqlens().dtype == np.int32
    # Threads change nothing.
    many = segment(texts * 30, rule, tokenizer=tiny, size=3, threads=3)  # type: ignore[arg-type]
    assert many.words() == found.words() * 30


def words(text: str | bytes, rule: str, **keywords: object) -> list[str]:
    return [word.decode() for word in segment([text], rule, **keywords).words()]  # type: ignore[arg-type]


def test_rules_against_their_twins() -> None:
    draw = random.Random(1)
    for _ in range(200):
        text = "".join(draw.choices([*"ab1é中.,! \n\u3000\xa0"], k=draw.randrange(1, 20)))
        assert words(text, "whitespace") == twin.whitespace(text)
        assert segment([text], "space-byte").words() == twin.space_byte(text.encode())
        assert segment([text], "fixed", size=4).words() == twin.fixed(text.encode(), 4)


def test_uax29() -> None:
    assert words("can't stop, 3.14!", "uax29") == ["can't", " ", "stop", ",", " ", "3.14", "!"]


def test_hat_cuts_as_hat_splitter_does(test_data: Path) -> None:
    for text, want in json.loads((test_data / "hat_splitter.json").read_text(encoding="utf-8")):
        assert words(text, "hat") == want, text


def test_words_of_a_tokenizer(tiny: tl.Tokenizer) -> None:
    text = "abab<s> wab 1234"
    assert words(text, "pretokens", tokenizer=tiny) == ["abab", "<s>", " wab", " ", "123", "4"]
    assert words(text, "tokens", tokenizer=tiny)[:5] == ["ab", "ab", "<s>", " w", "ab"]
    with pytest.raises(ParamsError, match="expected a tokenizer"):
        segment([text], "tokens")


def test_pretokens_need_the_text_as_it_is() -> None:
    file = {
        "normalizer": {"type": "NFC"},
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "added_tokens": [],
    }
    tok = tl.Tokenizer.from_bytes(json.dumps(file).encode(), "tokenizer.json")
    with pytest.raises(UnsupportedFeatureError, match="without normalizer"):
        segment(["a"], "pretokens", tokenizer=tok)
    assert words("aa", "tokens", tokenizer=tok) == ["a", "a"]


def test_long_words_are_cut_between_characters() -> None:
    assert words("abcdefg é中中", "whitespace", max_word_bytes=4) == ["abcd", "efg ", "é", "中", "中"]
    assert segment(["中"], "whitespace", max_word_bytes=2).words() == ["中".encode()[:2], "中".encode()[2:]]


@pytest.mark.parametrize("across", [False, True])
def test_rows_hold_whole_words(across: bool) -> None:
    draw = random.Random(2)
    docs = ["".join(draw.choices("ab  ", k=draw.randrange(0, 30))) for _ in range(40)]
    found = segment(docs, "whitespace", max_word_bytes=9)
    packed = found.pack(9, across_docs=across)
    all_words = found.words()
    by_doc = [all_words[start:end] for start, end in itertools.pairwise(found.doc_word.tolist())]
    want = twin.rows(by_doc, 9, across)
    got = [row[:n].tobytes() for row, n in zip(packed.bytes, packed.n_bytes, strict=True)]
    assert got == [b"".join(row) for row in want]
    assert packed.n_words.tolist() == [len(row) for row in want]
    for row, word_id, n in zip(want, packed.word_id, packed.n_bytes, strict=True):
        assert word_id[:n].tolist() == [at for at, word in enumerate(row) for _ in word]
        assert (word_id[n:] == -1).all()
    padded = found.pad()
    assert [row[:n].tobytes() for row, n in zip(padded.bytes, padded.n_bytes, strict=True)] == all_words


def test_what_cannot_be() -> None:
    with pytest.raises(ArrayError, match="word 1 has 5 bytes, above the 4 of a row"):
        segment(["a bcdef"]).pack(4)
    with pytest.raises(ParamsError, match="expected a rule"):
        segment(["a"], "nope")  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="expected a size"):
        segment(["a"], "fixed")
    with pytest.raises(ParamsError, match="threads of at least 1"):
        segment(["a"], threads=0)
    empty = segment([])
    assert (len(empty.bytes), empty.word_start.tolist(), empty.doc_start.tolist()) == (0, [0], [0])
    assert empty.pack(4).bytes.shape == (0, 4)


def test_a_vocabulary_is_renamed_for_each_sequence() -> None:
    renamed = VocabularyPermutation(1000, seed=5, keep=[0, 999])
    first, second = renamed.of(1), renamed.of(2)
    assert sorted(first.tolist()) == list(range(1000))
    assert first[0] == 0
    assert first[999] == 999
    assert not np.array_equal(first, second)
    assert np.array_equal(first, VocabularyPermutation(1000, seed=5, keep=[999, 0]).of(1))
    ids = np.array([5, 0, 999, 5, 77])
    assert renamed.invert(renamed.apply(ids, 3), 3).tolist() == ids.tolist()
    assert np.mean([VocabularyPermutation(10, seed=s).of(0)[3] for s in range(300)]) == pytest.approx(4.5, abs=0.7)
    with pytest.raises(ArrayError, match="from 0 to 999"):
        renamed.apply([1000], 0)
    with pytest.raises(ArrayError, match="below 10"):
        VocabularyPermutation(10, seed=0, keep=[10])

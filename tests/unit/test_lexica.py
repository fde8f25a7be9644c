"""What a user of ``tl.lexica`` meets: results as arrays, options, errors."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom._core import lexica as core
from tokenloom._dynamic import DynamicFields


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    return tl.train.bpe(["low low lower"], 260, special_tokens=["<s>"], progress=False)


def test_a_batch_in_tokens_of_its_own(tok: tl.Tokenizer) -> None:
    batch = tl.lexica.dynamic(["newest newest", "", "newer<s>"], tok, max_surface=3, pad_id=7)
    assert batch.tokens() == [b"newest", b" newest", b"newer", b"<s>"]
    assert [row.tolist() for row in batch.ids] == [[0, 1], [], [2, 3]]
    assert batch.base_ids.tolist() == [-1, -1, -1, 0]
    assert batch.surface.shape == (4, 3)
    assert batch.surface[3].tolist() == [0, 7, 7]
    assert batch.surface_lengths.tolist() == [3, 3, 3, 1]
    assert batch.n_tokens[-1] == 4
    assert (np.diff(batch.n_tokens) < 0).all()


def test_a_merge_that_spells_a_token_is_that_token(tok: tl.Tokenizer) -> None:
    # The spaces are kept apart by dropout; joined, they are what the tokenizer would have written.
    apart = tl.Ragged([tok.token_id(byte) for byte in (b"l", b"o", b"w")], [0, 3])
    batch = tl.lexica.dynamic(apart, tok)
    assert batch.base_ids.tolist() == [tok.token_id(b"low")]


def test_boundaries(tok: tl.Tokenizer) -> None:
    text = "ox-x, x ox-x, x"
    made = {
        boundary: b"|".join(tl.lexica.dynamic([text], tok, boundary=boundary).tokens())
        for boundary in ("pretokens", "words", "hyphen-words", "sentences")
    }
    assert made == {
        "pretokens": b"ox|-x|,| x| ox",
        "words": b"ox-x,| x| ox-x,",
        "hyphen-words": b"ox-x|,| x| ox-x",
        "sentences": b"ox-x,| x| ox-x,",
    }


def test_stops(tok: tl.Tokenizer) -> None:
    texts = ["abcabc abd"] * 3
    n_base = tl.lexica.dynamic(texts, tok, 0).n_tokens.tolist()
    assert n_base == [30]
    half = tl.lexica.dynamic(texts, tok, reduction=0.5).n_tokens
    assert half[-1] <= 15 < half[-2]
    assert max(map(len, tl.lexica.dynamic(texts, tok, boundary="sentences", max_token_bytes=4).tokens())) == 4
    empty = tl.lexica.dynamic([], tok)
    assert (len(empty.ids), empty.surface.shape) == (0, (0, 16))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda tok: tl.lexica.dynamic(["a"], "gpt2"), tl.errors.TrainError, "tokenizer must be a tokenloom.Tokenizer"),
        (lambda tok: tl.lexica.dynamic(["a"], tok, boundary="x"), tl.errors.ParamsError, "boundary must be one of"),
        (lambda tok: tl.lexica.dynamic(["a"], tok, reduction=2), tl.errors.ParamsError, "between 0 and 1, found 2"),
        (lambda tok: tl.lexica.dynamic(["a"], tok, max_surface=0), tl.errors.ParamsError, "max_surface must be"),
        (lambda tok: tl.lexica.dynamic(["a"], tok, n_merges=-1), tl.errors.TrainError, "n_merges must be"),
        (lambda tok: tl.lexica.dynamic(tl.Ragged([1, 999], [0, 2]), tok), tl.errors.TrainError, "id 999 at place 1"),
    ],
)
def test_bad_options(tok: tl.Tokenizer, call: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tok)


def test_union_keeps_the_first(tok: tl.Tokenizer) -> None:
    other = tl.train.bpe(["slower slower"], 261, special_tokens=["<pad>"], progress=False)
    both = tl.lexica.union(tok, other)
    assert both.tokenizer.special_tokens == {"<s>": 0, "<pad>": both.tokenizer.vocab_size - 1}
    assert both.ids.tolist()[0] == both.tokenizer.vocab_size - 1
    assert [both.tokenizer.token_bytes(id) for id in range(260)] == [tok.token_bytes(id) for id in range(260)]
    assert both.tokenizer.decode(both.tokenizer.encode("slower low<pad>")) == "slower low<pad>"


def test_bridges(tok: tl.Tokenizer) -> None:
    """An old merge crosses the parts of the new token, so its merges are others than the second tokenizer's."""
    one = tl.train.bpe(["bc bc bc"], 257, progress=False)
    two = tl.train.bpe(["x"], 259, progress=False, seed_merges=[("a", "b"), ("c", "d"), ("ab", "cd")])
    both = tl.lexica.union(one, two)
    assert [both.tokenizer.token_bytes(id) for id in range(257, 261)] == [b"ab", b"cd", b"abcd", b"abc"]
    assert both.n_bridges == 1
    assert both.tokenizer.encode_list("abcd") == [259]


def test_a_union_that_is_none(tok: tl.Tokenizer) -> None:
    clash = tl.train.bpe(["x"], 257, special_tokens=["low"], progress=False)
    with pytest.raises(tl.errors.TrainError, match=r'added token "low" of the second'):
        tl.lexica.union(tok, clash)
    # The other way round the token is never written: the text is matched before.
    both = tl.lexica.union(clash, tok)
    assert both.ids[tok.token_id(b"low")] == -1
    assert both.tokenizer.encode_list("low") == [0]
    with pytest.raises(tl.errors.TrainError, match="second must be a tokenloom"):
        tl.lexica.union(tok, "gpt2")  # type: ignore[arg-type]


TEXT = "Kentucky Kentucky Kentuckian Kansas lucky luck duck " * 3


def test_what_is_only_a_step_is_removed() -> None:
    found = tl.lexica.picky([TEXT], 266, 0.6, special_tokens=["<s>"], progress=False)
    plain = tl.train.bpe([TEXT], 266, special_tokens=["<s>"], progress=False)
    kept = {found.tokenizer.token_bytes(id) for id in range(found.n_kept)}
    made = {plain.token_bytes(id) for id in range(plain.vocab_size)}
    assert found.n_kept == 266
    assert max(map(len, kept)) > max(map(len, made))
    ids = found.encode("Kentucky<s>duck")
    assert found.tokenizer.decode(ids) == "Kentucky<s>duck"
    assert found.tokenizer.special_tokens == {"<s>": 0}
    assert (ids < found.n_kept).all()


def test_picky_survives_pickle_and_copies() -> None:
    found = tl.lexica.picky([TEXT], 264, 0.6, progress=False)
    for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert twin.encode(TEXT).tolist() == found.encode(TEXT).tolist()
        assert twin.events == found.events


def test_counts_may_be_given() -> None:
    counts = tl.train.count([TEXT], progress=False)
    one, two = (tl.lexica.picky(corpus, 264, 0.6, progress=False) for corpus in (counts, [TEXT]))
    assert one.events == two.events
    with pytest.raises(tl.errors.ParamsError, match="expected counts by the pattern"):
        tl.lexica.picky(counts, 264, pattern="a", progress=False)


@pytest.mark.parametrize(
    ("values", "offsets"),
    [([0, 1], [0, 2]), ([7, 1, 2, 3], [0, 4]), ([0, 1, 2, 3], [0, 4]), ([1, 1], [0, 2]), ([0], [0, 9]), ([0], [-1, 1])],
)
def test_events_that_are_none(tok: tl.Tokenizer, values: list[int], offsets: list[int]) -> None:
    with pytest.raises(tl.errors.TrainError, match="event 0 must be a merge or a split"):
        core.Events(tok._core, 9, np.array(values, dtype=np.uint32), np.array(offsets, dtype=np.int64))


def test_supertokens_span_words_and_do_not_depend_on_order() -> None:
    documents = [f"by the way of the {word} by the way" for word in ("cat", "dog", "hen", "owl")] * 3
    one, two = (tl.lexica.supertokens(corpus, 300, progress=False) for corpus in (documents, documents[::-1]))
    tokens = [one.token_bytes(id) for id in range(one.vocab_size)]
    assert tokens == [two.token_bytes(id) for id in range(two.vocab_size)]
    assert any(b" " in token.strip() for token in tokens)
    other = tl.lexica.supertokens(documents, 300, seed=1, progress=False)
    assert tokens != [other.token_bytes(id) for id in range(other.vocab_size)]
    assert one.decode(one.encode(documents[0])) == documents[0]


def test_pieces_have_the_lengths_that_were_asked_for() -> None:
    text = "".join(chr(0xE0 + i % 7) for i in range(4000)).encode() + b"\xff\xfe"
    words = dict(core.random_pieces([([text], 2), ([text], 1)], [(3, 4, 1.0), (7, 7, 3.0)], 5).items())
    lengths = {}
    for word, count in words.items():
        n_chars = len(word.decode(errors="replace"))
        lengths[n_chars] = lengths.get(n_chars, 0) + count
    assert sum(len(word) * count for word, count in words.items()) == 3 * len(text)
    whole = {n: count for n, count in lengths.items() if count > 3}
    assert set(whole) == {3, 4, 7}
    assert 0.7 < whole[7] / sum(whole.values()) < 0.8


def test_characters() -> None:
    lines = [TEXT.lower() + "\n"] * 4
    made = tl.lexica.characters(lines, 512, min_frequency=1, progress=False)
    assert made.vocab_size == 512
    assert made.encode_list("ｋentucky") == made.encode_list("kentucky")
    assert made.decode(made.encode("a   b\n\n\nc")) == "a   b\n\n\nc"
    assert [made.token_id(run) for run in (b"   ", b"\n\n\n")] == made.encode_list("   \n\n\n")
    assert made.special_tokens["<|pad|>"] == 2
    plain = tl.lexica.characters(lines, 300, normalizer=None, pads=False, min_frequency=1, progress=False)
    tokens = [plain.token_bytes(id) for id in range(plain.vocab_size)]
    assert plain.is_compiled
    assert max(len(token) for token in tokens[len(tl.lexica.KL3M_SPECIAL_TOKENS) :]) == 3


def test_a_choice_among_tokenizers(tok: tl.Tokenizer) -> None:
    medical = tl.train.bpe(["cardiac cardiac"], 262, special_tokens=["<s>", "<m>"], progress=False)
    choice = tl.lexica.Choice([tok, medical])
    texts = ["low lower", "cardiac", "", "<m>"]
    chosen = choice.encode_batch(texts)
    assert chosen.chosen.tolist() == [0, 1, 0, 1]
    assert chosen.n_tokens.tolist() == [
        [len(t.encode(s)) for t in (tok, medical)] for s in ["low lower", "cardiac", "", "<m>"]
    ]
    assert chosen.ids[0].tolist() == tok.encode_list("low lower")
    assert [choice.decode_bytes(row) for row in chosen.ids] == [b"low lower", b"cardiac", b"", b"<m>"]
    assert len(set(choice.tokens)) == len(choice.tokens)
    assert choice.kinds[chosen.ids[1]].tolist() == [1] * len(chosen.ids[1])
    assert choice.ids[1][medical.token_id(b"<s>")] == 0
    assert copy.deepcopy(choice).tokens == pickle.loads(pickle.dumps(choice)).tokens == choice.tokens
    assert len(choice.encode_batch([]).ids) == 0
    with pytest.raises(tl.errors.UnknownTokenError):
        choice.decode_bytes([len(choice.tokens)])
    with pytest.raises(AttributeError, match="immutable"):
        choice.tokens = ()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tl.lexica.picky(["a"], 300, 1.5), tl.errors.ParamsError, "threshold must be between 0 and 1"),
        (lambda: tl.lexica.picky(["a"], 3, progress=False), tl.errors.TrainError, "vocab_size must be at least 256"),
        (lambda: tl.lexica.supertokens(["a"], lengths={}), tl.errors.ParamsError, "lengths must be ranges"),
        (lambda: tl.lexica.supertokens(["a"], lengths={(0, 3): 1.0}), tl.errors.ParamsError, "lengths must be ranges"),
        (lambda: tl.lexica.supertokens(["a"], lengths={(1, 3): -1.0}), tl.errors.ParamsError, "positive shares"),
        (lambda: tl.lexica.supertokens(["a"], seed=-1), tl.errors.ParamsError, "seed must be between"),
        (lambda: tl.lexica.characters(["a"], normalizer="x"), tl.errors.ParamsError, "normalizer must be one of"),
        (lambda: tl.lexica.less_is_better(["a"], life=0), tl.errors.ParamsError, "life must be between 1"),
        (lambda: tl.lexica.less_is_better(["a"], memory_in=2), tl.errors.ParamsError, "memory_in must be between"),
        (lambda: tl.lexica.less_is_better(["a"], seed=-1), tl.errors.ParamsError, "seed must be between"),
        (lambda: tl.lexica.Choice([]), tl.errors.TrainError, "at least one tokenizer"),
        (lambda: tl.lexica.Choice(["x"]), tl.errors.TrainError, "tokenizer 0 must be a tokenloom"),
    ],
)
def test_bad_trainings(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_reader_finds_words() -> None:
    rng = random.Random(4)
    words = ["kitten", "garden", "purple", "sun", "ocean", "lamp"]
    documents = ["\n".join("".join(rng.choices(words, k=6)) for _ in range(20)) for _ in range(20)]
    one = tl.lexica.less_is_better(documents, 400, seed=3, progress=False)
    assert one.chunks == tl.lexica.less_is_better(documents, 400, seed=3, progress=False).chunks
    assert one.chunks != tl.lexica.less_is_better(documents, 400, seed=4, progress=False).chunks
    assert set(one.segment("kittengarden")) <= set(one.chunks)
    assert len(one.segment("kittengardensun")) < 8
    assert one.segment("") == []
    assert one.segment("?x") == ["?", "x"]
    assert pickle.loads(pickle.dumps(one)).segment("sunlamp") == copy.deepcopy(one).segment("sunlamp")


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 3], [0, 2, 1, 2], [0, -1, 2]])
def test_offsets_that_cut_nothing(tok: tl.Tokenizer, offsets: list[int]) -> None:
    fields = DynamicFields("words", 1, 0, 9, 1)
    values = np.array([1, 2], dtype=np.uint32)
    with pytest.raises(tl.errors.TrainError, match=r"offsets of a batch must rise from 0 .*, 2"):
        core.merge_batch(tok._core, values, np.array(offsets, dtype=np.int64), fields)

"""What a user of ``tl.lexica`` meets: results as arrays, options, errors."""

from __future__ import annotations

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


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 3], [0, 2, 1, 2], [0, -1, 2]])
def test_offsets_that_cut_nothing(tok: tl.Tokenizer, offsets: list[int]) -> None:
    fields = DynamicFields("words", 1, 0, 9, 1)
    values = np.array([1, 2], dtype=np.uint32)
    with pytest.raises(tl.errors.TrainError, match=r"offsets of a batch must rise from 0 .*, 2"):
        core.merge_batch(tok._core, values, np.array(offsets, dtype=np.int64), fields)

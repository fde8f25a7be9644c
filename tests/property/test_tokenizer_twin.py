"""Does the tokenizer follow the readable twin, and do its promises hold, on arbitrary vocabularies and inputs?"""

import copy
import pickle

import numpy as np
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.reference import tokenizer as twin

words = st.lists(
    st.binary(min_size=2, max_size=5).map(lambda b: bytes(97 + x % 3 for x in b)), max_size=25, unique=True
)


def from_words(words, pattern=r"[\s\S]+"):
    """A rank file over all bytes: the words in rank order behind them."""
    ranks = {bytes([b]): b for b in range(256)}
    for word in words:
        ranks[word] = len(ranks)
    return tl.Tokenizer.from_tiktoken(
        "t", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|s|>": 1000}
    ), ranks


def merges_of(ranks):
    """Any two tokens that join to a token merge at its rank: tiktoken's reading."""
    return {
        (w[:cut], w[cut:]): rank
        for w, rank in ranks.items()
        for cut in range(1, len(w))
        if {w[:cut], w[cut:]} <= set(ranks)
    }


@settings(max_examples=300, deadline=None)
@given(words, st.text("abc", max_size=30))
def test_ids_are_those_of_the_definition(words, text):
    tok, ranks = from_words(words)
    data = text.encode()
    # A whole pretoken that is a token is that token, reachable or not.
    expected = [data] if data in ranks else twin.encode(data, merges_of(ranks))
    assert [tok.token_bytes(int(i)) for i in tok.encode(text)] == expected


@settings(max_examples=200, deadline=None)
@given(words, st.text("abc", max_size=30))
def test_the_linear_twin_follows_the_definition(words, text):
    _, ranks = from_words(words)
    merges = merges_of(ranks)
    split = twin.splits(set(ranks), merges)
    grows = all(p is None or all(split[x] is None or merges[split[x]] < merges[p] for x in p) for p in split.values())
    if grows:
        assert twin.encode_linear(text.encode(), merges, split) == twin.encode(text.encode(), merges)


@settings(max_examples=300, deadline=None)
@given(words, st.binary(max_size=60))
def test_any_bytes_round_trip_and_offsets_tile(words, data):
    tok, _ = from_words(words, tl.patterns.O200K)
    ids = tok.encode(data)
    assert tok.decode_bytes(ids) == data
    encoding = tok.encode_with_offsets(data)
    assert np.array_equal(encoding.ids, ids)
    cuts = encoding.byte_offsets
    assert b"".join(data[a:b] for a, b in cuts) == data
    assert [data[a:b] for a, b in cuts] == [tok.token_bytes(int(i)) for i in ids]
    assert tok.count(data) == len(ids)
    assert tok.count_until(data, len(ids)) == len(ids)
    assert tok.count_until(data, len(ids) - 1) is None
    assert tok.is_canonical(ids)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=40))
def test_a_stream_gives_the_text_of_all_ids(ids):
    tok, _ = from_words([])
    stream = tok.decode_stream()
    parts = [stream.push(i) for i in ids]
    assert len(stream.pending) <= 3
    assert "".join(parts) + stream.flush() == tok.decode(ids) == bytes(ids).decode("utf-8", "replace")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=20)), max_size=8), st.integers(1, 3))
def test_a_batch_is_its_texts_at_any_number_of_threads(texts, threads):
    tok, _ = from_words([b"ab", b"abc"], tl.patterns.GPT2)
    batch = tok.encode_batch(texts, threads=threads)
    assert [row.tolist() for row in batch] == [tok.encode_list(text) for text in texts]
    assert tok.decode_batch(batch) == [tok.decode(tok.encode(text)) for text in texts]
    assert pickle.loads(pickle.dumps(batch)) == batch


@settings(max_examples=50, deadline=None)
@given(words, st.text(max_size=30))
def test_copies_give_the_same_ids(words, text):
    tok, _ = from_words(words, tl.patterns.CL100K)
    for other in (pickle.loads(pickle.dumps(tok)), copy.deepcopy(tok), copy.copy(tok)):
        assert other.encode_list(text) == tok.encode_list(text)

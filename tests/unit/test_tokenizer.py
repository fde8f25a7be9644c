"""Does each public method of the tokenizer do what its docstring says, and fail as it says?"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, PatternError, SpecialTokenError, UnknownTokenError


@pytest.fixture(scope="module")
def tok():
    ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256, b"abc": 257, " é".encode(): 258, b"  ": 259}
    return tl.Tokenizer.from_tiktoken(
        "t", pat_str=tl.patterns.CL100K, mergeable_ranks=ranks, special_tokens={"<a>": 300, "<a><b>": 301}
    )


def test_special_tokens_are_matched_by_policy(tok):
    text = "x<a><b>"
    assert tok.encode_list(text) == [120, 301]
    assert tok.encode_list(text, allowed_special={"<a>"}) == [120, 300, *b"<b>"]
    assert tok.encode_list(text, allowed_special=()) == list(text.encode())
    with pytest.raises(SpecialTokenError, match="no special token") as caught:
        tok.encode(text, allowed_special=["<c>"])
    assert caught.value.token == "<c>"
    with pytest.raises(TypeError, match="allowed_special"):
        tok.encode(text, allowed_special="<a>")


def test_vocabulary(tok):
    assert (tok.vocab_size, tok.special_tokens) == (302, {"<a>": 300, "<a><b>": 301})
    assert (tok.token_bytes(257), tok.token_id(b"abc"), tok.token_id("<a>")) == (b"abc", 257, 300)
    for missing in (260, 302, -1, 2**40):
        with pytest.raises(KeyError) as caught:
            tok.token_bytes(missing)
        assert isinstance(caught.value, UnknownTokenError)
        assert caught.value.token == missing
    with pytest.raises(UnknownTokenError, match=r"b'zz' is no token"):
        tok.token_id(b"zz")


def test_ids_come_in_any_integer_form(tok):
    for ids in (
        [257, 120],
        (257, 120),
        np.array([257, 120]),
        np.array([257, 120], np.uint32),
        np.uint32([257, 0, 120])[::2],
    ):
        assert tok.decode(ids) == "abcx"
        assert tok.decode_bytes(ids) == b"abcx"
    assert tok.decode([]) == ""
    for ids in ([260], [-1], np.array([1 << 40])):
        with pytest.raises(UnknownTokenError):
            tok.decode(ids)
    for ids in (np.array([1.5]), np.array([[1]]), "ab", [1.5]):
        with pytest.raises(ArrayError):
            tok.decode(ids)


def test_decode_skips_special_tokens_and_treats_invalid_bytes_as_asked(tok):
    assert tok.decode([97, 300, 98]) == "a<a>b"
    assert tok.decode([97, 300, 98], skip_special_tokens=True) == "ab"
    assert tok.decode([0xF0, 0x9F, 97, 0xC3]) == "\ufffda\ufffd"
    assert tok.decode([0xC3, 97], errors="ignore") == "a"
    with pytest.raises(UnicodeDecodeError):
        tok.decode([0xC3], errors="strict")


def test_a_batch_decodes_like_its_parts(tok):
    texts = ["hello", "", "wörld 中", "<s>"]
    batch = tok.encode_batch(texts)
    assert tok.decode_batch(batch) == [tok.decode(ids) for ids in batch] == texts
    assert tok.decode_batch([batch[0].tolist(), tuple(batch[2].tolist())]) == [texts[0], texts[2]]
    cut = [batch[0], batch[2][:-1]]
    assert tok.decode_batch(cut) == [tok.decode(ids) for ids in cut]
    with pytest.raises(UnknownTokenError):
        tok.decode_batch([[1], [-1]])


def test_lists_of_a_batch_are_its_rows(tok):
    texts = ["hello", "", "wörld 中", "<s>"]
    assert tok.encode_batch_list(texts, threads=2) == [tok.encode_list(text) for text in texts]
    assert tok.encode_batch_list([]) == []
    assert tok.encode_batch_list(["<s>"], allowed_special=()) == [tok.encode_list("<s>", allowed_special=())]
    with pytest.raises(ValueError, match="at least 1 thread"):
        tok.encode_batch_list(texts, threads=0)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "texts",
    [
        [""] * 5,
        [f"{n} words" * (n % 7) for n in range(30_000)],
        ["hello wörld 中 <s>" * 40_000],
        ["a", "", "hello <a> " * 50_000, *["", "b"] * 5000, "\ud800", b"\xff\x00", "wörld " * 60_000, "end"],
    ],
    ids=["empty", "small", "huge", "mixed"],
)
def test_lists_of_large_batches_are_lists_of_their_texts_on_any_number_of_threads(tok, texts, threads):
    lists = tok.encode_batch_list(texts, threads=threads)
    assert lists == [tok.encode_list(text) for text in texts]
    batch = tok.encode_batch(texts, threads=threads)
    assert lists == [ids.tolist() for ids in batch]


def test_lists_of_batches_made_at_the_same_time_by_many_threads(tok):
    texts = [f"{n} hello wörld " * 50 for n in range(2000)]
    expected = [tok.encode_list(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        for lists in pool.map(lambda _: tok.encode_batch_list(texts, threads=2), range(8)):
            assert lists == expected


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_one_text_on_which_a_pattern_gives_up_is_the_error_of_a_batch(threads):
    ranks = {bytes([b]): b for b in range(256)}
    slow = tl.Tokenizer.from_tiktoken("t", pat_str=r"(?:(?=a)a|(?=a)aa)+b|.", mergeable_ranks=ranks, special_tokens={})
    texts = ["some words " * 2000] * 60
    assert slow.encode_batch_list(texts, threads=threads) == [slow.encode_list(texts[0])] * 60
    texts[30] = "a" * 5000
    with pytest.raises(PatternError, match="gave up"):
        slow.encode_batch_list(texts, threads=threads)


@pytest.mark.parametrize("extra", ["é", "中文 ", "\U0001f600", "\ud800", "a\udfff\U0001f600"])
def test_long_texts_of_every_width_have_the_ids_of_their_bytes(tok, extra):
    for n in (511, 512, 513, 5000, 2**20, 2**20 + 1):
        text = ("hello " * (n // 6 + 1))[: n - len(extra)] + extra
        data = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        ids = tok.encode(data).tolist()
        assert tok.encode(text).tolist() == tok.encode_list(text) == ids
        assert tok.encode_batch_list([text, "a", text]) == [ids, tok.encode_list("a"), ids]


@pytest.mark.parametrize("n_ids", [2**19 - 1, 2**19, 3 * 2**19 + 5])
def test_lists_of_megabytes_are_those_of_the_array(tok, n_ids):
    text = ("xyz 1" * (n_ids // 5 + 1))[:n_ids]
    ids = tok.encode_list(text)
    assert ids == tok.encode(text).tolist()
    assert len(ids) == n_ids


def test_a_result_stays_as_it_was(tok):
    texts = ["hello world " * 4000, "wörld 中 " * 4000, "a" * 60_000]
    kept = [tok.encode(text) for text in texts * 3]
    for ids, text in zip(kept, texts * 3, strict=True):
        assert tok.decode(ids) == text
    kept[0][:] = 0
    del kept[1:3]
    assert tok.decode(tok.encode(texts[0])) == texts[0]
    assert not kept[0].any()


def test_texts_at_the_edges(tok):
    assert tok.encode("").dtype == np.uint32
    assert tok.encode_list("") == tok.encode_list(b"") == []
    assert tok.encode_list("\0a\0") == [0, 97, 0]
    assert tok.decode(tok.encode("a\ud800b\udc00")) == "a\ufffdb\ufffd"
    assert tok.decode(tok.encode("\ud83d\ude00")) == "\U0001f600"
    for text in (1, None, ["a"], bytearray(b"a")):
        with pytest.raises(TypeError, match="str or bytes"):
            tok.encode(text)


def test_offsets_of_bytes_inside_characters(tok):
    text = "ab ñ é<a>"
    encoding = tok.encode_with_offsets(text)
    assert encoding.ids.tolist() == [256, 32, 0xC3, 0xB1, 258, 300]
    assert encoding.byte_offsets.tolist() == [[0, 2], [2, 3], [3, 4], [4, 5], [5, 8], [8, 11]]
    assert encoding.char_offsets.tolist() == [[0, 2], [2, 3], [3, 4], [3, 4], [4, 6], [6, 9]]
    empty = tok.encode_with_offsets("")
    assert empty.byte_offsets.shape == empty.char_offsets.shape == (0, 2)


def test_a_stream_refuses_an_unknown_id_and_goes_on(tok):
    stream = tok.decode_stream(skip_special_tokens=True)
    assert stream.push(0xC3) == ""
    with pytest.raises(UnknownTokenError):
        stream.push(260)
    assert stream.push(300) == ""
    assert (stream.push(0xB1), stream.pending) == ("ñ", b"")
    assert stream.push(0xE2) == ""
    assert (stream.flush(), stream.flush()) == ("\ufffd", "")


def test_canonical(tok):
    assert tok.is_canonical([257])
    assert not tok.is_canonical([256, 99])
    assert tok.canonicalize([256, 99, 300]).tolist() == [257, 300]


def test_ragged():
    rows = tl.Ragged([1, 2, 3], [0, 1, 1, 3])
    assert rows[-1].tolist() == [2, 3]
    assert rows[::2] == tl.Ragged([1, 2, 3], [0, 1, 3])
    assert rows[3:].to_lists() == []
    with pytest.raises(IndexError):
        rows[3]
    with pytest.raises(AttributeError):
        rows.values = 1
    for offsets in ([], [0], [1, 3], [0, 2, 1, 3], [0, 4]):
        with pytest.raises(ArrayError):
            tl.Ragged([1, 2, 3], offsets)


def test_threads_share_a_tokenizer(tok):
    text = "ab abc ñ é<a>  x" * 200
    expected = tok.encode_list(text)
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.append([tok.encode_list(text) for _ in range(20)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert all(ids == expected for row in seen for ids in row)


def test_a_fork_encodes(tok):
    texts = ["ab abc"] * 50_000
    expected = tok.encode_batch(texts, threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if tok.encode_batch(texts, threads=2) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_pattern_that_does_not_compile_or_gives_up():
    ranks = {bytes([b]): b for b in range(256)}
    with pytest.raises(PatternError, match="does not compile") as caught:
        tl.Tokenizer.from_tiktoken("t", pat_str="(", mergeable_ranks=ranks, special_tokens={})
    assert caught.value.pattern == "("
    slow = tl.Tokenizer.from_tiktoken("t", pat_str=r"(?:(?=a)a|(?=a)aa)+b|.", mergeable_ranks=ranks, special_tokens={})
    with pytest.raises(PatternError, match="gave up"):
        slow.encode("a" * 5000)
    # Each search stays below the limit of one, all of them together do not.
    tired = tl.Tokenizer.from_tiktoken("t", pat_str=r"(?:(?=a)a){1,9000}b|.", mergeable_ranks=ranks, special_tokens={})
    with pytest.raises(PatternError, match="gave up"):
        tired.encode("a" * 200_000)


@pytest.mark.parametrize("value", [None, 3, 2**50, 1.5, ["a"], ("a",), {"a": 1}, object()])
def test_what_is_no_text_and_no_file_is_a_type_error(value: object) -> None:
    """Numbers among them, of which `bytes` makes zeros."""
    tok = tl.Tokenizer.from_tiktoken(
        "bytes", pat_str=r"\w+|\W+", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    for call in (
        tl.Tokenizer.from_bytes,
        tok.settled,
        tok.byte_map,
        tok.encode,
        tok.encode_list,
        tok.count,
        tok.encode_with_offsets,
        lambda text: tok.align(tok, text),
        lambda other: tok.align(other, "a"),
    ):
        with pytest.raises(TypeError):
            call(value)  # type: ignore[operator]

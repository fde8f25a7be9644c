"""Arguments of all types: what the peer takes is taken, what it refuses as a wrong type is refused as one."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenizers as peer
from tokenloom.compat import tokenizers as ours

VOCAB = {"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "hello": 4, "world": 5}
MERGES = [("a", "b")]
VALUES = (
    None,
    True,
    1,
    -1,
    0,
    2.5,
    "x",
    "",
    "\ud800",
    (),
    ["x"],
    {},
    2**40,
    2**70,
    np.int64(3),
    np.True_,
    np.str_("y"),
)


def tokenizer(module: Any) -> Any:
    found = module.Tokenizer(module.models.WordLevel(VOCAB, unk_token="[UNK]"))
    found.pre_tokenizer = module.pre_tokenizers.Whitespace()
    return found


def kind(call: Callable[[Any], Any], module: Any) -> Any:
    """The result, or whether types, ranges or something else is wrong."""
    try:
        return call(module)
    except (TypeError, OverflowError) as error:
        return type(error)
    except Exception:
        return Exception
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return Exception


# `limit_alphabet` and affixes may be None here, which the peer takes by leaving them out alone.
CONSTRUCTORS: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    "models.BPE": ((VOCAB, MERGES), ("dropout", "unk_token", "fuse_unk", "byte_fallback", "ignore_merges")),
    "models.WordPiece": ((VOCAB,), ("unk_token", "max_input_chars_per_word", "continuing_subword_prefix")),
    "models.WordLevel": ((VOCAB,), ("unk_token",)),
    "models.Unigram": (([("a", -1.0), ("b", -2.0)],), ("unk_id", "byte_fallback")),
    "normalizers.BertNormalizer": ((), ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")),
    "normalizers.Strip": ((), ("left", "right")),
    "normalizers.Prepend": ((), ("prepend",)),
    "normalizers.Replace": ((), ("pattern", "content")),
    "pre_tokenizers.ByteLevel": ((), ("add_prefix_space", "use_regex", "trim_offsets", "unheard_of")),
    "pre_tokenizers.Metaspace": ((), ("replacement", "prepend_scheme", "split")),
    "pre_tokenizers.Split": ((" ",), ("behavior", "invert")),
    "pre_tokenizers.Punctuation": ((), ("behavior",)),
    "pre_tokenizers.Digits": ((), ("individual_digits",)),
    "pre_tokenizers.CharDelimiterSplit": ((), ("delimiter",)),
    "decoders.Strip": ((), ("content", "left", "right")),
    "decoders.WordPiece": ((), ("prefix", "cleanup")),
    "decoders.BPEDecoder": ((), ("suffix",)),
    "decoders.CTC": ((), ("pad_token", "word_delimiter_token", "cleanup")),
    "decoders.Metaspace": ((), ("replacement", "prepend_scheme", "split")),
    "processors.RobertaProcessing": ((("b", 2), ("a", 1)), ("trim_offsets", "add_prefix_space")),
    "processors.BertProcessing": ((), ("sep", "cls")),
    "trainers.BpeTrainer": (
        (),
        ("vocab_size", "min_frequency", "show_progress", "max_token_length", "unheard_of"),
    ),
    "trainers.UnigramTrainer": ((), ("vocab_size", "shrinking_factor", "unk_token", "seed_size", "unheard_of")),
    "trainers.WordPieceTrainer": ((), ("vocab_size", "min_frequency", "unheard_of")),
    "trainers.WordLevelTrainer": ((), ("vocab_size", "min_frequency", "show_progress", "unheard_of")),
    "AddedToken": (("x",), ("lstrip", "rstrip", "single_word", "normalized", "special", "unheard_of")),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_parts_are_made_of_the_same_arguments(name):
    args, options = CONSTRUCTORS[name]

    def make(module: Any, **given: Any) -> str:
        cls = module
        for part in name.split("."):
            cls = getattr(cls, part)
        return type(cls(*args, **given)).__name__

    different = {}
    for option in options:
        for value in VALUES:
            given = {option: value}
            expected, found = (kind(lambda module: make(module, **given), module) for module in (peer, ours))  # noqa: B023
            if expected != found:
                different[option, repr(value)] = (expected, found)
    assert different == {}


@pytest.mark.parametrize(
    "vocab", [{"a": -1}, {"a": 2**32}, {"a": "b"}, {1: 1}, {"a": np.int64(1)}, [("a", 0)], {"\ud800": 0}, 3], ids=repr
)
@pytest.mark.parametrize("name", ["BPE", "WordPiece", "WordLevel"])
def test_vocabularies_are_of_the_same_types(name, vocab):
    more = ([],) if name == "BPE" else ()
    call = lambda module: bool(getattr(module.models, name)(vocab, *more))  # noqa: E731
    assert kind(call, ours) == kind(call, peer)


@pytest.mark.parametrize("merges", [["a b"], [("a", "b", "c")], [("a", 1)], "ab", 3, [("a", "b")], []], ids=repr)
def test_merges_are_of_the_same_types(merges):
    call = lambda module: bool(module.models.BPE(VOCAB, merges))  # noqa: E731
    assert kind(call, ours) == kind(call, peer)


class Column:
    """A column of a data frame or data set: elements by number, and no sequence of Python's."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> str:
        return ["hello", "world"][place]


TEXTS = [
    ["hello", "world"],
    ("hello", "world"),
    deque(["hello"]),
    UserList(["hello", "b"]),
    Column(),
    "hello",
    b"a",
    {"a": 1},
    {"a"},
    iter(["a"]),
    range(2),
    None,
    3,
    [],
    np.array(["hello", "world"]),
    np.array(["hello", "a"], dtype=object),
    np.array([["a", "b"], ["hello", "a"]]),
    np.array([]),
    [["a", "b"]],
    [Column()],
    [deque(["a", "b"])],
    [("a", "b", "a")],
    [("a",)],
    [None],
    ["a", 3],
    [np.str_("a")],
    ["\ud800"],
]


def shown(found: list[Any]) -> list[Any]:
    return [(each.ids, each.type_ids, each.offsets) for each in found]


@pytest.mark.parametrize("method", ["encode_batch", "encode_batch_fast"])
@pytest.mark.parametrize("texts", TEXTS, ids=repr)
def test_batches_are_of_the_same_types(method, texts):
    if hasattr(texts, "__next__"):
        texts = iter(())

    def call(module: Any) -> Any:
        found = getattr(tokenizer(module), method)(texts)
        return shown(found) if method == "encode_batch" else [each.ids for each in found]

    assert kind(call, ours) == kind(call, peer)


WORDS = [
    ["a", "b"],
    ("a", "b"),
    deque(["a"]),
    Column(),
    "ab",
    None,
    [["a", "b"], ["b"]],
    (["a"], ["b"]),
    [3],
    ["\ud800"],
    [],
]


@pytest.mark.parametrize("words", [*WORDS, np.array(["hello", "a"], dtype=object)], ids=repr)
def test_words_are_of_the_same_types(words):
    for call in (
        lambda module: shown([tokenizer(module).encode(words, is_pretokenized=True)]),
        lambda module: shown([tokenizer(module).encode(["a"], words, is_pretokenized=True)]),
        lambda module: shown(tokenizer(module).encode_batch([words], is_pretokenized=True)),
    ):
        assert kind(call, ours) == kind(call, peer)


def test_words_in_an_array_of_fixed_width_are_the_words():
    """The peer reads the zeros behind short strings, and parts of their neighbours, as text."""
    words = np.array(["hello", "a"])
    assert tokenizer(ours).encode(words, is_pretokenized=True).ids == [VOCAB["hello"], VOCAB["a"]]
    assert tokenizer(peer).encode(words, is_pretokenized=True).ids != [VOCAB["hello"], VOCAB["a"]]


SETTINGS = {
    "enable_truncation": ({"max_length": 4}, ("max_length", "stride", "strategy", "direction", "unheard_of")),
    "enable_padding": (
        {},
        ("length", "max_length", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token", "direction", "unheard_of"),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", SETTINGS)
def test_settings_are_of_the_same_types(method):
    given, options = SETTINGS[method]
    different = {}
    for option in options:
        # A length of 2^40 is memory; ids end at 2^24 here.
        for value in (each for each in VALUES if each != 2**40):

            def call(module: Any, option: str = option, value: Any = value) -> Any:
                found = tokenizer(module)
                getattr(found, method)(**{**given, option: value})
                return (found.truncation, found.padding, shown([found.encode("a b hello a")]))

            expected, found = kind(call, peer), kind(call, ours)
            if expected != found:
                different[option, repr(value)] = (expected, found)
    assert different == {}


@pytest.mark.parametrize("tokens", ["ab", ["a"], ("a",), {"a": 1}, iter("a"), None, [1], deque(["a"]), []], ids=repr)
def test_tokens_are_of_the_same_types(tokens):
    call = lambda module: module.decoders.Fuse().decode(tokens)  # noqa: E731
    assert kind(call, ours) == kind(call, peer)


def test_a_path_is_no_list_of_paths():
    for module in (peer, ours):
        with pytest.raises(TypeError):
            tokenizer(module).train("/")


@pytest.mark.parametrize("value", [None, 3, "{}", b"{}", [], "\ud800"], ids=repr)
@pytest.mark.parametrize("method", ["from_str", "from_buffer"])
def test_files_are_of_the_same_types(method, value):
    call = lambda module: bool(getattr(module.Tokenizer, method)(value))  # noqa: E731
    assert kind(call, ours) == kind(call, peer)

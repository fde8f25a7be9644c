"""A definition read and written is what Hugging Face tokenizers reads and writes, byte for byte."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import tokenizers
from tokenloom._core.formats import Definition
from tokenloom.errors import FormatError

BASE: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<u>": 3}, "merges": ["a b"], "unk_token": "<u>"},
}
SPACES = {"add_prefix_space": True, "trim_offsets": False}
BERT = {"clean_text": True, "handle_chinese_chars": False, "strip_accents": None, "lowercase": True}
CTC = {"pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}
ENDS = {"sep": ["</s>", 2], "cls": ["<s>", 0]}
META = {"type": "Metaspace", "replacement": "▁"}
WORDS = {"unk_token": "[U]", "vocab": {"[U]": 0, "a": 1, "##b": 2, '"q\\\u0001\u007f\u2028': 5}}
PIECES = {"unk_token": "[U]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9, "vocab": WORDS["vocab"]}
TEMPLATE = {
    "single": [{"SpecialToken": {"id": "b", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for i, t in enumerate("ba")},
}


def added(id: int, content: str, **flags: bool) -> dict[str, Any]:
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id, "content": content, **off, **flags}


def scores() -> list[list[Any]]:
    rng = random.Random(1)
    return [[f"t{i}", -rng.random() * 10 ** rng.randint(-8, 3)] for i in range(2000)]


CASES: dict[str, list[Any]] = {
    "normalizer": [
        *({"type": name} for name in "StripAccents NFC NFD NFKC NFKD Lowercase Nmt ByteLevel".split()),
        {"type": "Bert", **BERT},
        {"type": "BertNormalizer", **BERT},
        BERT,
        {"type": "Strip", "strip_left": True, "strip_right": False},
        {"strip_left": True, "strip_right": False},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": '"\n'},
        {"type": "Prepend", "prepend": "▁"},
        {"type": "unheard of", "prepend": "▁", "more": [{"deep": None}]},
        {"type": "Sequence", "normalizers": []},
        {"type": "Sequence", "normalizers": [{"type": "NFC", "extra": 1}, {"prepend": "x"}]},
    ],
    "pre_tokenizer": [
        *({"type": name} for name in "BertPreTokenizer Whitespace WhitespaceSplit UnicodeScripts FixedLength".split()),
        {"type": "ByteLevel", **SPACES},
        {"type": "ByteLevel", **SPACES, "use_regex": False},
        {"type": "CharDelimiterSplit", "delimiter": "-"},
        {**META, "add_prefix_space": True},
        {**META, "add_prefix_space": False, "prepend_scheme": "never"},
        {**META, "str_rep": "▁", "prepend_scheme": "first", "split": False},
        {"type": "Digits", "individual_digits": True},
        {"type": "FixedLength", "length": 3},
        {"type": "Punctuation"},
        *({"type": "Punctuation", "behavior": b} for b in "Removed MergedWithPrevious Contiguous".split()),
        {"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Removed", "invert": True},
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False},
        {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": False}]},
    ],
    "decoder": [
        {"type": "BPEDecoder", "suffix": "</w>"},
        {"suffix": "</w>"},
        {"type": "ByteLevel", **SPACES},
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"prefix": "##", "cleanup": False},
        {**META, "add_prefix_space": True, "prepend_scheme": "always"},
        {"type": "CTC", **CTC},
        CTC,
        {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]},
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
    "post_processor": [
        {"type": "RobertaProcessing", **ENDS, **SPACES},
        {"type": "BertProcessing", **ENDS},
        {"type": "BertProcessing", **ENDS, **SPACES},
        ENDS,
        {"type": "ByteLevel", **SPACES},
        {"type": "TemplateProcessing", **TEMPLATE},
        {
            "type": "Sequence",
            "processors": [{"type": "ByteLevel", **SPACES}, {"type": "TemplateProcessing", **TEMPLATE}],
        },
    ],
    "truncation": [
        {"max_length": 3, "strategy": "LongestFirst", "stride": 0},
        {"direction": "Left", "max_length": 3, "strategy": "OnlySecond", "stride": 1},
    ],
    "padding": [
        {
            "strategy": strategy,
            "direction": "Left",
            "pad_to_multiple_of": 8,
            "pad_id": 1,
            "pad_type_id": 2,
            "pad_token": "b",
        }
        for strategy in ("BatchLongest", {"Fixed": 4})
    ],
    "added_tokens": [
        [added(9, "zz"), added(5, "yy", special=True), added(0, "a"), added(9, "zz", lstrip=True), added(7, "")],
    ],
    "model": [
        {"type": "WordPiece", **PIECES},
        PIECES,
        {"type": "WordLevel", **WORDS},
        WORDS,
        {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1.25], *scores()], "byte_fallback": True},
        {"unk_id": None, "vocab": [["<unk>", 0.0]]},
        {
            "type": "BPE",
            "vocab": {"a": 0, "##b": 1, "ab": 2},
            "merges": ["#version: 0.2", "a ##b"],
            "continuing_subword_prefix": "##",
            "end_of_word_suffix": "",
            "dropout": 0.1,
        },
        {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "dropout": 1, "ignore_merges": True},
    ],
}


@pytest.mark.parametrize("key", CASES)
def test_reads_and_writes_alike(key: str) -> None:
    for value in CASES[key]:
        text = json.dumps({**BASE, key: value})
        theirs, ours = tokenizers.Tokenizer.from_str(text), Definition.from_json(text.encode())
        for pretty in (False, True):
            assert ours.to_json(pretty) == theirs.to_str(pretty), value
        # Scores are read as the peer reads them, not to the last bit: each reading may change them.
        if key not in ("added_tokens", "model"):
            again = Definition.from_json(json.dumps(BASE).encode()).replace(key, getattr(ours, key))
            assert again.to_json(False) == ours.to_json(False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalizer", {"type": "unheard of"}),
        ("pre_tokenizer", {"type": "Delimiter", "delimiter": "-"}),
        ("pre_tokenizer", {"delimiter": "-"}),
        ("pre_tokenizer", {**META, "add_prefix_space": False, "prepend_scheme": "first"}),
        ("pre_tokenizer", {**META, "replacement": "ab"}),
        ("pre_tokenizer", {"type": "Digits"}),
        ("pre_tokenizer", {"type": "Punctuation", "behavior": "Sideways"}),
        ("post_processor", {"type": "unheard of"}),
        ("decoder", {"type": "unheard of"}),
        ("model", {"type": "Unigram", "unk_id": 1, "vocab": [["<unk>", 0.0]]}),
        ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 2.0}),
        ("model", {"type": "WordLevel", "vocab": {}}),
        ("model", {"type": "Unigram", "vocab": {}}),
        ("padding", {"strategy": "BatchLongest"}),
    ],
)
def test_refuses_alike(key: str, value: Any) -> None:
    text = json.dumps({**BASE, key: value})
    with pytest.raises(Exception, match=r"."):
        tokenizers.Tokenizer.from_str(text)
    with pytest.raises(FormatError) as caught:
        Definition.from_json(text.encode())
    assert (caught.value.path or "").startswith(key)

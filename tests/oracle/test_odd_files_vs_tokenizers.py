"""Files that `tokenizers` reads although they repeat themselves, or that look like others but are not the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tokenizers
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, random_texts
from tokenizers import decoders, models, pre_tokenizers, processors

BYTES = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
TEXTS = ["abab aab", "a b  c\n", "▁a ▁▁", "12345 aaaaaaab", "<x> <y>aa", ""]


def byte_level(**changes: Any) -> dict[str, Any]:
    """A small byte-level file, changed."""
    vocab = BYTES | {"ab": 300, "aa": 301, "ba": 302}
    peer = tokenizers.Tokenizer(models.BPE(vocab, [("a", "b"), ("a", "a"), ("b", "a")]))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = decoders.ByteLevel()
    return json.loads(peer.to_str()) | changes


def split(pattern: dict[str, str]) -> dict[str, Any]:
    """Cut by a pattern, then the byte characters."""
    step = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [step, last]}


def with_bytes(vocab: dict[str, int]) -> dict[str, Any]:
    """Byte fallback without a piece for the space mark."""
    file = byte_level()
    tokens = [*vocab, *(f"<0x{byte:02X}>" for byte in range(256))]
    file["model"] |= {"vocab": {t: i for i, t in enumerate(tokens)}, "merges": [], "byte_fallback": True}
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return file | {"normalizer": space, "pre_tokenizer": None, "decoder": {"type": "Sequence", "decoders": steps}}


def added(*contents: str, **flags: bool) -> list[dict[str, Any]]:
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 7, "content": content, **off, **flags} for content in contents]


def merged_again(*pairs: tuple[str, str]) -> dict[str, Any]:
    file = byte_level()
    file["model"]["merges"] += [list(pair) for pair in pairs]
    return file


def stray_template() -> dict[str, Any]:
    state = json.loads(processors.BertProcessing(("x", 900), ("y", 901)).__getstate__())
    return byte_level(post_processor=state)


FILES = {
    "a merge twice": merged_again(("a", "b")),
    "merges twice": merged_again(("a", "b"), ("b", "a"), ("a", "b")),
    "one number for two added tokens": byte_level(added_tokens=added("<x>", "<y>")),
    "an added token twice": byte_level(added_tokens=[*added("<x>", special=True), *added("<x>")]),
    "an empty literal": byte_level(pre_tokenizer=split({"String": ""})),
    "an interval that is optional": byte_level(pre_tokenizer=split({"Regex": "a{2}?"})),
    "an interval of an interval": byte_level(pre_tokenizer=split({"Regex": "a{2}{2}"})),
    "no space mark": with_bytes({"a": 0, "b": 1}),
    "a template of no tokens": stray_template(),
}


@pytest.mark.parametrize("name", FILES)
def test_ids_offsets_and_text(name: str) -> None:
    data = json.dumps(FILES[name])
    theirs, ours = tokenizers.Tokenizer.from_str(data), tl.Tokenizer.from_bytes(data.encode())
    for text in TEXTS:
        want, found = theirs.encode(text, add_special_tokens=False), ours.encode_with_offsets(text)
        assert found.ids.tolist() == want.ids, text
        assert [tuple(span) for span in found.char_offsets.tolist()] == want.offsets, text
        assert ours.encode_list(text, add_special_tokens=True) == theirs.encode(text).ids, text
        for skip in (False, True):
            assert ours.decode(want.ids, skip_special_tokens=skip) == theirs.decode(want.ids, skip_special_tokens=skip)


@pytest.mark.parametrize("missing", ["ò", "Ġ~", "·¯é", "Ã"])
@pytest.mark.parametrize("options", [{"add_prefix_space": True}, {"add_prefix_space": False}, {"trim_offsets": False}])
def test_offsets_behind_bytes_that_are_no_tokens(missing: str, options: dict[str, bool]) -> None:
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(missing))
    pairs = [(a, b) for a, b in (("t", "h"), ("Ã", "¤"), ("Ġ", "a"), ("'", "s")) if not {a, b} & set(missing)]
    vocab = {text: id for id, text in enumerate([*alphabet, *(a + b for a, b in pairs)])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**({"add_prefix_space": False} | options))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=options.get("trim_offsets", True))
    mine = tl.Tokenizer.from_bytes(tokenizer.to_str().encode(), kind="tokenizer.json")
    for text in ["\U000b74af~'s ~\U000b74af th", *EDGE_TEXTS, *random_texts(7, 150, 30)]:
        expected, found = tokenizer.encode(text), mine.encode_with_offsets(text)
        assert found.ids.tolist() == expected.ids
        assert found.char_offsets.tolist() == [list(span) for span in expected.offsets], text

"""`NormalizedString`, `PreTokenizedString` and parts written in Python do what they do in `tokenizers`."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import tokenizers as peer
from oracle_texts import EDGE_TEXTS, random_texts
from tokenloom import errors
from tokenloom.compat import tokenizers as ours
from trained_files import CORPUS, trained

TEXTS = [*CORPUS[:6], *(text for text in EDGE_TEXTS if text), *random_texts(11, 60, 10)]
STRING_STEPS = ("nfc", "nfd", "nfkc", "nfkd", "lowercase", "uppercase", "lstrip", "rstrip", "strip")
BEHAVIORS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
PATTERNS = (" ", "the", r"\s+", r"\p{L}+", r"[aeiou]", r"\b", "^")


def pattern(library: Any, text: str) -> Any:
    return text if text in (" ", "the", "") else library.Regex(text)


def random_step(draw: random.Random) -> Any:
    """A change of a NormalizedString, as a function of the library and the string."""
    found = draw.choice(PATTERNS)
    content = draw.choice(["", "_", "xyz", "é"])
    return draw.choice(
        [
            *(lambda _, s, name=name: getattr(s, name)() for name in draw.sample(STRING_STEPS, 4)),
            lambda lib, s: s.replace(pattern(lib, found), content),
            lambda _, s: s.append(content),
            lambda _, s: s.prepend("▁"),
            lambda _, s: s.filter(lambda c: c not in "aeiou \n"),
            lambda _, s: s.map(lambda c: "x" if c == "t" else c),
        ]
    )


def stands_for(library: Any, text: Any) -> Any:
    """What each character of a NormalizedString stands for, seen through parts of it."""
    n_chars = len(text.normalized)
    parts = [text[n : n + 1] for n in range(min(n_chars, 30))] + [text[2:7], text[0], text.slice((1, 4))]
    return text.normalized, text.original, [None if part is None else (str(part), part.original) for part in parts]


def outcome(call: Any) -> Any:
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "fails"


@pytest.mark.parametrize("seed", range(12))
def test_changed_texts(seed):
    draw = random.Random(seed)
    for text in draw.sample(TEXTS, 20):
        # A change of a text that begins with characters which stand for nothing is another matter: see below.
        steps = [random_step(draw) for _ in range(draw.randrange(1, 4))]
        found = []
        for library in (peer, ours):
            changed = library.NormalizedString(text)

            def run(library=library, changed=changed, steps=steps):
                for step in steps:
                    step(library, changed)
                return stands_for(library, changed)

            found.append(outcome(run))
        assert found[1] == found[0] or found[0] == "fails" or "".join(found[0][1]) != text, (text, seed)


@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("found", PATTERNS)
def test_cut_texts(found, behavior):
    for text in TEXTS[:40]:
        parts = []
        for library in (peer, ours):
            changed = library.NormalizedString(text)
            changed.nfd()
            cut = changed.split(pattern(library, found), behavior)
            parts.append([(part.normalized, part.original) for part in cut])
        assert parts[1] == parts[0], text


class Written:
    """Parts that only use what both libraries have."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def normalize(self, text: Any) -> None:
        text.nfkd()
        text.filter(lambda c: not "\u0300" <= c <= "\u036f")
        text.replace(self.library.Regex(r"\d"), "0")
        text.lowercase()

    def pre_tokenize(self, text: Any) -> None:
        text.split(lambda _, part: part.split(self.library.Regex(r"\s+"), "removed"))
        text.split(lambda place, part: [part] if place % 2 else part.split("e", "merged_with_next"))
        text.normalize(lambda part: part.replace("a", "aa"))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [token.upper() for token in tokens]


def pieces(library: Any, text: str, *pre_tokenizers: Any) -> Any:
    cut = library.PreTokenizedString(text)
    for pre_tokenizer in pre_tokenizers:
        pre_tokenizer.pre_tokenize(cut)
    return [
        [(word, offsets) for word, offsets, _ in cut.get_splits(referential, unit)]
        for referential in ("original", "normalized")
        for unit in ("char", "byte")
    ]


def test_compiled_pretokenizers_cut_parts_that_python_made():
    for text in TEXTS:
        found = []
        for library in (peer, ours):
            p = library.pre_tokenizers
            found.append(
                [
                    pieces(library, text, Written(library), p.ByteLevel(add_prefix_space=True)),
                    pieces(library, text, Written(library), p.Metaspace(prepend_scheme="first")),
                    pieces(library, text, p.Metaspace(), Written(library), p.Digits(True)),
                    pieces(library, text, p.Sequence([p.WhitespaceSplit(), p.Punctuation()])),
                    pieces(library, text, p.BertPreTokenizer(), p.PreTokenizer.custom(Written(library))),
                ]
            )
        assert found[1] == found[0], text


def test_tokens_become_an_encoding():
    for text in TEXTS[:30]:
        found = []
        for library in (peer, ours):
            cut = library.PreTokenizedString(text)
            cut.split(lambda _, part: part.split(" ", "isolated"))
            cut.normalize(lambda part: part.nfd())
            with pytest.raises(Exception, match="tokenize"):
                cut.to_encoding()

            def tokens(word, library=library):
                n_bytes = len(word.encode())
                return [library.Token(7, word, (0, n_bytes)), library.Token(8, word[:1], (0, len(word[:1].encode())))]

            cut.tokenize(tokens)
            encoding = cut.to_encoding(type_id=1)
            words = [[token.as_tuple() for token in tokens] for _, _, tokens in cut.get_splits()]
            at_three = cut.to_encoding(0, 3)
            found.append((encoding.ids, encoding.offsets, encoding.tokens, encoding.type_ids, words, at_three.word_ids))
        assert found[1] == found[0], text


def build(library: Any, kind: str, parts: str) -> Any:
    tokenizer = library.Tokenizer.from_str(trained()[kind])
    written = Written(library)
    if "n" in parts:
        custom = library.normalizers.Normalizer.custom(written)
        tokenizer.normalizer = (
            library.normalizers.Sequence([custom, library.normalizers.NFC()]) if "s" in parts else custom
        )
    if "p" in parts:
        custom = library.pre_tokenizers.PreTokenizer.custom(written)
        steps = [library.pre_tokenizers.Punctuation(), custom]
        tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(steps) if "s" in parts else custom
    if "d" in parts:
        tokenizer.decoder = library.decoders.Decoder.custom(written)
    tokenizer.add_tokens(["Zürich", library.AddedToken("the", single_word=True, lstrip=True)])
    tokenizer.add_special_tokens([library.AddedToken("<x>", rstrip=True, normalized=False)])
    return tokenizer


@pytest.mark.parametrize("parts", ["n", "p", "np", "nps", "d"])
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "roberta"])
def test_tokenizers_of_written_parts(kind, parts):
    texts = [*TEXTS[:20], "Zürich the <x>  the Zurich<x> breathe", "a <x>"]
    both = [build(library, kind, parts) for library in (peer, ours)]
    for prepare in (
        lambda t: None,
        lambda t: t.enable_truncation(9, stride=2),
        lambda t: t.enable_padding(pad_to_multiple_of=4, direction="left"),
    ):
        found = []
        for tokenizer in both:
            prepare(tokenizer)
            batches = [
                tokenizer.encode_batch(texts),
                tokenizer.encode_batch(list(zip(texts, texts[::-1], strict=True)), add_special_tokens=False),
                tokenizer.encode_batch([text.split() for text in texts], is_pretokenized=True),
                [tokenizer.encode(text) for text in texts],
            ]
            found.append(
                [
                    (e.ids, e.tokens, e.offsets, e.word_ids, e.type_ids, e.special_tokens_mask, len(e.overflowing))
                    for batch in batches
                    for e in batch
                ]
                + [tokenizer.decode(e.ids) for e in batches[0]]
            )
        assert found[1] == found[0]


def test_written_parts_have_no_file():
    tokenizer = build(ours, "wordpiece", "np")
    for call in (tokenizer.to_str, lambda: copy.deepcopy(tokenizer), tokenizer.pre_tokenizer.__getstate__):
        with pytest.raises(errors.UnsupportedFeatureError):
            call()
    custom = ours.decoders.Decoder.custom(Written(ours))
    assert custom.decode(["a", "b"]) == peer.decoders.Decoder.custom(Written(peer)).decode(["a", "b"]) == "AB"
    with pytest.raises(errors.UnsupportedFeatureError):
        ours.decoders.Sequence([custom])
    normalizer = ours.normalizers.Normalizer.custom(Written(ours))
    assert normalizer.normalize_str("É1") == "e0"

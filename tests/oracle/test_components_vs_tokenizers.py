"""Are ids, character offsets and decoded text those of Hugging Face `tokenizers`, for every supported component?

Small tokenizers are trained here by `tokenizers` itself, one for each way of cutting text, with added tokens that use
every flag; the real files are compared where the formats are tested.
"""

import random

import pytest
import tokenizers
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = (
    "The quick brown fox doesn't jump over 12345 lazy dogs; they'LL SLEEP.\n\n  Größe naïve café ÅÅ e\u0301a\u0300 "
    "你好，世界 こんにちは 한국어 각 Привет мир\t\tif (x == 10) { return 'it''s'; }\r\n \u00a0\u3000 https://a.b/c///\n"
) * 3
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


PRE = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "gpt2 prefix": pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
    "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False, use_regex=True)]),
    "digit runs": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(False), pre_tokenizers.ByteLevel(True, use_regex=True)]
    ),
    "cl100k": pre_tokenizers.Sequence([split(tl.patterns.CL100K), BYTES]),
    "qwen2": pre_tokenizers.Sequence([split(tl.patterns.QWEN2), BYTES]),
    "o200k": pre_tokenizers.Sequence([split(tl.patterns.O200K, "removed", True), BYTES]),
    "deepseek": pre_tokenizers.Sequence([*map(split, tl.patterns.DEEPSEEK_V3), BYTES]),
    "superbpe": pre_tokenizers.Sequence([split(tl.patterns.SUPERBPE_STAGE2), BYTES]),
    "literal": pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "merged_with_next"), BYTES]),
    "previous": pre_tokenizers.Sequence([split(r"\s", "merged_with_previous"), BYTES]),
    "contiguous": pre_tokenizers.Sequence([split(r"[aeiou]", "contiguous"), BYTES]),
    "removed": pre_tokenizers.Sequence([split(r"\s+", "removed"), BYTES]),
}
ADDED = [
    AddedToken("<plain>", normalized=False),
    AddedToken("<left>", lstrip=True, normalized=False),
    AddedToken("<right>", rstrip=True, normalized=False),
    AddedToken("word", single_word=True, normalized=False),
    AddedToken("\u1100\u1161", normalized=True),
    AddedToken("<n l>", lstrip=True, rstrip=True, normalized=True),
]


def make(pre, nfc, trim, add_prefix):
    peer = tokenizers.Tokenizer(models.BPE())
    peer.pre_tokenizer = PRE[pre]
    if nfc:
        peer.normalizer = normalizers.NFC()
    peer.decoder = decoders.ByteLevel()
    peer.post_processor = processors.ByteLevel(add_prefix_space=add_prefix, trim_offsets=trim)
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=2
    )
    peer.train_from_iterator([TEXT], trainer)
    peer.add_tokens(ADDED)
    peer.add_special_tokens([AddedToken("<|end|>", special=True, normalized=False)])
    return tl.Tokenizer.from_bytes(peer.to_str().encode(), "tokenizer.json"), peer


MADE = {
    (pre, nfc): make(pre, nfc, trim=at % 3 != 0, add_prefix=at % 2 == 0)
    for at, (pre, nfc) in enumerate((pre, nfc) for pre in PRE for nfc in (False, True))
}
PIECES = [
    *"aAzZ019 \t\n\r'!/.<>|éñßÅ中あ한\u0301\u0323\u1100\u1161\u11a8\u00a0\u3000\u2028\x00😀\u200d",
    *(
        "'s",
        "'LL",
        " the",
        "word",
        "<plain>",
        " <left>",
        "<right> ",
        "e\u0301",
        "가",
        " <n l> ",
        "<|end|>",
        "12345",
        "\r\n\r\n",
        "   ",
    ),
]


def compare(ours, peer, text):
    theirs, mine = peer.encode(text, add_special_tokens=False), ours.encode_with_offsets(text)
    assert mine.ids.tolist() == theirs.ids
    assert [tuple(span) for span in mine.char_offsets.tolist()] == theirs.offsets
    assert ours.decode(mine.ids) == peer.decode(theirs.ids, skip_special_tokens=False)
    assert ours.decode(mine.ids, skip_special_tokens=True) == peer.decode(theirs.ids, skip_special_tokens=True)


@pytest.mark.parametrize("key", MADE, ids=lambda key: f"{key[0]}{'+nfc' if key[1] else ''}")
def test_random_texts(key):
    ours, peer = MADE[key]
    compare(ours, peer, TEXT)
    source = random.Random(f"{key}")
    for _ in range(400):
        compare(ours, peer, "".join(source.choices(PIECES, k=source.randrange(12))))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(MADE)), st.text(max_size=30))
def test_any_text(key, text):
    compare(*MADE[key], text)

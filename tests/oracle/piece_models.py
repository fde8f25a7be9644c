"""Small SentencePiece models of every option, trained by ``sentencepiece`` itself and then changed a little."""

from __future__ import annotations

import io
import random
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

LINES = [
    "The quick brown fox doesn't jump over 12345 lazy dogs; they'LL SLEEP.",
    "Größe naïve café ÅÅ e\u0301a\u0300 你好，世界 こんにちは 한국어 각 Привет мир",
    "if (x == 10) { return 'it''s'; } https://a.b/c/// ﬁne ① ａｂｃ \u00a0\u3000 ½²",
    "the cat sat on the mat",
    "it's a dog of the log",
    "aaaa aaab abab  bbbb   x",
    "this is a test of the things that we test for the best of the rest",
    "こんにちは世界、今日はいい天気ですね",
    "שלום עולם مرحبا بالعالم नमस्ते दुनिया",
] * 3
PARTS = [
    *"abxthe019 \t\n\r'éÅ中あ한\u0301\u00a0\u3000½①ﬁ▁😀\u200d\u2028\x00\x01\ufeff",
    *("  ", "   ", " the", "the", "abab", "aaab", "こんにちは", "<sep>", "<s>", "</s>", "<unk>", "123", "ａｂｃ", "▁▁"),
    *("<0x41>", "カ\u3099", "ﷺ", "👨‍👩‍👧", "天気", "①x", "\r\n", "нет"),
]
SYMBOLS = ["<sep>", "the", "ab", "abab", "▁▁", " a", "ﬁ", "é", "①x", "①", "123", "\t", "▁t", "  ", "天気"]
NORMAL, UNUSED = 1, 5


def piece_model(rng: random.Random, *, is_plain: bool) -> bytes:
    """A model of random options; ``is_plain`` leaves those that the compiled machine reproduces."""
    options: dict[str, Any] = {
        "model_type": rng.choice(["unigram", "unigram", "bpe", "bpe", "char", "word"]),
        "normalization_rule_name": rng.choice(["identity", "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"]),
        "byte_fallback": rng.random() < 0.4,
        "remove_extra_whitespaces": rng.random() < 0.5,
        "treat_whitespace_as_suffix": rng.random() < 0.25,
    }
    if is_plain:
        options |= {"model_type": "bpe", "normalization_rule_name": "identity", "byte_fallback": True}
        options |= {"remove_extra_whitespaces": False, "treat_whitespace_as_suffix": False}
    options |= {
        "add_dummy_prefix": rng.random() < 0.7,
        "vocab_size": rng.choice([160, 200, 300, 600]) + 260 * options["byte_fallback"],
        "split_by_whitespace": rng.random() < 0.8,
        "allow_whitespace_only_pieces": rng.random() < 0.3,
        "split_digits": rng.random() < 0.3,
        "split_by_unicode_script": rng.random() < 0.7,
        "character_coverage": rng.choice([1.0, 0.99, 0.98]),
        "max_sentencepiece_length": rng.choice([4, 16]),
    }
    if rng.random() < 0.4:
        options["user_defined_symbols"] = rng.sample(SYMBOLS, rng.randrange(1, 5))
    if rng.random() < 0.3:
        options["control_symbols"] = rng.sample(["<c1>", "[INST]", "<mask>"], 2)
    if rng.random() < 0.2:
        options["unk_surface"] = rng.choice(["", "?", " U "])
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(rng.sample(LINES, rng.randrange(8, 20))),
        model_writer=made,
        hard_vocab_limit=False,
        minloglevel=5,
        **options,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(made.getvalue())
    normal = [piece for piece in model.pieces if piece.type == NORMAL]
    if rng.random() < 0.3:
        for piece in normal:
            if len(piece.piece) > 1 and rng.random() < 0.15:
                piece.type = UNUSED
    if rng.random() < 0.3:
        # Scores that are equal, or nearly so.
        for piece in normal:
            piece.score = rng.choice([round(piece.score), round(piece.score, 1), piece.score])
    if rng.random() < 0.1 and not is_plain:
        model.normalizer_spec.escape_whitespaces = False
    return bytes(model.SerializeToString())

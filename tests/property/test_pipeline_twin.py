"""Do the models of the pipeline machine give the tokens of their short definitions?"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom._core.pipeline import Model
from tokenloom.reference import pipeline as twin

words = st.text("abcé", min_size=1, max_size=14)


def spans(tokens: list[tuple[str, int, int]], word: str) -> list[tuple[str, tuple[int, int]]]:
    """Places in bytes, as the machine counts."""
    at = [len(word[:place].encode()) for place in range(len(word) + 1)]
    return [(token, (at[start], at[end])) for token, start, end in tokens]


def made(model: Model, word: str) -> list[tuple[str, tuple[int, int]]]:
    return [(token, span) for _, token, span in model.tokenize(word)]


@settings(deadline=None)
@given(
    st.sets(st.tuples(st.sampled_from(["", "##"]), st.text("abcé", min_size=1, max_size=4)), max_size=20),
    st.lists(words, max_size=8),
    st.sampled_from([100, 6]),
)
def test_word_piece(tokens: set[tuple[str, str]], texts: list[str], most: int) -> None:
    vocab = ["[UNK]", *sorted(prefix + text for prefix, text in tokens)]
    fields = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": most}
    ids = {token: id for id, token in enumerate(vocab)}
    model = Model.from_json(json.dumps({"type": "WordPiece", **fields, "vocab": ids}).encode())
    for word in texts:
        assert made(model, word) == spans(twin.word_piece(word, set(vocab), "[UNK]", max_chars=most), word)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("abcé", min_size=1, max_size=5), st.sampled_from([-1.0, -2.0, -2.5, -4.0, 0.25]), max_size=20
    ),
    st.lists(words, max_size=8),
)
def test_unigram(scores: dict[str, float], texts: list[str]) -> None:
    vocab = [["?", 0.0], *([token, score] for token, score in scores.items())]
    file = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": vocab}
    model = Model.from_json(json.dumps(file).encode())
    for word in texts:
        assert made(model, word) == spans(twin.unigram(word, {"?": 0.0} | scores, "?"), word)

"""The suffix automaton against a search of the whole text, on every kind of text that fits a few lines."""

from __future__ import annotations

import numpy as np
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.reference import draft as twin

texts = st.integers(1, 4).flatmap(lambda n: st.lists(st.integers(0, n - 1), max_size=24))


@settings(max_examples=150, deadline=None)
@given(text=texts, max_depth=st.sampled_from([1, 2, 3, 5, 64]))
def test_match_count_and_latest_occurrence(text: list[int], max_depth: int) -> None:
    stream = tl.draft.Suffix(max_depth=max_depth).begin([])
    for i, token in enumerate(text):
        stream.commit([token])
        assert stream.occurrence() == twin.occurrence(text[: i + 1], max_depth)


@settings(max_examples=150, deadline=None)
@given(
    text=texts,
    before=st.lists(texts, max_size=3),
    between=texts,
    max_depth=st.sampled_from([1, 2, 4, 64]),
    min_prob=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_chains_and_their_probabilities(
    text: list[int], before: list[list[int]], between: list[int], max_depth: int, min_prob: float
) -> None:
    drafter = tl.draft.Suffix(max_depth=max_depth, min_prob=min_prob)
    for document in before:
        drafter.begin(document).end()
    stream = drafter.begin(text[: max(len(text) - 3, 0)])
    stream.propose(budget=6)
    # Another stream ends meanwhile: what was matched in the history has to be found again.
    drafter.begin(between).end()
    stream.commit(text[max(len(text) - 3, 0) :])
    tree = stream.propose(budget=6)
    tokens, probs = twin.draft_chain(text, [*before, between], max_depth, min_prob, budget=6)
    assert tree.tokens.tolist() == tokens
    np.testing.assert_allclose(tree.probs, probs, atol=1e-6)
    assert tree.parents.tolist() == list(range(-1, len(tokens) - 1))

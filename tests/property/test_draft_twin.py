"""The index and the trees against a search of the whole text, on every kind of text that fits a few lines."""

from __future__ import annotations

import numpy as np
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.reference import draft as twin

texts = st.integers(1, 4).flatmap(lambda n: st.lists(st.integers(0, n - 1), max_size=24))


def paths(tree: tl.draft.DraftTree) -> dict[tuple[int, ...], float]:
    """The path and the path probability of each node."""
    found: dict[tuple[int, ...], float] = {}
    rows: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    for token, parent, prob in zip(tree.tokens.tolist(), tree.parents.tolist(), tree.probs.tolist(), strict=True):
        path, above = rows[parent + 1]
        rows.append(((*path, token), above * prob))
        assert rows[-1][0] not in found
        found[rows[-1][0]] = rows[-1][1]
    return found


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
    min_prob=st.sampled_from([0.0413, 0.0917, 0.2171]),
)
def test_trees_and_their_probabilities(
    text: list[int], before: list[list[int]], between: list[int], max_depth: int, min_prob: float
) -> None:
    drafter = tl.draft.Suffix(max_depth=max_depth, min_prob=min_prob)
    for document in before:
        drafter.begin(document).end()
    stream = drafter.begin(text[: max(len(text) - 3, 0)])
    stream.propose(budget=6)
    # Another stream ends meanwhile: what was found in the history has to be found again.
    drafter.begin(between).end()
    stream.commit(text[max(len(text) - 3, 0) :])
    segments = [
        [token for document in segment for token in [*document.tolist(), twin.END]]
        for segment in drafter._drafter.segments()
    ]
    assert [ids for segment in segments for ids in segment] == [
        ids for document in [*before, between] for ids in [*document, twin.END]
    ]
    expected = twin.draft_tree(text, segments, max_depth, min_prob, budget=10**6)
    tree = stream.propose(budget=10**6)
    found = paths(tree)
    assert found.keys() == expected.keys()
    for path, prob in expected.items():
        np.testing.assert_allclose(found[path], prob, rtol=1e-5)
    # Fewer nodes are the best of them, and the first child is the best one.
    best = sorted(found.values(), reverse=True)
    some = paths(stream.propose(budget=5))
    np.testing.assert_allclose(sorted(some.values(), reverse=True), best[:5], rtol=1e-6)
    first: dict[int, float] = {}
    for parent, prob in zip(tree.parents.tolist(), tree.probs.tolist(), strict=True):
        assert prob <= first.setdefault(parent, prob) + 1e-6
    chain = stream.propose(budget=5, chain=True)
    assert chain.chain_length == len(chain)


@settings(max_examples=80, deadline=None)
@given(text=texts, min_match=st.integers(1, 3), max_match=st.sampled_from([3, 5, 64]))
def test_copies(text: list[int], min_match: int, max_match: int) -> None:
    tree = tl.draft.Ngram(min_match, max_match, length=7).begin(text).propose()
    assert tree.tokens.tolist() == twin.copy_behind(text, min_match, max_match, 7)


@settings(max_examples=80, deadline=None)
@given(text=texts, before=st.lists(texts, max_size=3), key_length=st.integers(1, 3), branch_length=st.integers(1, 4))
def test_branches(text: list[int], before: list[list[int]], key_length: int, branch_length: int) -> None:
    drafter = tl.draft.Trie(key_length, branch_length)
    for document in before:
        drafter.begin(document).end()
    tree = drafter.begin(text).propose(budget=4000)
    probs: dict[tuple[int, ...], float] = {}
    rows: list[tuple[int, ...]] = [()]
    for token, parent, prob in zip(tree.tokens.tolist(), tree.parents.tolist(), tree.probs.tolist(), strict=True):
        rows.append((*rows[parent + 1], token))
        probs[rows[-1]] = prob
    expected = twin.branches(text, [[*ids, twin.END] for ids in before], key_length, branch_length)
    assert probs.keys() == expected.keys()
    for path, prob in expected.items():
        np.testing.assert_allclose(probs[path], prob, rtol=1e-4)


@given(
    seconds=st.lists(st.floats(0.1, 10), min_size=12, max_size=12),
    path_probs=st.lists(st.floats(0, 1, width=32), max_size=11),
)
def test_what_pays(seconds: list[float], path_probs: list[float]) -> None:
    path_probs.sort(reverse=True)
    curve = tl.draft.CostCurve(range(1, 13), seconds)
    found, best = curve.n_paying(path_probs), twin.n_paying(seconds, path_probs)
    rates = [(1 + sum(path_probs[:n])) / seconds[n] for n in (found, best)]
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-12)

"""Drafters that learn from the model, and trees of several drafters, against their readable twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import tokenloom as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenloom.reference import draft as texts_twin
from tokenloom.reference import merged as merged_twin
from tokenloom.reference import recycling as twin

N_TOKENS = 5
texts = st.lists(st.integers(0, N_TOKENS - 1), max_size=16)
seeds = st.integers(0, 2**16)
MIN_PROBS = st.sampled_from([0.0413, 0.0917, 0.2171])


def said(seed: int, n_rows: int) -> tuple[list[list[int]], list[list[float]], list[twin.Row]]:
    """What a model might find likely behind some rows; -1 where it names fewer."""
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(N_TOKENS)[:3] for _ in range(n_rows)]).reshape(n_rows, 3)
    ids[rng.random((n_rows, 3)) < 0.2] = -1
    logprobs = np.log(rng.dirichlet(np.ones(3), n_rows)).astype(np.float32)
    rows = [
        [(int(token), float(logprob)) for token, logprob in zip(*row, strict=True) if token >= 0]
        for row in zip(ids, logprobs, strict=True)
    ]
    return ids.tolist(), logprobs.tolist(), rows


def paths(tree: tl.draft.DraftTree) -> dict[tuple[int, ...], float]:
    """The path of each node, and its probability behind its parent."""
    rows: list[tuple[int, ...]] = [()]
    found = {}
    for token, parent, prob in zip(tree.tokens.tolist(), tree.parents.tolist(), tree.probs.tolist(), strict=True):
        rows.append((*rows[parent + 1], token))
        found[rows[-1]] = prob
    assert len(found) == len(tree)
    return found


class Told:
    """A stream and its twin's tables, which hear the same."""

    def __init__(self, drafter: Any, adjacency: twin.Adjacency, prompt: list[int], seed: int | None) -> None:
        self.adjacency, self.text = adjacency, list(prompt)
        if seed is None:
            self.stream = drafter.begin(prompt)
            adjacency.read_prompt(prompt, None)
        else:
            ids, logprobs, rows = said(seed, len(prompt))
            self.stream = drafter.begin(prompt, ids or None, logprobs or None)
            adjacency.read_prompt(prompt, rows if ids else None)

    def commit(self, tree: tl.draft.DraftTree, tokens: list[int], seed: int | None) -> None:
        """Tokens come; with a seed the model also says what it found likely behind the rows of ``tree``."""
        if seed is None:
            self.stream.commit(tokens)
            self.adjacency.read_step(self.text, tokens)
        else:
            ids, logprobs, rows = said(seed, len(tree) + 1)
            self.stream.commit(tokens, ids, logprobs)
            drafted = tree.tokens.tolist(), tree.parents.tolist()
            self.adjacency.read_step(self.text, tokens, drafted, rows)
        self.text += tokens


news = st.lists(st.integers(0, N_TOKENS - 1), min_size=1, max_size=3)
steps = st.lists(st.tuples(news, st.none() | seeds), max_size=5)


@settings(max_examples=80, deadline=None)
@given(prompt=texts, prompt_seed=st.none() | seeds, steps=steps, min_prob=MIN_PROBS)
def test_recycling(prompt: list[int], prompt_seed: int | None, steps: Any, min_prob: float) -> None:
    told = Told(tl.draft.Recycling(min_prob=min_prob), twin.Adjacency(), prompt, prompt_seed)
    for tokens, seed in [*steps, ([0], None)]:
        tree = told.stream.propose(60)
        expected = merged_twin.merged_tree(
            lambda path: merged_twin.recycled(told.adjacency, [*told.text, *path], 0),
            NeverLearns(),
            min_prob,
            60,
        )
        compare(paths(tree), expected)
        told.commit(tree, tokens, seed)


class NeverLearns(merged_twin.Calibration):
    """Promises as they are."""

    def correct(self, cell: merged_twin.Cell, prob: float) -> float:
        return prob


def compare(found: dict[tuple[int, ...], float], expected: dict[tuple[int, ...], merged_twin.Node]) -> None:
    """The same nodes, each with the same probability behind its parent."""
    assert found.keys() == expected.keys()
    for path, prob in found.items():
        above = expected[path[:-1]].path_prob if len(path) > 1 else 1.0
        np.testing.assert_allclose(prob, expected[path].path_prob / above, rtol=2e-5)


@settings(max_examples=80, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 2), max_size=40),
    prompt_seed=st.none() | seeds,
    steps=steps,
    budget=st.integers(0, 110),
)
def test_spine(prompt: list[int], prompt_seed: int | None, steps: Any, budget: int) -> None:
    told = Told(tl.draft.Spine(), twin.Adjacency(), prompt, prompt_seed)
    acceptance = 0.5
    for tokens, seed in [*steps, ([0], None)]:
        tree = told.stream.propose(budget)
        spine, expected = twin.goose(told.text, told.adjacency, acceptance, budget)
        found = paths(tree)
        assert found.keys() == expected.keys()
        for path, prob in found.items():
            np.testing.assert_allclose(prob, expected[path], rtol=1e-5)
        acceptance = twin.followed(acceptance, spine, tokens)
        told.commit(tree, tokens, seed)


@settings(max_examples=80, deadline=None)
@given(
    before=st.lists(texts, max_size=2),
    prompt=texts,
    prompt_seed=st.none() | seeds,
    steps=steps,
    min_prob=MIN_PROBS,
    told_seed=st.none() | seeds,
)
def test_merged(
    before: list[list[int]],
    prompt: list[int],
    prompt_seed: int | None,
    steps: Any,
    min_prob: float,
    told_seed: int | None,
) -> None:
    """Suffix (two sources: the text, ended texts), recycling, and a head that says the same tree at every step."""
    rng = np.random.default_rng(told_seed)
    head = [tl.draft.DraftTree(rng.permutation(N_TOKENS)[:3], [-1, -1, 0], rng.random(3, np.float32))]
    drafters = [tl.draft.Suffix(), tl.draft.Recycling(), tl.draft.Callback(lambda ids, budget: head[0])]
    drafter = tl.draft.Merged(drafters if told_seed is not None else drafters[:2], min_prob)
    adjacency, calibration = twin.Adjacency(), merged_twin.Calibration()
    for document in before:
        drafter.begin(document).end()
        adjacency.read_prompt(document, None)
    segments = [
        [token for document in segment for token in [*document.tolist(), texts_twin.END]]
        for segment in drafters[0]._drafter.segments()  # type: ignore[attr-defined]
    ]
    told = Told(drafter, adjacency, prompt, prompt_seed)

    def levels(path: tuple[int, ...]) -> list[merged_twin.Level]:
        context = [*told.text, *path]
        found = merged_twin.counted(texts_twin.own_levels(told.text, context, 64), 0)
        found += merged_twin.counted(texts_twin.past_levels(segments, told.text, path), 1)
        found += merged_twin.recycled(adjacency, context, 2)
        return found + (merged_twin.told(paths(head[0]), path, 3) if told_seed is not None else [])

    for tokens, seed in [*steps, ([0], None)]:
        tree = told.stream.propose(4000)
        expected = merged_twin.merged_tree(levels, calibration, min_prob, 4000)
        compare(paths(tree), expected)
        calibration.learn(expected, tokens, levels)
        told.commit(tree, tokens, seed)
    told.stream.end()


def test_what_a_stream_saw_is_shared_when_it_ends() -> None:
    drafter, calibration = tl.draft.Merged([tl.draft.Suffix(max_bytes=0)], 0.0413), merged_twin.Calibration()
    text = [1, 2, 3, 1, 2]

    def levels(path: tuple[int, ...]) -> list[merged_twin.Level]:
        return merged_twin.counted(texts_twin.own_levels(text, [*text, *path], 64), 0)

    def expected() -> dict[tuple[int, ...], merged_twin.Node]:
        return merged_twin.merged_tree(levels, calibration, 0.0413, 64)

    assert expected()[(3,)].path_prob > 0.3
    for _ in range(60):
        with drafter.begin(text) as stream:
            compare(paths(stream.propose()), expected())
            stream.commit([4])
            calibration.learn(expected(), [4], levels)
        calibration.fade()
    assert expected()[(3,)].path_prob < 0.2

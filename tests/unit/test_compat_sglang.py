"""The corpus that SGLang's NGRAM worker asks, called as the worker calls it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.compat.sglang import NgramCorpus
from tokenloom.errors import ArrayError, UnsupportedFeatureError

TEXT = [5, 6, 7, 8, 9, 5, 6, 7, 4, 5, 6]


def worker_step(corpus: NgramCorpus, requests: dict[str, list[int]], depth: int) -> Any:
    """What the worker does before a step: ``synchronize``, then the last ``depth`` tokens of each text."""
    corpus.synchronize()
    windows = [text[-depth:] for text in requests.values()]
    tokens, mask, matched = corpus.batch_get(list(requests), windows, [len(text) for text in requests.values()])
    n = corpus.draft_token_num
    assert len(tokens) == len(requests) * n, "the worker asserts as much"
    corpus.batch_put(windows)
    return tokens.reshape(-1, n), mask.reshape(-1, n, n), matched


def test_trees_are_those_of_the_drafter() -> None:
    corpus = NgramCorpus(max_trie_depth=64, min_bfs_breadth=1, max_bfs_breadth=8, draft_token_num=6, capacity=10**6)
    (tokens,), (mask,), (matched,) = worker_step(corpus, {"a": TEXT}, 64)
    stream = tl.draft.Suffix(max_depth=64, min_prob=0.0).begin(TEXT)
    tree = stream.propose(5)
    assert tokens.tolist() == [6, *tree.tokens.tolist()]
    np.testing.assert_array_equal(mask.astype(bool), tree.attention_mask(0))
    assert matched == stream.occurrence()[0] == 2  # type: ignore[index]


def test_what_is_not_drafted_is_filled_up_and_seen_by_nobody() -> None:
    (tokens,), (mask,), (matched,) = worker_step(NgramCorpus(draft_token_num=4), {"a": [1, 2, 3]}, 18)
    assert tokens.tolist() == [3, 0, 0, 0]
    assert mask.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    assert matched == 0


def test_windows_that_move_are_one_text() -> None:
    corpus, whole = NgramCorpus(draft_token_num=4), tl.draft.Suffix(max_depth=18, min_prob=0.0)
    text = [*range(20), 3, 4, 5]
    stream = whole.begin(text)
    requests = {"a": list(text), "b": [1, 1]}
    for token in (6, 7, 30, 31, 10, 11, 12):
        (tokens, _), *_ = worker_step(corpus, requests, 40)
        assert tokens[1:].tolist() == [*stream.propose(3).tokens.tolist(), 0, 0, 0][:3]
        requests["a"].append(token)
        requests["b"].append(1)
        stream.commit([token])


def test_a_gap_another_text_or_a_shorter_one_begins_anew() -> None:
    corpus = NgramCorpus(draft_token_num=3)
    worker_step(corpus, {"a": [1, 2, 3]}, 18)
    for text, depth in (([1, 2, 3, *range(9), 7, 8], 4), ([9, 8, 9], 18), ([4, 5, 4], 18), ([4, 5], 18)):
        (tokens,), *_ = worker_step(corpus, {"a": text}, depth)
        assert tokens[0] == text[-1]
    assert corpus._requests["a"].length == 2


def test_requests_that_end_are_remembered_until_a_reset() -> None:
    corpus = NgramCorpus(draft_token_num=3)
    worker_step(corpus, {"a": [1, 2, 3, 4]}, 18)
    corpus.erase_match_state(["a", "never seen"])
    (tokens,), *_ = worker_step(corpus, {"b": [9, 2]}, 18)
    assert tokens.tolist() == [2, 3, 4]
    corpus.reset()
    (tokens,), *_ = worker_step(corpus, {"c": [9, 2]}, 18)
    assert tokens.tolist() == [2, 0, 0]


def test_other_texts_and_other_drafters() -> None:
    corpus = NgramCorpus(draft_token_num=3)
    assert corpus.load_external_corpus_named("docs", [[7, 8, 9], [1]]) == 4
    corpus.commit_external_corpus_load("docs", 4)
    assert corpus.list_external_corpora() == {"docs": 4}
    (tokens,), *_ = worker_step(corpus, {"a": [7]}, 18)
    assert tokens.tolist() == [7, 8, 9]
    with pytest.raises(ValueError, match="'docs' again"):
        corpus.load_external_corpus_named("docs", [])
    with pytest.raises(UnsupportedFeatureError):
        corpus.remove_external_corpus("docs")
    with pytest.raises(ArrayError, match="found none"):
        corpus.batch_get(["b"], [[]], [0])
    counter = tl.draft.Callback(lambda ids, budget: [int(ids[-1]) + 1])
    (tokens,), *_ = worker_step(NgramCorpus(draft_token_num=3, drafter=counter), {"a": [7]}, 18)
    assert tokens.tolist() == [7, 8, 0]


@pytest.mark.parametrize(
    "call", [(["a", "b"], [[1]], [1, 1]), (["a"], [[1], [2]], [1, 1]), (["a"], [[1]], []), (["a"], [[1]], [1, 2])]
)
def test_lists_of_other_lengths(call: Any) -> None:
    corpus = NgramCorpus(draft_token_num=3)
    with pytest.raises(ArrayError, match="one window and one length for each request, found"):
        corpus.batch_get(*call)
    assert not corpus._requests

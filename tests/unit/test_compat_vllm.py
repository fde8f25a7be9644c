"""vLLM's proposer: rows that move, requests that come and go, prompts read in parts."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import tokenloom as tl
from tokenloom.compat.vllm import Proposer

CONFIG = SimpleNamespace(
    speculative_config=SimpleNamespace(num_speculative_tokens=4), model_config=SimpleNamespace(max_model_len=64)
)


class Recorder:
    """A drafter that remembers what its streams are told."""

    def __init__(self) -> None:
        self.texts: list[list[int]] = []
        self.ended: list[list[int]] = []

    def begin(self, prompt: Any) -> Any:
        text = [int(token) for token in prompt]
        self.texts.append(text)
        return SimpleNamespace(
            commit=lambda ids: text.extend(int(token) for token in ids),
            propose=lambda budget: tl.draft.DraftTree([text[-1]] * budget, range(-1, budget - 1)),
            end=lambda: self.end(text),
        )

    def end(self, text: list[int]) -> None:
        self.texts = [other for other in self.texts if other is not text]
        self.ended.append(text)


def step(proposer: Proposer, rows: list[list[int]], n_new: list[int]) -> list[list[int]]:
    table = np.full((len(rows) + 2, 64), -7, dtype=np.int32)
    for row, text in enumerate(rows):
        table[row, : len(text)] = text
    lengths = np.array([len(text) for text in rows] + [0, 0], dtype=np.int32)
    return proposer.propose([text[len(text) - n :] for text, n in zip(rows, n_new, strict=True)], lengths, table)


def test_streams_follow_their_texts() -> None:
    drafter = Recorder()
    proposer = Proposer(CONFIG, drafter)
    a, b, c = [1, 2, 3], [1, 2, 4], [1, 2, 3]
    assert step(proposer, [a, b, c], [1, 1, 1]) == [[3] * 4, [4] * 4, [3] * 4]
    assert len(drafter.texts) == 3
    a, b, c = [*a, 5], [*b, 6, 7], [*c, 8]
    step(proposer, [a, b, c], [1, 2, 1])
    assert sorted(drafter.texts) == sorted([a, b, c])
    # The middle request ends, the last one takes its row, a new one comes behind.
    c, d = [*c, 9], [1, 2]
    assert step(proposer, [a, c, d], [0, 1, 0]) == [[], [9] * 4, []]
    assert drafter.ended == [b]
    assert sorted(drafter.texts) == sorted([a, c, d])
    # Everyone moves at once, and the rest of a prompt arrives.
    d = [*d, 3, 8, 9]
    step(proposer, [d, a, c], [1, 0, 0])
    assert sorted(drafter.texts) == sorted([a, c, d])
    assert len(drafter.ended) == 1
    step(proposer, [], [])
    assert not drafter.texts


def test_no_draft_beyond_the_longest_text() -> None:
    proposer = Proposer(CONFIG, Recorder())
    assert [len(step(proposer, [[1] * n], [1])[0]) for n in (50, 59, 60, 62, 63, 64)] == [4, 4, 3, 1, 0, 0]


def test_random_service_keeps_one_stream_a_request() -> None:
    rng, drafter = random.Random(8), Recorder()
    proposer = Proposer(CONFIG, drafter)
    rows: list[list[int]] = []
    for _ in range(300):
        rows = [text for text in rows if len(text) < 60 and rng.random() < 0.95]
        rng.shuffle(rows)
        n_new = [rng.randrange(0, 4) for _ in rows]
        rows = [[*text, *(rng.randrange(3) for _ in range(n))] for text, n in zip(rows, n_new, strict=True)]
        while len(rows) < 5 and rng.random() < 0.5:
            rows.append([rng.randrange(3) for _ in range(rng.randrange(1, 6))])
            n_new.append(1)
        step(proposer, rows, n_new)
        assert sorted(drafter.texts) == sorted(rows)


def test_the_default_drafter_repeats_the_prompt() -> None:
    proposer = Proposer(CONFIG)
    proposer.load_model(None, device="cpu")
    assert step(proposer, [[1, 2, 3, 4, 5, 6, 1, 2, 3]], [1]) == [[4, 5, 6]]


def test_tables_may_be_torch_tensors() -> None:
    import torch

    proposer = Proposer(CONFIG)
    text = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert proposer.propose([[3]], torch.tensor([len(text)]), torch.tensor([text], dtype=torch.int32)) == [[4, 5, 6]]

"""Drafts are read as far as they pay: cost curves, the width of a step, switching off."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DraftError
from tokenloom.reference import pace as twin
from transformers import LlamaForCausalLM

FLAT = tl.draft.CostCurve((1, 64), (1.0, 1.0))
LINEAR = tl.draft.CostCurve((1, 64), (1.0, 64.0))
MARGIN = 1.02
TILES = tl.draft.CostCurve((1, 8, 9, 16), (1.0, 1.0, 2.0, 2.0))


def random_tree(rng: random.Random, n: int) -> tl.draft.DraftTree:
    probs = np.array([rng.random() for _ in range(n)], dtype=np.float32)
    return tl.draft.DraftTree(range(n), [rng.randrange(-1, node) for node in range(n)], probs)


def paths(tree: tl.draft.DraftTree) -> list[float]:
    found: list[float] = []
    for prob, parent in zip(tree.probs.tolist(), tree.parents.tolist(), strict=True):
        found.append(prob * (found[parent] if parent >= 0 else 1.0))
    return found


def is_tree(tree: tl.draft.DraftTree, chosen: int) -> bool:
    parents = [int(parent) for node, parent in enumerate(tree.parents) if chosen >> node & 1]
    return all(parent < 0 or chosen >> parent & 1 for parent in parents)


def test_width_is_the_best_of_all_subtrees() -> None:
    rng = random.Random(0)
    for _ in range(200):
        n, curve = rng.randrange(1, 9), rng.choice([FLAT, LINEAR, TILES])
        tree = random_tree(rng, n)
        (cut,) = tl.torch.Pace(curve).cut([tree])
        value, seconds = paths(tree), [curve.at(max(1, rows)) for rows in range(n + 2)]
        best = max(
            (1 + sum(value[node] for node in range(n) if chosen >> node & 1)) / seconds[chosen.bit_count() + 1]
            for chosen in range(1 << n)
            if is_tree(tree, chosen)
        )
        rate = (1 + sum(paths(cut))) / seconds[len(cut) + 1]
        assert rate >= best / 1.02 - 1e-9, "at most the margin is given away"
        assert len(cut) == 0 or rate >= 1.02 / seconds[1] - 1e-9


@pytest.mark.parametrize("curve", [FLAT, LINEAR, TILES, tl.draft.CostCurve((1, 64), (1.0, 2.0))])
def test_widths_and_trust_are_those_of_the_twin(curve: tl.draft.CostCurve) -> None:
    rng = random.Random(1)
    pace, steps = tl.torch.Pace(curve), []
    for _ in range(60):
        trees = [random_tree(rng, rng.randrange(0, 7)) for _ in range(rng.randrange(1, 4))]
        rows = [list(zip(tree.parents.tolist(), tree.probs.tolist(), strict=True)) for tree in trees]
        assert pace.scale == pytest.approx(twin.scale_after(steps))
        width = twin.width_that_pays(rows, curve.at, pace.scale, MARGIN)
        cut = pace.cut(trees)
        assert [len(tree) for tree in cut] == [min(width, len(tree)) for tree in trees]
        n_accepted = rng.randrange(0, 3)
        pace.learn(cut, n_accepted)
        steps.append((sum(sum(paths(tree)) for tree in cut), n_accepted))


def test_a_batch_pays_for_its_widest_tree() -> None:
    sure = tl.draft.DraftTree([1, 2, 3], [-1, 0, 1], np.array([0.9, 0.9, 0.9], dtype=np.float32))
    none = tl.draft.DraftTree([], [])
    assert [len(tree) for tree in tl.torch.Pace(LINEAR).cut([sure, none])] == [0, 0]
    assert [len(tree) for tree in tl.torch.Pace(FLAT).cut([sure, none])] == [3, 0]
    assert [len(tree) for tree in tl.torch.Pace(TILES).cut([sure, sure])] == [3, 3]
    assert tl.torch.Pace(FLAT).cut([none, none]) == [none, none]


def test_a_drafter_that_is_wrong_is_switched_off_and_tried_again() -> None:
    curve = tl.draft.CostCurve((1, 64), (1.0, 2.0))
    pace, tree = tl.torch.Pace(curve), tl.draft.DraftTree([7], [-1], np.array([0.1], dtype=np.float32))
    read = []
    for _ in range(600):
        (cut,) = pace.cut([tree])
        pace.learn([cut], 0)
        read.append(len(cut))
    assert read[:5] == [1] * 5
    assert 0 < sum(read[300:]) < 150, "mostly off, not for ever"
    assert pace.scale < 0.5


def test_curves_are_measured_once_and_stored(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    calls: list[int] = []
    hook = tiny_model.register_forward_pre_hook(lambda *_: calls.append(1))
    curve = tl.torch.cost_curve(tiny_model, cache=tmp_path)
    n_calls = len(calls)
    assert tl.torch.cost_curve(tiny_model, cache=tmp_path) == curve
    assert len(calls) == n_calls > 0
    assert list(curve.seconds) == sorted(curve.seconds)
    (path,) = tmp_path.iterdir()
    for damage in ("", "{}", '{"rows": [1, 2], "seconds": [1]}', '{"rows": [2, 1], "seconds": [1, 1]}', "[1]"):
        path.write_text(damage)
        assert tl.torch.cost_curve(tiny_model, cache=tmp_path).rows == curve.rows
    tl.torch.cost_curve(tiny_model, cache=tmp_path, refresh=True)
    hook.remove()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_pace_changes_no_token(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, batch_size: int) -> None:
    texts = ["the cat and the dog and the cat and the", "a", "the the the the", "in the word"]
    options: dict[str, Any] = {"max_new_tokens": 30, "eos": (), "batch_size": batch_size}
    plain = tl.torch.generate(tiny_model, tiny_tokenizer, texts, **options)
    for curve, pays in ((FLAT, True), (LINEAR, False)):
        pace, drafter = tl.torch.Pace(curve), tl.draft.Suffix()
        found = tl.torch.generate(tiny_model, tiny_tokenizer, texts, drafter=drafter, draft_budget=pace, **options)
        assert [one.ids.tolist() for one in found] == [one.ids.tolist() for one in plain]
        assert (sum(one.stats.drafted for one in found) > 0) == pays


@pytest.mark.parametrize("budget", [-1, "much", None, 1.5])
def test_budgets_that_are_none(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, budget: Any) -> None:
    with pytest.raises(ArrayError, match="expected draft_budget"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "a", drafter=tl.draft.Suffix(), draft_budget=budget)


def test_a_curve_that_is_none() -> None:
    with pytest.raises(DraftError):
        tl.torch.Pace(tl.draft.CostCurve((2, 1), (1.0, 1.0)))


def test_drafters_that_learn_hear_what_the_model_found_likely(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    greedy = tl.sample.Params(temperature=0.0)
    text, options = "the cat and the dog", {"max_new_tokens": 60, "eos": (), "params": greedy}
    (plain,) = tl.torch.generate(tiny_model, tiny_tokenizer, text, **options)
    for drafter in (tl.draft.Recycling(), tl.draft.Spine(), tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling()])):
        assert drafter.n_top == 10
        for _ in range(2):
            (found,) = tl.torch.generate(tiny_model, tiny_tokenizer, text, drafter=drafter, **options)
            assert found.ids.tolist() == plain.ids.tolist()
        assert found.stats.accepted > 20, "the second time it is known"
    assert tl.draft.Suffix().n_top == 0

"""vLLM's processor: recorded calls with rows that move, requests that come and go, and requests that do not ask."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.compat.vllm_rules import RulesProcessor


class Direction(enum.Enum):
    UNIDIRECTIONAL = 1
    SWAP = 2


def asking(**asked: Any) -> SimpleNamespace:
    return SimpleNamespace(extra_args={"tokenloom": asked} if asked else None)


def update(removed: Any = (), added: Any = (), moved: Any = ()) -> SimpleNamespace:
    return SimpleNamespace(batch_size=8, removed=removed, added=added, moved=moved)


def processor() -> RulesProcessor:
    return RulesProcessor(SimpleNamespace(speculative_config=None), torch.device("cpu"), False)


def test_rows_are_followed():
    engine = processor()
    outputs: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    rules = {"top_k": 5, "frequency_penalty": 0.5, "order": "vllm"}
    engine.update_state(
        update(
            added=[
                (0, asking(seed=1, **rules), [1, 2], outputs["a"]),
                (1, asking(), [3], []),
                (2, asking(seed=2, temperature=0.0), [4], outputs["b"]),
            ]
        )
    )
    places = {"a": 0, "b": 2}
    prompts = {"a": [1, 2], "b": [4], "c": [9]}
    asked = {"a": (tl.sample.Params(**rules), 1), "b": (tl.sample.Params(temperature=0.0), 2)}
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        logits = torch.randn(4, 60, generator=generator)
        given = logits.clone()
        result = engine.apply(logits)
        for row in set(range(4)) - set(places.values()):
            assert torch.equal(result[row], given[row])
        for name, row in places.items():
            text = prompts[name] + [token for token in outputs[name] if token >= 0]
            params, seed = asked[name]
            drawn = tl.sample.sample(
                given[row : row + 1],
                params,
                np.array([seed], np.uint64),
                len(text),
                history=[text],
                prompt_lengths=len(prompts[name]),
            )
            token = int(drawn.tokens[0])
            assert (result[row] > -torch.inf).nonzero().flatten().tolist() == [token]
            outputs[name].append(token)

    step()
    engine.update_state(None)
    step()
    engine.update_state(update(moved=[(0, 2, Direction.SWAP)]))
    places = {"a": 2, "b": 0}
    step()
    asked["c"] = (tl.sample.Params(min_p=0.1), 3)
    engine.update_state(
        update(
            removed=[0],
            added=[(1, asking(seed=3, min_p=0.1), [9], outputs["c"])],
            moved=[(2, 0, Direction.UNIDIRECTIONAL)],
        )
    )
    places = {"a": 0, "c": 1}
    step()
    outputs["a"].append(-1)  # a token that is still being computed
    step()
    assert not engine.is_argmax_invariant()


def test_rows_without_a_token_are_left_to_vllm():
    engine = processor()
    engine.update_state(update(added=[(0, asking(seed=1), None, [])]))
    logits = torch.full((1, 5), float("nan"))
    assert torch.isnan(engine.apply(logits)).all()


def test_bad_requests_are_refused():
    RulesProcessor.validate_params(asking(seed=0, top_k=4))
    RulesProcessor.validate_params(asking())
    with pytest.raises(ValueError, match="int seed"):
        RulesProcessor.validate_params(asking(top_k=4))
    with pytest.raises(ValueError, match="unexpected keyword argument 'heat'"):
        RulesProcessor.validate_params(asking(seed=1, heat=3))
    with pytest.raises(ValueError, match="top_p"):
        RulesProcessor.validate_params(asking(seed=1, top_p=3.0))
    with pytest.raises(tl.errors.ParamsError, match="speculative"):
        RulesProcessor(SimpleNamespace(speculative_config=object()), torch.device("cpu"), False)

"""Drafts under a constraint change nothing: same seed, same tokens, with masks and with checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest
import tokenloom as tl
from transformers import LlamaForCausalLM


def answers_agree(
    model: LlamaForCausalLM, tokenizer: tl.Tokenizer, schema: dict[str, Any], seed: int, n_tokens: int
) -> int:
    """How many drafted tokens were kept; the prompt holds instances, so that there is something to draft from."""
    constraint = tl.control.json_schema(schema, tokenizer, eos=[265])
    prompt = "the and " + json.dumps(schema.get("properties", schema.get("enum", "and on"))) * 2
    prompts = [tokenizer.encode_list(prompt)[:60], tokenizer.encode_list("on and on")]

    def run(**options: Any) -> list[tl.torch.Generation]:
        return tl.torch.generate(
            model, tokenizer, prompts, max_new_tokens=n_tokens, constraint=constraint, seed=seed, eos=265, **options
        )

    alone = run(forced="ask", batch_size=1)
    drafted = run(drafter=tl.draft.Suffix(min_prob=0.0), method="mask" if seed % 2 else "check")
    chained = run(drafter=tl.draft.Ngram(), draft_shape="chain", method="check" if seed % 2 else "mask")
    for one, two, three in zip(alone, drafted, chained, strict=True):
        assert two.ids.tolist() == one.ids.tolist(), schema
        assert three.ids.tolist() == one.ids.tolist(), schema
        if one.finish_reason == "eos":
            jsonschema.Draft202012Validator(schema).validate(json.loads(one.text))
    return sum(answer.stats.accepted for answer in drafted)


def test_speculation_equals_the_constraint_alone(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, random_schema: Callable[[int], dict[str, Any]]
) -> None:
    n_kept = sum(answers_agree(tiny_model, tiny_tokenizer, random_schema(seed), seed, 16) for seed in range(12))
    assert n_kept > 0


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_speculation_equals_the_constraint_alone_on_a_hundred_schemas(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, random_schema: Callable[[int], dict[str, Any]]
) -> None:
    n_kept = [answers_agree(tiny_model, tiny_tokenizer, random_schema(seed), seed, 48) for seed in range(100, 200)]
    assert np.count_nonzero(n_kept) > 50

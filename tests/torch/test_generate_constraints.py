"""Constrained answers satisfy the constraint, follow the right law, and fail in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ConstraintError
from transformers import LlamaForCausalLM

WARM = tl.sample.Params(temperature=1.0)


def no_vowel(prefix: bytes) -> bool:
    return not re.search(rb"[aeiou]", prefix)


def run(model: Any, tokenizer: Any, constraint: Any, prompts: Any = "the cat and", **options: Any) -> list[Any]:
    options = {"max_new_tokens": 12, "params": WARM, "seed": 11} | options
    return tl.torch.generate(model, tokenizer, prompts, constraint=constraint, **options)


@pytest.mark.parametrize("method", ["mask", "check", "awrs"])
def test_every_prefix_satisfies_the_predicate(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, method: str
) -> None:
    constraint = tl.control.predicate(no_vowel, tiny_tokenizer)
    prompts = ["the cat and", "b", "x y"]
    plain = run(tiny_model, tiny_tokenizer, constraint, prompts, method=method, seed=[1, 2, 3])
    for answer in plain:
        assert answer.stats.n_tokens > 0
        assert no_vowel(tiny_tokenizer.decode_bytes(answer.ids))
        assert answer.stats.checks >= answer.stats.n_tokens
    assert (sum(answer.log_weight for answer in plain) != 0) == (method == "awrs")
    drafted = run(
        tiny_model,
        tiny_tokenizer,
        constraint,
        prompts,
        method=method,
        seed=[1, 2, 3],
        drafter=tl.draft.Suffix(),
        batch_size=2,
    )
    assert [answer.ids.tolist() for answer in drafted] == [answer.ids.tolist() for answer in plain]
    np.testing.assert_allclose(
        [answer.log_weight for answer in drafted], [answer.log_weight for answer in plain], atol=1e-5
    )


RULES = [
    tl.sample.Params(),
    tl.sample.Params(temperature=0.0),
    tl.sample.Params(temperature=1.7),
    tl.sample.Params(top_k=5),
    tl.sample.Params(top_p=0.8),
    tl.sample.Params(temperature=2.0, top_k=40, top_p=0.95, min_p=0.01),
    tl.sample.Params(typical_p=0.9),
    tl.sample.Params(repetition_penalty=2.0, presence_penalty=1.0),
]


@pytest.mark.parametrize("params", RULES, ids=str)
def test_check_draws_the_tokens_that_mask_draws(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, params: tl.sample.Params
) -> None:
    grammar = tl.control.regex("([a-f ]*(the|and|in)[.,!]? ?)*", tiny_tokenizer)
    for seed in range(3):
        options = {"params": params, "seed": seed, "max_new_tokens": 12}
        masked = run(tiny_model, tiny_tokenizer, grammar, method="mask", **options)
        checked = run(tiny_model, tiny_tokenizer, grammar, method="check", **options)
        assert checked[0].ids.tolist() == masked[0].ids.tolist()


def test_predicates_are_never_asked_about_the_vocabulary(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    answers = [
        run(tiny_model, tiny_tokenizer, tl.control.predicate(no_vowel, tiny_tokenizer), method=method)[0]
        for method in ("mask", "check")
    ]
    assert answers[0].ids.tolist() == answers[1].ids.tolist()
    assert all(answer.stats.checks < 20 * answer.stats.n_tokens for answer in answers)


@pytest.mark.parametrize("method", ["mask", "check", "awrs"])
@pytest.mark.parametrize("drafter", [None, tl.draft.Suffix()], ids=["plain", "drafted"])
def test_a_regex_is_matched_to_its_end(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, method: str, drafter: Any
) -> None:
    pattern = "(the [a-f]{2}, ){3}and on"
    constraint = tl.control.regex(pattern, tiny_tokenizer)
    (answer,) = run(tiny_model, tiny_tokenizer, constraint, max_new_tokens=64, method=method, drafter=drafter)
    assert re.fullmatch(pattern, answer.text)
    assert answer.finish_reason in ("eos", "constraint")


def test_complete_text_ends_without_an_end_token(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    (answer,) = run(tiny_model, tiny_tokenizer, tl.control.regex("abc", tiny_tokenizer), eos=())
    assert answer.text == "abc"
    assert answer.finish_reason == "constraint"


class AtMostThreeBytes:
    """A constraint of our own that allows three bytes and never lets the text end."""

    def __init__(self, tokenizer: tl.Tokenizer) -> None:
        self.tokenizer, self.lengths = tokenizer, [0]

    def start(self) -> AtMostThreeBytes:
        return AtMostThreeBytes(self.tokenizer)

    def mask(self) -> None:
        return None

    def check(self, token: int) -> bool:
        return self.lengths[-1] + len(self.tokenizer.token_bytes(token)) <= 3

    def check_many(self, tokens: Any) -> list[bool]:
        return [self.check(int(token)) for token in tokens]

    def advance(self, token: int) -> None:
        self.lengths.append(self.lengths[-1] + len(self.tokenizer.token_bytes(token)))

    def rollback(self, n: int) -> None:
        del self.lengths[-n:]

    def is_accepting(self) -> bool:
        return False


@pytest.mark.parametrize("method", ["mask", "check", "awrs"])
def test_dead_end_names_the_text_and_the_step(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, method: str
) -> None:
    with pytest.raises(ConstraintError, match="no token") as caught:
        run(tiny_model, tiny_tokenizer, AtMostThreeBytes(tiny_tokenizer), method=method)
    assert caught.value.prefix is not None
    assert len(caught.value.prefix) == 3
    assert caught.value.step is not None
    assert 1 <= caught.value.step <= 3


@pytest.mark.parametrize("method", ["mask", "check", "awrs"])
def test_a_raising_predicate_speaks_for_itself(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, method: str
) -> None:
    class SorryError(Exception):
        pass

    def predicate(prefix: bytes) -> bool:
        if len(prefix) > 5:
            raise SorryError
        return True

    ended: list[bool] = []

    class Drafter:
        def begin(self, _: Any) -> Any:
            ended.append(False)
            return self

        def propose(self, budget: int) -> Any:
            return type("Tree", (), {"tokens": np.zeros(0, np.int32), "parents": np.zeros(0, np.int32)})()

        def commit(self, _: Any) -> None: ...

        def end(self) -> None:
            ended[0] = True

    with pytest.raises(SorryError):
        run(
            tiny_model,
            tiny_tokenizer,
            tl.control.predicate(predicate, tiny_tokenizer),
            method=method,
            drafter=Drafter(),
        )
    assert ended == [True], "the drafter's stream is given back"


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_forced_tokens_cost_one_forward_pass(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, cache: str
) -> None:
    schema = {"const": {"the name of the thing": "and on and on and on"}}
    constraint = tl.control.json_schema(schema, tiny_tokenizer)
    prompts = ["the first", "and another one"]

    def answers(**options: Any) -> list[tl.torch.Generation]:
        return run(tiny_model, tiny_tokenizer, constraint, prompts, max_new_tokens=60, cache=cache, seed=7, **options)

    plain, drafted = answers(forced="ask"), answers()
    assert [a.ids.tolist() for a in drafted] == [a.ids.tolist() for a in plain]
    assert all(a.stats.drafted == 0 for a in plain)
    assert all(a.stats.accepted > 0 for a in drafted)
    jumped = answers(forced="jump")
    for method in ("mask", "check"):
        for drafter in (None, tl.draft.Suffix(), tl.draft.Recycling()):
            again = answers(forced="jump", method=method, drafter=drafter)
            assert [a.ids.tolist() for a in again] == [a.ids.tolist() for a in jumped]
    for answer in jumped:
        assert answer.text.replace(" ", "").startswith('{"the')
        assert answer.stats.forced > 10
        assert answer.stats.model_calls <= answer.stats.n_tokens - answer.stats.forced + 1
        assert answer.logprobs.shape == answer.ids.shape
    whole = tl.control.regex("the and on", tiny_tokenizer)
    (text,) = run(tiny_model, tiny_tokenizer, whole, forced="jump")
    assert text.text == "the and on"
    assert text.stats.model_calls <= 1


@pytest.mark.parametrize("n_new", [1, 2, 3, 5])
def test_forced_tokens_keep_to_the_length(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, n_new: int
) -> None:
    for forced in ("draft", "jump"):
        (answer,) = run(
            tiny_model,
            tiny_tokenizer,
            tl.control.regex("the and on and on", tiny_tokenizer),
            max_new_tokens=n_new,
            forced=forced,
        )
        assert len(answer.ids) == n_new
        assert answer.finish_reason == "length"

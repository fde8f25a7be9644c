"""Two models share a text: scores, rules with a memory, cascades, tokens said by the model that is needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from scipy.special import digamma, softmax
from scipy.stats import entropy
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from tokenloom.torch import routing
from transformers import LlamaConfig, LlamaForCausalLM

GREEDY = tl.sample.Params(temperature=0.0)


@pytest.fixture(scope="module")
def small(tiny_model: LlamaForCausalLM) -> LlamaForCausalLM:
    torch.manual_seed(9)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "max_position_embeddings": 512}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": 265}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=272, **shape, **heads)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)
    return model


def test_statistics_against_their_formulas() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        logits = rng.normal(3, 4, 50)
        found, probs = routing.token_stats(logits.astype(np.float32)), softmax(logits)
        top = np.maximum(np.sort(logits)[::-1][:10], 0)
        aleatoric = -np.sum(top / top.sum() * (digamma(top + 1) - digamma(top.sum() + 1)))
        assert found.entropy == pytest.approx(entropy(probs), abs=1e-5)
        assert found.max_prob == pytest.approx(probs.max(), abs=1e-6)
        assert found.margin == pytest.approx(np.sort(probs)[-1] - np.sort(probs)[-2], abs=1e-6)
        assert found.aleatoric == pytest.approx(aleatoric, abs=1e-5)
        assert found.epistemic == pytest.approx(10 / (top.sum() + 10), abs=1e-6)
    masked = routing.token_stats([0.0, -math.inf, 1.0])
    assert masked.entropy == pytest.approx(entropy(softmax([0.0, 1.0])))
    with pytest.raises(ArrayError, match="shape"):
        routing.token_stats([[1.0, 2.0]])


def test_scores_of_answers() -> None:
    logprobs = np.array([-0.1, -2.0, -0.4, -0.5])
    assert routing.chow_sum(logprobs) == pytest.approx(-3.0)
    assert routing.chow_average(logprobs) == pytest.approx(-0.75)
    assert routing.chow_quantile(0.0)(logprobs) == -2.0
    assert routing.quantile_vector(logprobs, (0.0, 0.5, 1.0)).tolist() == pytest.approx([-2.0, -0.45, -0.1])
    assert routing.quantile_vector([]).tolist() == [0.0] * 14
    assert routing.chow_average([]) == routing.chow_sum([]) == 0.0
    assert routing.below(routing.chow_average, -0.7)(logprobs)
    assert not routing.above(routing.chow_average, -0.7)(logprobs)


def test_hysteresis_by_hand() -> None:
    rule = routing.Hysteresis(bool, rise=0.7, fall=0.3, momentum=0.5)
    signals = [1, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    # averages: .5 .25 .625 .8125 .90625 .453 .227 .613 .307 .153
    assert [rule(signal) for signal in signals] == [False, False, False, True, True, True, False, False, False, False]
    rule.reset()
    assert not rule(1)
    with pytest.raises(ArrayError, match="fall"):
        routing.Hysteresis(bool, rise=0.2, fall=0.3)


PENALISED = tl.sample.Params(temperature=0.8, repetition_penalty=5.0, frequency_penalty=0.5)


@pytest.mark.parametrize(
    "params", [GREEDY, tl.sample.Params(temperature=0.8), PENALISED], ids=["greedy", "sampled", "penalised"]
)
def test_one_model_alone_says_what_it_says(
    small: LlamaForCausalLM, tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, params: Any
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 20, "params": params, "seed": 4, "eos": ()}
    for rule, model, n_large in ((lambda _: True, tiny_model, 20), (lambda _: False, small, 0)):
        (alone,) = tl.torch.generate(model, tiny_tokenizer, "the cat", **options)
        found = routing.route(small, tiny_model, tiny_tokenizer, "the cat", rule=rule, **options)
        assert found.ids.tolist() == alone.ids.tolist()
        assert found.text == alone.text
        assert found.by_large.sum() == n_large == found.n_large_calls


def test_the_large_model_catches_up(
    small: LlamaForCausalLM, tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    options: dict[str, Any] = {"max_new_tokens": 10, "params": GREEDY}
    n_prompt, turns = len(tiny_tokenizer.encode_list("the cat")), iter([0, 0, 1, 0, 0, 0, 1, 1, 0, 0])
    found = routing.route(
        small,
        tiny_model,
        tiny_tokenizer,
        "the cat",
        rule=lambda _: bool(next(turns)),
        max_new_tokens=10,
        eos=(),
        params=GREEDY,
    )
    assert found.by_large.nonzero()[0].tolist() == [2, 6, 7]
    assert (found.n_large_calls, found.n_caught_up) == (3, n_prompt + 7)
    text = tiny_tokenizer.encode_list("the cat")
    for token, is_large in zip(found.ids.tolist(), found.by_large, strict=True):
        with torch.inference_mode():
            logits = (tiny_model if is_large else small)(torch.tensor([text])).logits[
                0, -1, : tiny_tokenizer.vocab_size
            ]
        assert int(logits.argmax()) == token
        text.append(token)
    stopped = routing.route(
        small,
        tiny_model,
        tiny_tokenizer,
        "the cat",
        rule=routing.above("entropy", 1.0),
        stop=found.text[3:5],
        max_new_tokens=10,
        params=GREEDY,
    )
    assert found.text[3:5] not in stopped.text
    shapes = []
    routing.route(
        small,
        tiny_model,
        tiny_tokenizer,
        "the cat",
        rule=lambda stats: bool(shapes.append(stats.hidden.shape)),
        with_hidden=True,
        **options,
    )
    assert set(shapes) == {(16,)}
    with pytest.raises(ArrayError, match="empty prompt"):
        routing.route(small, tiny_model, tiny_tokenizer, "", rule=lambda _: True)


def test_a_cascade_defers_what_the_rule_names(
    small: LlamaForCausalLM, tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    texts = ["the cat", "a", "in the"]
    options: dict[str, Any] = {"max_new_tokens": 8, "eos": (), "seed": [1, 2, 3]}
    ours = tl.torch.generate(small, tiny_tokenizer, texts, **options)
    theirs = tl.torch.generate(tiny_model, tiny_tokenizer, texts, **options)
    # Between the first and the second: the scores are read anew, so they may differ by rounding.
    threshold = np.mean(sorted(routing.chow_average(answer.logprobs) for answer in ours)[:2])
    answers, deferred = routing.cascade(
        small, tiny_model, tiny_tokenizer, texts, rule=routing.below(routing.chow_average, threshold), **options
    )
    assert deferred.sum() == 1
    for at, answer in enumerate(answers):
        assert answer.ids.tolist() == (theirs if deferred[at] else ours)[at].ids.tolist()
    assert not routing.cascade(small, tiny_model, tiny_tokenizer, texts, rule=lambda _: False, **options)[1].any()


def test_a_cascade_judges_by_the_models_own_law(
    small: LlamaForCausalLM,
    tiny_model: LlamaForCausalLM,
    tiny_tokenizer: tl.Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawn greedily, every token is certain under the rules; the model itself was not."""
    monkeypatch.setattr(routing, "_N_READ", 3)
    seen: list[Any] = []
    for params in (GREEDY, tl.sample.Params(temperature=0.5, top_k=3)):
        seen.clear()
        options: dict[str, Any] = {"max_new_tokens": 8, "eos": (), "params": params, "seed": 3}
        answers, deferred = routing.cascade(
            small, tiny_model, tiny_tokenizer, ["the cat", "a"], rule=lambda of: bool(seen.append(of)), **options
        )
        assert not deferred.any()
        for answer, found in zip(answers, seen, strict=True):
            text = torch.tensor([[*answer.prompt_ids.tolist(), *answer.ids.tolist()]])
            with torch.inference_mode():
                laws = small(text).logits[0, -9:-1, : tiny_tokenizer.vocab_size].log_softmax(-1)
            expected = laws[range(8), answer.ids.astype(np.int64)]
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert found.mean() < -0.01
    rule = routing.below(routing.chow_average, -1e-9)
    assert routing.cascade(small, tiny_model, tiny_tokenizer, "the cat", rule=rule, params=GREEDY)[1].tolist() == [True]
    assert not routing.cascade(small, tiny_model, tiny_tokenizer, "a", rule=rule, max_new_tokens=0)[1].any()


def test_a_cascade_streams_what_it_returns(
    small: LlamaForCausalLM, tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    heard: dict[int, str] = {}

    def stream(index: int, piece: str) -> None:
        heard[index] = heard.get(index, "") + piece

    texts, wanted = ["the cat", "x", "in the"], iter([False, True, True])
    answers, deferred = routing.cascade(
        small, tiny_model, tiny_tokenizer, texts, rule=lambda _: next(wanted), stream=stream, max_new_tokens=8
    )
    assert deferred.tolist() == [False, True, True]
    assert heard == {at: answer.text for at, answer in enumerate(answers) if answer.text}
    assert len(heard) > 1


def test_what_a_cascade_cannot_take(
    small: LlamaForCausalLM, tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    options: Any = {"rule": lambda _: True, "max_new_tokens": 2}
    with pytest.raises(ArrayError, match="texts as prompts of two tokenizers, found list"):
        routing.cascade(small, tiny_model, tiny_tokenizer, [[1, 2]], large_tokenizer=tiny_tokenizer, **options)
    routing.cascade(small, tiny_model, tiny_tokenizer, "a", large_tokenizer=tiny_tokenizer, **options)
    for particles in ({"particles": 2}, {"method": "smc"}):
        with pytest.raises(UnsupportedFeatureError, match="found particles"):
            routing.cascade(small, tiny_model, tiny_tokenizer, "a", **options, **particles)

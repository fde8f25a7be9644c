"""Cautious trials, soft thoughts, guidance and unmasking against their readable twins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, ParamsError
from tokenloom.reference import multi_step as twin
from tokenloom.torch.guidance import classifier_free, contrastive, follow
from tokenloom.torch.soft_thoughts import THINKING, soft_mixture
from tokenloom.torch.trials import n_trials
from transformers import BertConfig, BertForMaskedLM, LlamaForCausalLM

END = 265
WARMTH = tl.sample.Params(temperature=THINKING.temperature)


@pytest.mark.parametrize("counting", ["paper", "program"])
def test_trials_are_counted_as_published(counting: str) -> None:
    for entropy in np.linspace(0.0, 3.0, 301):
        assert n_trials(entropy, counting=counting) == twin.n_trials(entropy, counting=counting)
    assert [n_trials(h) for h in (0.0, 0.2, 0.5, 1.0, 1.5, 9.0)] == [1, 1, 3, 6, 10, 10]
    assert [n_trials(h, counting="program") for h in (0.0, 0.2, 0.5, 1.0, 1.5, 9.0)] == [1, 2, 3, 6, 10, 10]
    with pytest.raises(ParamsError, match="counting"):
        n_trials(1.0, counting="half")


def fresh_rows(model: Any, n_vocab: int) -> Any:
    lm = tl.torch.LanguageModel(model)
    return lambda text: lm([list(text)])[0, :n_vocab].astype(np.float32)


@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_cautious_text_is_that_of_the_twin(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, temperature: float
) -> None:
    params = tl.sample.Params(temperature=temperature, top_k=20)
    n_vocab = tiny_tokenizer.vocab_size
    rows = fresh_rows(tiny_model, n_vocab)
    prompt = tuple(tiny_tokenizer.encode_list("the cat and"))
    # Many pauses, so that trials of a random model end.
    marks = [*".,\n?!:;)]}", *map(chr, range(ord("B"), ord("z")))]
    spelled = {mark.encode() for mark in marks}
    stops = {token for token in range(END) if tiny_tokenizer.token_bytes(token) in spelled}
    n_batched = 0
    for seed in (1, 2, 3):
        answer = tl.torch.cautious(
            tiny_model,
            tiny_tokenizer,
            "the cat and",
            max_new_tokens=14,
            params=params,
            seed=seed,
            eos=[END],
            pauses=marks,
            n_most=4,
        )
        each = tl.sample.seeds(seed, 4)

        def law(text: tuple[int, ...]) -> list[float]:
            return tl.sample.distribution(rows(text)[None], params)[0].tolist()

        def draw(here: list[float], position: int, trial: int, each: Any = each) -> int:
            with np.errstate(divide="ignore"):
                logits = np.log(np.array(here)).astype(np.float32)[None]
            drawn = tl.sample.sample(logits, tl.sample.Params(), seeds=each[trial : trial + 1], positions=[position])
            return int(drawn.tokens[0])

        expected = twin.cautious(law, draw, prompt, stops, {END}, 14, lambda entropy: twin.n_trials(entropy, n_most=4))
        assert (*prompt, *answer.ids.tolist()) == expected
        assert len(answer.logprobs) == len(answer.ids) <= 14
        n_batched += answer.stats.drafted
    assert n_batched > 0


def test_soft_mixtures_equal_the_twin_and_a_sharp_one_is_a_token(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        logits = (rng.normal(size=200) * rng.choice([1.0, 3.0])).astype(np.float32)
        tokens, weights, entropy = soft_mixture(logits)
        whole = tl.sample.distribution(logits[None], WARMTH)[0].tolist()
        expected = twin.soft_token(whole)
        assert tokens.tolist() == list(expected)
        np.testing.assert_allclose(weights, list(expected.values()), rtol=1e-6)
        assert math.isclose(entropy, twin.entropy(whole), rel_tol=1e-6)
    # A mixture of one token is that token: greedy decoding.
    options: dict[str, Any] = {"max_soft_tokens": 6, "max_new_tokens": 5, "eos": [END]}
    thought = tl.torch.soft_thinking(tiny_model, tiny_tokenizer, "the cat", end_of_thinking=END, n_kept=1, **options)
    plain = tl.torch.generate(
        tiny_model, tiny_tokenizer, "the cat", max_new_tokens=6, params=tl.sample.Params(temperature=0.0), eos=[END]
    )[0].ids.tolist()
    n_shown = len(thought.shown_ids)
    assert thought.shown_ids.tolist() == plain[:n_shown]
    assert thought.stopped_by == ("length" if n_shown == 6 else "token")
    assert len(thought.entropies) == n_shown


@pytest.mark.parametrize("how", ["length", "token", "cold", "eos"])
def test_a_thought_and_its_answer_are_those_of_the_twin(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, how: str
) -> None:
    n_vocab = tiny_tokenizer.vocab_size
    prompt = tiny_tokenizer.encode_list("the cat and")
    table = tiny_model.get_input_embeddings().weight

    def row(path: list[dict[int, float]]) -> Any:
        with torch.inference_mode():
            mixed = [sum(share * table[token] for token, share in mixture.items()) for mixture in path]
            return tiny_model(inputs_embeds=torch.stack(mixed)[None]).logits[0, -1, :n_vocab].numpy()

    def law(path: list[dict[int, float]]) -> list[float]:
        return tl.sample.distribution(row(path)[None], WARMTH)[0].tolist()

    def draw(path: list[dict[int, float]]) -> int:
        seeds = np.array([3], np.uint64)
        return int(tl.sample.sample(row(path)[None], seeds=seeds, positions=[len(path)]).tokens[0])

    free = tl.torch.soft_thinking(
        tiny_model, tiny_tokenizer, prompt, end_of_thinking=END, max_soft_tokens=8, max_new_tokens=0
    )
    assert len(set(free.shown_ids[:-1].tolist())) > 2
    last = int(free.shown_ids[-1])
    options: dict[str, Any] = {"cold_entropy": 100.0, "cold_steps": 5} if how == "cold" else {}
    end_of_thinking, ends = (last if how == "token" else END), ([last] if how == "eos" else [END + 1])
    found = tl.torch.soft_thinking(
        tiny_model,
        tiny_tokenizer,
        prompt,
        end_of_thinking=end_of_thinking,
        eos=ends,
        max_soft_tokens=8,
        max_new_tokens=6,
        seed=3,
        **options,
    )
    expected = twin.soft_thinking(law, draw, prompt, end_of_thinking, ends, 8, 6, **options)
    assert (found.shown_ids.tolist(), found.ids.tolist()) == expected
    assert found.stopped_by == how
    assert (len(found.ids) == 0) == (how == "eos")


def test_a_certain_thought_is_closed(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    options: dict[str, Any] = {"end_of_thinking": END, "max_soft_tokens": 12, "max_new_tokens": 2}
    cold = tl.torch.soft_thinking(tiny_model, tiny_tokenizer, "the cat", cold_entropy=100.0, cold_steps=3, **options)
    assert (cold.stopped_by, len(cold.shown_ids)) == ("cold", 2)
    never = tl.torch.soft_thinking(tiny_model, tiny_tokenizer, "the cat", cold_entropy=0.0, **options)
    assert never.stopped_by in ("length", "token")
    assert THINKING.top_k == 30


def test_guided_laws_equal_the_twin() -> None:
    rng = np.random.default_rng(2)
    first, second = np.log(rng.dirichlet(np.ones(9), (2, 3)))
    first[0, 2] = second[1, 4] = -np.inf
    for scale in (0.0, 1.0, 2.5):
        found = np.exp(classifier_free(scale)(first, second))
        np.testing.assert_allclose(found, [twin.guided(a, b, scale) for a, b in zip(first, second, strict=True)])
    for alpha, beta in ((0.1, 0.5), (0.5, 2.0)):
        found = np.exp(contrastive(alpha, beta)(first, second))
        expected = [twin.contrastive(a, b, alpha, beta) for a, b in zip(first, second, strict=True)]
        np.testing.assert_allclose(found, expected)
    with pytest.raises(ParamsError):
        contrastive(alpha=0.0)


def test_guidance_of_scale_one_is_the_model(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    """Scale 1 forgets the other prompt; and guided readers take constraints and particles."""
    n_vocab = tiny_tokenizer.vocab_size
    prompt, other = tiny_tokenizer.encode_list("the cat and"), tiny_tokenizer.encode_list("on")

    def guided(scale: float) -> Any:
        readers = [tl.torch.CachedReader(tiny_model, n_vocab) for _ in range(2)]
        return tl.torch.Guided(*readers, classifier_free(scale), second_prompt=other)

    plain = tl.torch.generate(tiny_model, tiny_tokenizer, [prompt], max_new_tokens=8, seed=5, eos=[END])[0]
    found = follow(guided(1.0), prompt, max_new_tokens=8, seed=5, eos=[END])
    assert found.tolist() == plain.ids.tolist()
    assert follow(guided(3.0), prompt, max_new_tokens=8, seed=5, eos=[END]).tolist() != found.tolist()
    options = {"max_new_tokens": 8, "seed": 5, "params": tl.sample.Params(frequency_penalty=3.0)}
    plain = tl.torch.generate(tiny_model, tiny_tokenizer, [prompt], eos=[END], **options)[0]
    assert follow(guided(1.0), prompt, eos=[END], **options).tolist() == plain.ids.tolist()
    with pytest.raises(ArrayError, match="max_new_tokens as an integer of at least 0, found -1"):
        follow(guided(1.0), prompt, max_new_tokens=-1)
    constraint = tl.control.regex("[a-f]{3}", tiny_tokenizer)
    run = tl.control.Smc(particles=4).run(guided(2.0), constraint, prompt, max_new_tokens=4, eos=[END])
    assert all(len(text) == 3 for text, weight in zip(run.texts, run.weights, strict=True) if weight)


@pytest.mark.parametrize("order", ["left", "confidence", "margin", "entropy"])
def test_unmasking_fills_in_the_order_of_the_twin(order: str) -> None:
    torch.manual_seed(1)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model = BertForMaskedLM(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    ids = [5, 3, 3, 8, 3, 3, 3, 9, 3, 3]

    def laws(found: list[int]) -> list[list[float]]:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([found])).logits[0]
            logits[:, 3] = -math.inf
            return torch.softmax(logits, -1).tolist()

    for block, n_together in ((None, 1), (4, 1), (4, 2), (None, 3)):
        found = tl.torch.unmask(model, ids, 3, order=order, block=block, n_together=n_together)
        assert found.tolist() == twin.unmask(laws, ids, 3, order, block, n_together)
        assert 3 not in found
    with pytest.raises(ParamsError):
        tl.torch.unmask(model, ids, 3, order="random")


@pytest.mark.parametrize("order", ["confidence", "margin", "entropy"])
def test_insertion_opens_the_gap_of_the_twin(order: str) -> None:
    torch.manual_seed(2)
    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model = BertForMaskedLM(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)

    def laws(found: list[int]) -> list[list[float]]:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([found])).logits[0]
            logits[:, 3] = -math.inf
            return torch.softmax(logits, -1).tolist()

    ids = [5, 8, 9]
    for first in (0, 2, 3):
        found = tl.torch.insert(model, ids, 3, 5, first=first, order=order).tolist()
        assert found == twin.insert(laws, ids, 3, 5, first, order)
        assert found[:first] == ids[:first]
        assert len(found) == 8
        assert 3 not in found
    assert tl.torch.insert(model, ids, 3, 5, at_least=2.0).tolist() == ids
    assert tl.torch.insert(model, [], 3, 2).tolist() == twin.insert(laws, [], 3, 2, 0, "confidence")
    warm = [
        tl.torch.insert(model, ids, 3, 6, params=tl.sample.Params(temperature=2.0), seed=s).tolist() for s in (1, 1, 2)
    ]
    assert warm[0] == warm[1] != warm[2]
    for bad in ({"order": "left"}, {"first": 4}, {"n_new": -1}):
        with pytest.raises(ParamsError, match="a gap up to 3"):
            tl.torch.insert(model, ids, 3, **{"n_new": 2, **bad})  # type: ignore[arg-type]

"""transformers' ``generate`` with our loop and with our candidates says what it says alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from transformers import LlamaForCausalLM

TEXTS = ["the cat and the dog and the cat and the", "a", "in the beginning there was the word, the word"]
GREEDY = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def padded(tokenizer: tl.Tokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    ids = [tokenizer.encode_list(text) for text in texts]
    width = max(map(len, ids))
    return {
        "input_ids": torch.tensor([[0] * (width - len(row)) + row for row in ids]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids]),
    }


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS], ids=["one", "batch"])
def test_greedy_equals_plain(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, texts: list[str], cache: str | None
) -> None:
    inputs = padded(tiny_tokenizer, texts)
    rules: Any = GREEDY | {"repetition_penalty": 1.1, "no_repeat_ngram_size": 3}
    plain = tiny_model.generate(**inputs, **rules)
    ours = tl.torch.custom_generate(drafter=tl.draft.Suffix())
    found = tiny_model.generate(**inputs, **rules, custom_generate=ours, cache_implementation=cache)
    assert torch.equal(found, plain)


def test_end_tokens_and_stop_strings_end_texts(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    inputs = padded(tiny_tokenizer, TEXTS)
    plain = tiny_model.generate(**inputs, **GREEDY)
    n_prompt = inputs["input_ids"].shape[1]
    ends = [int(plain[0, n_prompt + 4]), int(plain[2, n_prompt + 9])]
    rules: Any = GREEDY | {"eos_token_id": ends}
    ours = tl.torch.custom_generate(drafter=tl.draft.Suffix())
    expected = tiny_model.generate(**inputs, **rules)
    assert torch.equal(tiny_model.generate(**inputs, **rules, custom_generate=ours), expected)
    found = tiny_model.generate(**inputs, **rules, custom_generate=ours, return_dict_in_generate=True)
    assert torch.equal(found.sequences, expected)

    class AtToken:
        def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            return torch.tensor([int(row[-1]) == int(plain[0, n_prompt + 6]) for row in ids])

    one = padded(tiny_tokenizer, TEXTS[:1])
    (cut,) = tiny_model.generate(**one, **GREEDY, custom_generate=ours, stopping_criteria=[AtToken()])
    first = plain[0, n_prompt:].tolist().index(int(plain[0, n_prompt + 6]))
    assert cut.tolist()[one["input_ids"].shape[1] :] == plain[0, n_prompt : n_prompt + first + 1].tolist()


def test_each_row_hears_its_own_answer_of_a_criterion(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    inputs = padded(tiny_tokenizer, TEXTS[:2])
    n_prompt = inputs["input_ids"].shape[1]
    # transformers leaves a row alone when it has ended only where there is an end token.
    rules: Any = GREEDY | {"eos_token_id": 271}
    answers: list[Any] = [
        lambda n: torch.tensor([n >= n_prompt + 9, n >= n_prompt + 4]),
        lambda n: torch.tensor([n >= n_prompt + 3]),
        lambda n: torch.tensor(n >= n_prompt + 3),
        lambda n: n >= n_prompt + 3,
    ]
    for answer, lengths in zip(answers, [(9, 4), (3, 3), (3, 3), (3, 3)], strict=True):
        criteria = [lambda ids, _scores, answer=answer, **_: answer(ids.shape[1])]
        plain = tiny_model.generate(**inputs, **rules, stopping_criteria=criteria)
        ours = tl.torch.custom_generate(drafter=tl.draft.Suffix())
        found = tiny_model.generate(**inputs, **rules, stopping_criteria=criteria, custom_generate=ours)
        assert torch.equal(found, plain)
        assert found.shape[1] == n_prompt + max(lengths)
        assert not found[1, n_prompt + lengths[1] :].any()


def test_sampling_is_a_function_of_the_seed(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    rules: Any = GREEDY | {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}
    ours = [tl.torch.custom_generate(seed=7), tl.torch.custom_generate(seed=7, drafter=tl.draft.Suffix())]
    plain, drafted = (tiny_model.generate(**inputs, **rules, custom_generate=one) for one in ours)
    assert torch.equal(drafted, plain)
    params = tl.sample.Params(temperature=0.8, top_p=0.95)
    (direct,) = tl.torch.generate(
        tiny_model, tiny_tokenizer, TEXTS[0], params=params, seed=7, max_new_tokens=24, eos=()
    )
    n_prompt = inputs["input_ids"].shape[1]
    # The tokenizer has fewer tokens than the model has logits; our loop alone knows that.
    if max(plain[0, n_prompt:].tolist()) < tiny_tokenizer.vocab_size:
        assert plain[0, n_prompt:].tolist() == direct.ids.tolist()
    two = tiny_model.generate(**inputs, **rules, custom_generate=ours[0], num_return_sequences=2)
    assert torch.equal(two[0], plain[0])
    assert not torch.equal(two[1], plain[0])
    free = tl.torch.custom_generate()
    torch.manual_seed(3)
    first = tiny_model.generate(**inputs, **rules, custom_generate=free)
    torch.manual_seed(3)
    assert torch.equal(tiny_model.generate(**inputs, **rules, custom_generate=free), first)


def test_constraints_hold(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    constraint = tl.control.regex("(the [a-f]{2}, ){3}and on", tiny_tokenizer)
    ours = tl.torch.custom_generate(drafter=tl.draft.Suffix(), constraint=constraint, seed=1)
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    rules: Any = GREEDY | {"do_sample": True, "max_new_tokens": 60, "eos_token_id": 265}
    found = tiny_model.generate(**inputs, **rules, custom_generate=ours)[0, inputs["input_ids"].shape[1] :].tolist()
    text = tiny_tokenizer.decode([token for token in found if token != 265])
    assert re.fullmatch("(the [a-f]{2}, ){3}and on", text)


def test_a_streamer_hears_every_token(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    class Streamer:
        def __init__(self) -> None:
            self.heard: list[int] = []
            self.ended = False

        def put(self, ids: torch.Tensor) -> None:
            self.heard += ids.flatten().tolist()

        def end(self) -> None:
            self.ended = True

    streamer = Streamer()
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    plain = tiny_model.generate(**inputs, **GREEDY)
    end = int(plain[0, inputs["input_ids"].shape[1] + 7])
    rules: Any = GREEDY | {"eos_token_id": end}
    ours = tl.torch.custom_generate(drafter=tl.draft.Suffix(), streamer=streamer)
    found = tiny_model.generate(**inputs, **rules, custom_generate=ours)
    assert streamer.heard == found[0, inputs["input_ids"].shape[1] :].tolist()
    assert streamer.heard[-1] == end
    assert streamer.ended


@pytest.mark.parametrize("name", ["method", "forced", "draft_shape"])
def test_unknown_words_are_refused(name: str) -> None:
    options: Any = {name: "guess"}
    with pytest.raises(ArrayError, match=f"expected {name} .*, found 'guess'"):
        tl.torch.custom_generate(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 2}, "num_beams=2"),
        ({"return_dict_in_generate": True, "output_scores": True}, "output_scores"),
    ],
)
def test_what_the_loop_cannot_do_is_refused(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, options: Any, message: str
) -> None:
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    with pytest.raises(UnsupportedFeatureError, match=message):
        tiny_model.generate(**inputs, **(GREEDY | options), custom_generate=tl.torch.custom_generate())


def test_a_filled_cache_is_refused(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    with torch.inference_mode():
        cache = tiny_model(inputs["input_ids"][:, :3], use_cache=True).past_key_values
    with pytest.raises(UnsupportedFeatureError, match="with 3 tokens"):
        tiny_model.generate(**inputs, **GREEDY, past_key_values=cache, custom_generate=tl.torch.custom_generate())


def test_candidates_for_assisted_generation(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    drafter = tl.draft.Suffix()
    calls: list[int] = []
    hook = tiny_model.register_forward_pre_hook(lambda *_: calls.append(1))
    for text in TEXTS[:2]:
        inputs = padded(tiny_tokenizer, [text])
        plain = tiny_model.generate(**inputs, **GREEDY)
        n_plain = len(calls)
        with tl.torch.assisted(tiny_model, drafter):
            assert torch.equal(tiny_model.generate(**inputs, **GREEDY), plain)
            assert torch.equal(tiny_model.generate(**inputs, **GREEDY), plain), "the text is known from the first call"
        assert len(calls) - n_plain < 2 * n_plain
        assert torch.equal(tiny_model.generate(**inputs, **GREEDY), plain)
        calls.clear()
    hook.remove()
    assert tiny_model.generation_config.prompt_lookup_num_tokens is None
    assert drafter.n_tokens > 0, "streams were ended"


def test_a_nested_assisted_leaves_the_model_as_it_was(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    inputs = padded(tiny_tokenizer, TEXTS[:1])
    plain = tiny_model.generate(**inputs, **GREEDY)
    outer, inner = tl.draft.Suffix(), tl.draft.Suffix()
    with tl.torch.assisted(tiny_model, outer, budget=4):
        with tl.torch.assisted(tiny_model, inner, budget=6):
            assert torch.equal(tiny_model.generate(**inputs, **GREEDY), plain)
        assert tiny_model.generation_config.prompt_lookup_num_tokens == 4
        assert outer.n_tokens == 0 < inner.n_tokens
        assert torch.equal(tiny_model.generate(**inputs, **GREEDY), plain)
    assert outer.n_tokens > 0
    assert tiny_model.generation_config.prompt_lookup_num_tokens is None
    assert "_get_candidate_generator" not in vars(tiny_model)


def test_a_candidate_generator_starts_over_with_another_text() -> None:
    generator = tl.torch.CandidateGenerator(tl.draft.Suffix(), budget=4, max_length=12)
    text = torch.tensor([[1, 2, 3, 4, 5, 1, 2]])
    (found,) = generator.get_candidates(text)[0].tolist()
    assert found[:9] == [1, 2, 3, 4, 5, 1, 2, 3, 4]
    assert len(found) <= 11
    assert generator.get_candidates(torch.tensor([[9, 8]]))[0].tolist() == [[9, 8]]
    assert generator.get_candidates(torch.tensor([[9, 8, 9]]))[0].tolist()[0][:5] == [9, 8, 9, 8, 9]
    full = torch.tensor([[9, 8, 9, 8, 9, 8, 9, 8, 9, 8, 9]])
    assert generator.get_candidates(full)[0].tolist() == full.tolist()

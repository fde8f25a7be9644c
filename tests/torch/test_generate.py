"""The loop draws what the model says: nothing but time depends on drafts, batches and order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from transformers import LlamaForCausalLM

PROMPTS = [
    "the cat and the dog and the cat and the",
    "a",
    "in the beginning there was the word, and the word was not long\n",
    "naïve 自然 the the the the",
]
SAMPLED = tl.sample.Params(temperature=0.8, top_p=0.95)


def ids_of(generations: list[Any]) -> list[list[int]]:
    return [generation.ids.tolist() for generation in generations]


def run(model: Any, tokenizer: Any, prompts: Any = PROMPTS, **options: Any) -> list[Any]:
    return tl.torch.generate(model, tokenizer, prompts, **({"max_new_tokens": 40, "eos": ()} | options))


def test_greedy_equals_transformers(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    found = run(tiny_model, tiny_tokenizer, params=tl.sample.Params(temperature=0.0))
    for prompt, generation in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([tiny_tokenizer.encode_list(prompt)])
        expected = tiny_model.generate(
            ids, max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0, suppress_tokens=range(266, 272)
        )
        assert generation.ids.tolist() == expected[0, ids.shape[1] :].tolist()
        assert generation.stats.model_calls == generation.stats.n_tokens == 40
        assert generation.finish_reason == "length"


@pytest.mark.parametrize("drafter", [None, tl.draft.Suffix()], ids=["plain", "drafts"])
def test_rules_that_look_at_the_text_equal_transformers(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, drafter: Any
) -> None:
    rules = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    found = run(tiny_model, tiny_tokenizer, params=tl.sample.Params(temperature=0.0, **rules), drafter=drafter)
    for prompt, generation in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([tiny_tokenizer.encode_list(prompt)])
        options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "suppress_tokens": range(266, 272)}
        expected = tiny_model.generate(ids, max_new_tokens=40, **options, **rules)
        assert generation.ids.tolist() == expected[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("params", [tl.sample.Params(temperature=0.0), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_drafts_and_batches_change_nothing(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, params: tl.sample.Params, batch_size: int
) -> None:
    plain = run(tiny_model, tiny_tokenizer, params=params, seed=5, batch_size=1)
    drafted = run(tiny_model, tiny_tokenizer, params=params, seed=5, drafter=tl.draft.Suffix(), batch_size=batch_size)
    assert ids_of(drafted) == ids_of(plain)
    for one, two in zip(plain, drafted, strict=True):
        np.testing.assert_allclose(two.logprobs, one.logprobs, atol=1e-5)
        assert two.stats.model_calls == two.stats.n_tokens - two.stats.accepted
    if params.temperature == 0:
        assert sum(answer.stats.accepted for answer in drafted) > 0


class Parrot:
    """A drafter that knows the answer, and lies in every fifth place."""

    def __init__(self, answer: list[int], n_prompt: int) -> None:
        self.answer, self.n_done, self.n_prompt, self.ended = answer, 0, n_prompt, False

    def begin(self, prompt_ids: Any) -> Parrot:
        assert len(prompt_ids) == self.n_prompt
        return self

    def propose(self, budget: int) -> Any:
        ahead = self.answer[self.n_done : self.n_done + budget]
        lies = [(token + 1) % 265 if (self.n_done + j) % 5 == 4 else token for j, token in enumerate(ahead)]
        parents = np.arange(-1, len(lies) - 1, dtype=np.int32)
        return type("Tree", (), {"tokens": np.array(lies, dtype=np.int32), "parents": parents})()

    def commit(self, ids: Any) -> None:
        assert list(ids) == self.answer[self.n_done : self.n_done + len(ids)]
        self.n_done += len(ids)

    def end(self) -> None:
        self.ended = True


def test_a_step_keeps_the_chain_up_to_the_first_lie(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    (plain,) = run(tiny_model, tiny_tokenizer, PROMPTS[0], params=SAMPLED)
    parrot = Parrot(plain.ids.tolist(), len(tiny_tokenizer.encode_list(PROMPTS[0])))
    (drafted,) = run(tiny_model, tiny_tokenizer, PROMPTS[0], params=SAMPLED, drafter=parrot)
    assert drafted.ids.tolist() == plain.ids.tolist()
    # Four true drafts and the token that corrects the lie: five a call, until the last call has less to add.
    assert drafted.stats.model_calls == 8
    assert drafted.stats.accepted == 32
    assert parrot.ended


def test_order_of_prompts_changes_nothing(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    forward = run(tiny_model, tiny_tokenizer, params=SAMPLED, seed=[3, 4, 5, 6])
    backward = run(tiny_model, tiny_tokenizer, PROMPTS[::-1], params=SAMPLED, seed=[6, 5, 4, 3], batch_size=3)
    assert ids_of(forward) == ids_of(backward)[::-1]
    assert ids_of(run(tiny_model, tiny_tokenizer, params=SAMPLED, seed=[4, 4, 5, 6]))[0] != ids_of(forward)[0]


def test_one_set_of_rules_each(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    greedy = tl.sample.Params(temperature=0.0)
    mixed = run(tiny_model, tiny_tokenizer, params=[SAMPLED, greedy, SAMPLED, greedy], seed=9)
    all_sampled = run(tiny_model, tiny_tokenizer, params=SAMPLED, seed=9)
    all_greedy = run(tiny_model, tiny_tokenizer, params=greedy)
    expected = [all_sampled[0], all_greedy[1], all_sampled[2], all_greedy[3]]
    assert ids_of(mixed) == ids_of(expected)


def test_ids_are_prompts_too(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    ids = [tiny_tokenizer.encode(prompt) for prompt in PROMPTS]
    assert ids_of(run(tiny_model, tiny_tokenizer, ids)) == ids_of(run(tiny_model, tiny_tokenizer))


@pytest.mark.parametrize("drafter", [None, tl.draft.Suffix()], ids=["plain", "drafted"])
def test_text_ends_at_stop_strings_and_end_tokens(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, drafter: Any
) -> None:
    whole = run(tiny_model, tiny_tokenizer, params=SAMPLED)
    for index, answer in enumerate(whole):
        stop = answer.text[17:20]
        pieces: list[str] = []
        (cut,) = run(
            tiny_model,
            tiny_tokenizer,
            PROMPTS[index],
            params=SAMPLED,
            stop=stop,
            drafter=drafter,
            stream=lambda _, piece, pieces=pieces: pieces.append(piece),
        )
        assert cut.finish_reason == "stop"
        assert cut.text == "".join(pieces) == answer.text[: answer.text.index(stop)]
        end = int(answer.ids[12])
        (ended,) = run(tiny_model, tiny_tokenizer, PROMPTS[index], params=SAMPLED, eos=end, drafter=drafter)
        n = answer.ids.tolist().index(end) + 1
        assert ended.finish_reason == "eos"
        assert ended.ids.tolist() == answer.ids.tolist()[:n]
        assert ended.text == tiny_tokenizer.decode(answer.ids[: n - 1])


def test_no_token_wanted_none_drawn(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    (answer,) = run(tiny_model, tiny_tokenizer, "the", max_new_tokens=0)
    assert answer.text == ""
    assert answer.ids.size == 0
    assert answer.stats.model_calls == 0


def test_no_prompts_no_answers(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    assert run(tiny_model, tiny_tokenizer, []) == []

"""Particles over a key-value cache: the same as over a function, and properly weighted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, ParamsError, UnsupportedFeatureError
from transformers import LlamaForCausalLM

END = 265


def no_vowel(prefix: bytes) -> bool:
    return not set(prefix) & set(b"aeiou")


@pytest.mark.parametrize("params", [tl.sample.Params(), tl.sample.Params(presence_penalty=3.0, order="vllm")], ids=str)
def test_a_cache_of_rows_says_what_fresh_contexts_say(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, params: tl.sample.Params
) -> None:
    constraint = tl.control.predicate(no_vowel, tiny_tokenizer)
    prompt = tiny_tokenizer.encode_list("the cat and")
    smc = tl.control.Smc(particles=6, ess=1.0)
    reader = tl.torch.CachedReader(tiny_model, tiny_tokenizer.vocab_size, params)
    lm = tl.torch.LanguageModel(tiny_model)

    def fresh(contexts: list[list[int]]) -> np.ndarray:
        rows = lm(contexts)[:, : tiny_tokenizer.vocab_size]
        return np.log(tl.sample.distribution(rows, params, history=contexts, prompt_lengths=len(prompt)))

    for seed in (1, 2):
        options: dict[str, Any] = {"max_new_tokens": 8, "eos": [END], "seed": seed, "limit": "cut"}
        cached, plain = smc.run(reader, constraint, prompt, **options), smc.run(fresh, constraint, prompt, **options)
        assert [ids.tolist() for ids in cached.ids] == [ids.tolist() for ids in plain.ids]
        np.testing.assert_allclose(cached.log_weights, plain.log_weights, atol=1e-5)
        assert cached.n_resampled > 0


@pytest.mark.parametrize("method", ["smc", "awrs", "mask"])
def test_generate_returns_weighted_texts(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, method: str
) -> None:
    pattern = "[b-d]{0,2}"
    constraint = tl.control.regex(pattern, tiny_tokenizer)
    options: dict[str, Any] = {"constraint": constraint, "method": method, "max_new_tokens": 3, "particles": 5}
    found = tl.torch.generate(tiny_model, tiny_tokenizer, ["the cat", "b"], seed=[3, 4], **options)
    assert len(found) == 10
    again = tl.torch.generate(tiny_model, tiny_tokenizer, "b", seed=4, **options)
    assert [one.ids.tolist() for one in again] == [one.ids.tolist() for one in found[5:]]
    for one in found:
        assert one.finish_reason in ("eos", "constraint")
        assert (one.finish_reason == "eos") == (one.log_weight > -math.inf)
        assert set(one.text) <= set("bcd")
    assert tl.control.log_mean([one.log_weight for one in found[:5]]) < 0


def test_the_marginal_is_the_mass_of_all_allowed_texts(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    """One letter and the end: small enough to add up."""
    lm = tl.torch.LanguageModel(tiny_model)
    prompt = tiny_tokenizer.encode_list("the cat")
    letters = [tiny_tokenizer.encode_list(letter)[0] for letter in "bcd"]

    def law(context: list[int]) -> np.ndarray:
        row = lm([context])[0, : tiny_tokenizer.vocab_size]
        return np.exp(row - np.logaddexp.reduce(row))

    mass = sum(law(prompt)[letter] * law([*prompt, letter])[END] for letter in letters)
    constraint = tl.control.regex("[bcd]", tiny_tokenizer)
    found = tl.torch.generate(
        tiny_model,
        tiny_tokenizer,
        "the cat",
        constraint=constraint,
        particles=tl.control.Smc(particles=300, ess=0.0, method="mask"),
        max_new_tokens=2,
    )
    weights = np.exp([one.log_weight for one in found])
    assert abs(weights.mean() - mass) < 6 * weights.std() / math.sqrt(len(weights)) + 1e-9


def test_stop_strings_end_particles_and_streams_are_final(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    constraint = tl.control.regex("[b-d]*", tiny_tokenizer)
    streamed: dict[int, str] = {}

    def stream(index: int, piece: str) -> None:
        streamed[index] = streamed.get(index, "") + piece

    options: dict[str, Any] = {"constraint": constraint, "method": "smc", "max_new_tokens": 6, "particles": 12}
    found = tl.torch.generate(
        tiny_model, tiny_tokenizer, ["the cat", "b"], stop=["cd", "bb"], stream=stream, seed=2, **options
    )
    reasons = [one.finish_reason for one in found]
    assert "stop" in reasons
    for index, one in enumerate(found):
        written = tiny_tokenizer.decode([token for token in one.ids.tolist() if token != END])
        assert streamed.get(index, "") == one.text
        if one.finish_reason == "stop":
            assert one.log_weight > -math.inf
            cut = min(at for at in (written.find("cd"), written.find("bb")) if at >= 0)
            assert one.text == written[:cut]
            # The string was found with the token that completed it.
            before = tiny_tokenizer.decode(one.ids[:-1].tolist())
            assert "cd" not in before
            assert "bb" not in before
        else:
            assert one.text == written
            assert "cd" not in written
            assert "bb" not in written


def test_a_critic_steers_particles(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    constraint = tl.control.regex("[b-d]{0,3}", tiny_tokenizer)
    options: dict[str, Any] = {
        "constraint": constraint,
        "method": "smc",
        "particles": 40,
        "max_new_tokens": 4,
        "seed": 3,
    }
    plain = tl.torch.generate(tiny_model, tiny_tokenizer, "the cat", **options)
    steered = tl.torch.generate(
        tiny_model, tiny_tokenizer, "the cat", critic=lambda text, is_complete: 12.0 * text.count(b"d"), **options
    )

    def mean_count(found: list[Any]) -> float:
        weights = np.exp([one.log_weight for one in found])
        return float((weights * [one.text.count("d") for one in found]).sum() / weights.sum())

    assert mean_count(steered) > mean_count(plain) + 0.5
    with pytest.raises(UnsupportedFeatureError, match="expected particles for a critic"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "b", critic=lambda text, is_complete: 0.0)


def test_what_particles_do_not_do(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    constraint = tl.control.regex("b*", tiny_tokenizer)
    for options in ({"drafter": tl.draft.Suffix()}, {"heal": True, "constraint": None}):
        with pytest.raises(UnsupportedFeatureError, match="particles without"):
            tl.torch.generate(tiny_model, tiny_tokenizer, "b", **{"constraint": constraint, "method": "smc", **options})
    with pytest.raises(ArrayError, match="expected a constraint"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "b", method="smc")
    with pytest.raises(ArrayError, match="method of several particles"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "b", constraint=constraint, method="check", particles=2)
    with pytest.raises(ParamsError):
        tl.torch.generate(tiny_model, tiny_tokenizer, "b", constraint=constraint, method="smc", particles=0)


def test_transformers_gets_particles_as_its_sequences(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer
) -> None:
    constraint = tl.control.regex("[b-d]{0,2}", tiny_tokenizer)
    run = tl.torch.custom_generate(constraint=constraint, method="smc", seed=4)
    ids = torch.tensor([tiny_tokenizer.encode_list("the cat")])
    options: dict[str, Any] = {"max_new_tokens": 3, "do_sample": True, "top_k": 0, "num_return_sequences": 5}
    options |= {"pad_token_id": 0, "return_dict_in_generate": True}
    found = tiny_model.generate(ids, custom_generate=run, **options)
    plain = tl.torch.generate(
        tiny_model,
        tiny_tokenizer,
        [ids[0].tolist()],
        constraint=constraint,
        method="smc",
        particles=5,
        seed=4,
        max_new_tokens=3,
    )
    for row, one in zip(found.sequences.tolist(), plain, strict=True):
        new = row[ids.shape[1] :]
        assert new[: len(one.ids)] == one.ids.tolist()
        assert not any(new[len(one.ids) :])
    # Its laws reach over the logits behind the last token as well.
    np.testing.assert_allclose(found.log_weights.numpy(), [one.log_weight for one in plain], atol=0.05)

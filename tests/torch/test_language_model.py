"""The function that the byte room asks for says what the model says, whatever it was asked before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError
from tokenloom.torch import LanguageModel
from transformers import LlamaForCausalLM


@pytest.fixture
def n_tokens(tiny_model: LlamaForCausalLM) -> Iterator[list[int]]:
    """How many tokens each forward pass has read."""
    found: list[int] = []

    def count(module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        found.append(keywords["input_ids"].numel())

    hook = tiny_model.register_forward_pre_hook(count, with_kwargs=True)
    yield found
    hook.remove()


def test_a_text_is_scored_in_one_pass_that_reads_each_token_once(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, n_tokens: list[int]
) -> None:
    lm = LanguageModel(tiny_model, beginning=[tiny_model.config.bos_token_id])
    text = b"the cat and the do"
    found = tl.bytelevel.ByteModel(lm, tiny_tokenizer).score(text)
    assert len(n_tokens) == 1
    # The beginning of the sequence, the text, and what else covers its end.
    assert n_tokens[0] <= 1 + len(tiny_tokenizer.encode(text)) + 2
    one_by_one = tl.bytelevel.ByteModel(
        lambda contexts: np.concatenate([lm([one]) for one in contexts]), tiny_tokenizer
    )
    assert found == pytest.approx(one_by_one.score(text), abs=1e-9)


def test_a_prompt_is_healed_in_one_pass(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, n_tokens: list[int]
) -> None:
    healed = tl.bytelevel.ByteModel(tiny_model, tiny_tokenizer).heal(b"and the cat and th")
    assert len(healed.tokens) > 1
    assert len(n_tokens) == 1
    plain = tl.torch.generate(tiny_model, tiny_tokenizer, "and the cat and th", max_new_tokens=1)
    n_plain = len(n_tokens) - 1
    tl.torch.generate(tiny_model, tiny_tokenizer, "and the cat and th", max_new_tokens=1, heal=True)
    assert len(n_tokens) - 1 - n_plain == n_plain + 1
    assert len(plain) == 1


def test_bytes_read_one_new_token_each(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, n_tokens: list[int]
) -> None:
    state = tl.bytelevel.ByteModel(tiny_model, tiny_tokenizer).start(b"the cat and the do" * 8)
    state.next_byte()
    del n_tokens[:]
    for byte in b"gs and the":
        state.push(byte)
        state.next_byte()
    assert len(n_tokens) <= 10
    assert max(n_tokens) <= 6


@pytest.mark.parametrize("reads_trees", [True, False])
def test_each_context_as_if_alone(
    tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, reads_trees: bool
) -> None:
    monkeypatch.setattr("tokenloom.torch.language_model.can_read_trees", lambda model: reads_trees)
    rng, lm = random.Random(2), LanguageModel(tiny_model)
    text: list[int] = []
    for _ in range(30):
        keep = rng.randrange(len(text) + 1)
        text = [*text[:keep], *(rng.randrange(272) for _ in range(rng.randrange(1, 6)))]
        contexts = [[*text, *(rng.randrange(272) for _ in range(rng.randrange(4)))] for _ in range(rng.randrange(1, 5))]
        found = lm(contexts)
        assert found.dtype == np.float64
        for context, row in zip(contexts, found, strict=True):
            with torch.inference_mode():
                alone = tiny_model(torch.tensor([context])).logits[0, -1].log_softmax(-1).numpy()
            np.testing.assert_allclose(row, alone, atol=1e-5)  # the model's own rounding


def test_an_empty_context_is_the_beginning(tiny_model: LlamaForCausalLM) -> None:
    lm = LanguageModel(tiny_model)
    np.testing.assert_allclose(lm([[]]), lm([[tiny_model.config.bos_token_id]]))
    assert lm([]).shape[0] == 0
    config_bos = tiny_model.config.bos_token_id
    tiny_model.config.bos_token_id = None
    try:
        with pytest.raises(ArrayError, match="beginning-of-sequence"):
            LanguageModel(tiny_model)([[]])
    finally:
        tiny_model.config.bos_token_id = config_bos

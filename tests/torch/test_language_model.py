"""The function that the byte room asks for says what the model says, whatever it was asked before."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tokenloom.errors import ArrayError
from tokenloom.torch import LanguageModel
from transformers import LlamaForCausalLM


def test_each_context_as_if_alone(tiny_model: LlamaForCausalLM) -> None:
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
            np.testing.assert_allclose(row, alone, atol=1e-5)


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

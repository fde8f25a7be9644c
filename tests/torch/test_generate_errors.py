"""Bad input and a broken model end in an error that says which prompt and which step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, DistributionError, LimitError, UnknownTokenError, UnsupportedFeatureError
from transformers import LlamaForCausalLM, T5Config, T5ForConditionalGeneration


class Broken(torch.nn.Module):
    """A head whose logits are not numbers once a token has been read."""

    def __init__(self, head: Any, token: int) -> None:
        super().__init__()
        self.head, self.token = head, token

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = self.head(hidden)
        best = logits[..., :265].argmax(-1, keepdim=True)
        return torch.where(best == self.token, torch.nan, logits)


def test_logits_that_are_no_numbers(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    (plain,) = tl.torch.generate(tiny_model, tiny_tokenizer, "the cat", max_new_tokens=20, eos=())
    token = int(plain.ids[9])
    step = plain.ids.tolist().index(token)
    head = tiny_model.lm_head
    tiny_model.lm_head = Broken(head, token)
    try:
        for drafter in (None, tl.draft.Suffix()):
            with pytest.raises(DistributionError, match=rf"found nan at token 0 \(prompt 0, step {step}\)") as caught:
                tl.torch.generate(tiny_model, tiny_tokenizer, "the cat", max_new_tokens=20, eos=(), drafter=drafter)
            assert caught.value.row == 0
    finally:
        tiny_model.lm_head = head


def test_prompts_that_cannot_be_read(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    with pytest.raises(ArrayError, match="empty prompt at index 1"):
        tl.torch.generate(tiny_model, tiny_tokenizer, ["a", ""])
    with pytest.raises(UnknownTokenError, match="below 272, found 272 in prompt 0"):
        tl.torch.generate(tiny_model, tiny_tokenizer, [[1, 272]])
    with pytest.raises(UnknownTokenError, match="found -1"):
        tl.torch.generate(tiny_model, tiny_tokenizer, [np.array([-1])])
    with pytest.raises(LimitError, match="at most 512 positions, found 1 \\+ 512"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "a", max_new_tokens=512)


def test_options_that_make_no_sense(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    with pytest.raises(ArrayError, match="expected method"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "a", method="guess")
    with pytest.raises(ArrayError, match="one of seed for each of 1 prompts, found 2"):
        tl.torch.generate(tiny_model, tiny_tokenizer, "a", seed=[1, 2])
    for value in (-1, 2.5, "3", None):
        with pytest.raises(ArrayError, match=f"max_new_tokens as an integer of at least 0, found {value!r}"):
            tl.torch.generate(tiny_model, tiny_tokenizer, "a", max_new_tokens=value)
        with pytest.raises(ArrayError, match="max_new_tokens as an integer of at least 0"):
            tl.torch.routing.route(
                tiny_model, tiny_model, tiny_tokenizer, "a", rule=lambda _: True, max_new_tokens=value
            )
    for value in (0, -1, 1.5):
        with pytest.raises(ArrayError, match=f"batch_size as an integer of at least 1, found {value!r}"):
            tl.torch.generate(tiny_model, tiny_tokenizer, "a", batch_size=value)
    (answer,) = tl.torch.generate(
        tiny_model, tiny_tokenizer, "a", max_new_tokens=np.int64(2), batch_size=np.int64(1), eos=()
    )
    assert len(answer.ids) == 2


def test_encoder_decoders_are_refused(tiny_tokenizer: tl.Tokenizer) -> None:
    config = T5Config(vocab_size=272, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    with pytest.raises(UnsupportedFeatureError, match="encoder-decoder"):
        tl.torch.generate(T5ForConditionalGeneration(config), tiny_tokenizer, "a")

"""A ragged batch says what the model says about each row alone."""

from __future__ import annotations

import random

import pytest
import torch
from tokenloom.errors import UnsupportedFeatureError
from tokenloom.torch.batch import Batch, largest_exact_batch
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM


def test_rows_keep_their_own_columns(tiny_model: LlamaForCausalLM) -> None:
    rng = random.Random(1)
    batch, rows = Batch(tiny_model, 4), [[], [], [], []]
    for step in range(40):
        blocks = [[rng.randrange(272) for _ in range(rng.randrange(1, 9 if step else 40))] for _ in rows]
        n_logits = [rng.randrange(1, len(block) + 1) for block in blocks]
        found = batch.feed(blocks, n_logits).split(n_logits)
        for row, block, logits in zip(rows, blocks, found, strict=True):
            with torch.inference_mode():
                alone = tiny_model(torch.tensor([row + block])).logits[0, -len(logits) :].float()
            torch.testing.assert_close(logits, alone, rtol=1e-5, atol=1e-5)
        n_kept = [rng.randrange(1, len(block) + 1) for block in blocks]
        batch.keep(n_kept)
        rows = [row + block[:n] for row, block, n in zip(rows, blocks, n_kept, strict=True)]
        longest = max(len(row) for row in rows)
        assert batch.n_columns <= longest + longest // 4 + 32, "masked columns are packed away"
        if step == 20:
            batch.select([2, 0, 3])
            rows = [rows[2], rows[0], rows[3]]


def test_one_row_holds_no_masked_column(tiny_model: LlamaForCausalLM) -> None:
    batch = Batch(tiny_model, 1)
    batch.feed([[1, 2, 3, 4, 5]], [1])
    batch.keep([3])
    assert batch.n_columns == 3


def test_windows_count_columns_so_rows_go_alone() -> None:
    shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    assert largest_exact_batch(LlamaForCausalLM(LlamaConfig(**shape, **heads)), 8) == 8
    assert largest_exact_batch(MistralForCausalLM(MistralConfig(**shape, **heads, sliding_window=8)), 8) == 1


def test_recurrent_state_is_refused() -> None:
    model = MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(UnsupportedFeatureError, match=r"past_key_values|layers of type"):
        largest_exact_batch(model, 1)

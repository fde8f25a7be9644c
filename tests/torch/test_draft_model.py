"""A model that drafts, with the target's vocabulary and with another one, changes no token."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenloom as tl
import torch
from transformers import LlamaConfig, LlamaForCausalLM

TEXTS = ["the cat and the dog", "naïve 自然 the", "in the beginning was the word, and the"]
SAMPLED = tl.sample.Params(temperature=0.8, top_p=0.95)


@pytest.fixture(scope="module")
def other_tokenizer(test_data: Path) -> tl.Tokenizer:
    return tl.Tokenizer.from_file(str(test_data / "tiny.tokenizer.json"))


def run(model: Any, tokenizer: Any, **options: Any) -> list[Any]:
    return tl.torch.generate(model, tokenizer, TEXTS, **({"max_new_tokens": 24, "eos": (), "seed": 3} | options))


def test_the_model_itself_drafts_what_it_says(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    greedy = tl.sample.Params(temperature=0.0)
    plain = run(tiny_model, tiny_tokenizer, params=greedy)
    drafter = tl.torch.DraftModel(tiny_model, min_prob=0.0)
    drafted = run(tiny_model, tiny_tokenizer, params=greedy, drafter=drafter, draft_budget=4)
    assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
    # It may name one of the logits that are no token; then the draft ends there.
    assert sum(one.stats.accepted for one in drafted) > 40


@pytest.mark.parametrize("params", [tl.sample.Params(temperature=0.0), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_another_vocabulary_changes_no_token(
    tiny_model: LlamaForCausalLM,
    tiny_tokenizer: tl.Tokenizer,
    other_tokenizer: tl.Tokenizer,
    params: Any,
    batch_size: int,
) -> None:
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    small = LlamaForCausalLM(LlamaConfig(vocab_size=other_tokenizer.vocab_size, **shape, **heads)).eval()
    drafter = tl.torch.DraftModel(small, other_tokenizer, tiny_tokenizer, min_prob=0.0)
    plain = run(tiny_model, tiny_tokenizer, params=params)
    drafted = run(tiny_model, tiny_tokenizer, params=params, drafter=drafter, draft_budget=5, batch_size=batch_size)
    assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
    assert sum(one.stats.drafted for one in drafted) > 0


class Reciter(LlamaForCausalLM):
    """A model that knows one text by heart, token by token."""

    def learn(self, ids: list[int]) -> None:
        self.ids = ids

    def forward(self, input_ids: Any, position_ids: Any = None, past_key_values: Any = None, **_: Any) -> Any:
        logits = torch.zeros((*input_ids.shape, self.config.vocab_size))
        for row, column in torch.cartesian_prod(*map(torch.arange, input_ids.shape)).tolist():
            at = int(position_ids[row, column]) + 1
            if at < len(self.ids):
                logits[row, column, self.ids[at]] = 30.0
        return SimpleNamespace(logits=logits)


def test_drafts_are_cut_as_the_target_cuts(tiny_tokenizer: tl.Tokenizer, other_tokenizer: tl.Tokenizer) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = Reciter(LlamaConfig(vocab_size=other_tokenizer.vocab_size, num_key_value_heads=2, **shape))
    text = "the other word and then the other one in the long run\n"
    small.learn(other_tokenizer.encode_list(text))
    drafter = tl.torch.DraftModel(small, other_tokenizer, tiny_tokenizer)
    ids = tiny_tokenizer.encode_list(text)
    stream, n_done, n_calls = drafter.begin(ids[:3]), 3, 0
    while n_done < len(ids):
        tree = stream.propose(budget=6)
        assert tree.parents.tolist() == list(range(-1, len(tree) - 1))
        n_right = 0
        while n_right < len(tree) and n_done + n_right < len(ids) and tree.tokens[n_right] == ids[n_done + n_right]:
            n_right += 1
        new = ids[n_done : n_done + n_right + 1]
        stream.commit(new)
        n_done, n_calls = n_done + len(new), n_calls + 1
    assert n_calls <= len(ids) / 3, "most of what is drafted fits"
    assert len(stream.propose(0)) == 0
    stream.end()
    assert len(stream.propose(4)) == 0
